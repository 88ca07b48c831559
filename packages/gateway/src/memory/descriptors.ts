import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';

/** Kept free for files, logs, name servers, who is pushed metrics to, and connections that are just being closed. */
const reserve = 16;
/** Of those who run the gateway: pages of the console, and what reads metrics. */
const minAdminConnections = 8;
const maxAdminConnections = 256;
/**
 * Sockets that listen at one address of clients, where the system can share a port among them. Of each, Node takes one
 * connection in a turn of its loop: with a single one, a flood fills the queue whenever turns are long, and the kernel drops
 * whoever comes then, for seconds. They are a quarter of all connections at most: in one turn nobody is displaced who came
 * in it.
 */
const maxListeners = process.platform === 'linux' ? 32 : 1;
/** A look-up of a name opens a file and a socket, and so many may run. */
const lookupDescriptors = 4;

/** How many connections a process may have at once. */
export interface ConnectionBounds {
  /** Of clients; one more is closed. */
  readonly maxConnections: number;
  /** Of the admin listener. */
  readonly maxAdminConnections: number;
  /** With a provider, each a request: the effective `maxStreams`. */
  readonly maxStreams: number;
  /** Sockets that listen at each address for clients. */
  readonly listeners: number;
  /** The same for those who run the gateway. */
  readonly adminListeners: number;
}

/** What the bounds are for. */
export interface Listening {
  readonly adminHost: string;
  readonly host: string;
  readonly maxStreams: number;
  readonly maxWaiting: number;
}

/** What a process may open. */
export interface Descriptors {
  /** The soft limit. */
  readonly limit: number;
  /** Those that are open before the first connection. */
  readonly used: number;
}

/**
 * What the system allows, after Node has raised the soft limit to the hard one; `undefined` where that is not known (other systems
 * than Linux) or there is no limit.
 */
export function readDescriptors(): Descriptors | undefined {
  try {
    const limit = /^Max open files +(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1];
    return limit === undefined
      ? undefined
      : { limit: Number(limit), used: readdirSync('/proc/self/fd').length };
  } catch {
    return undefined;
  }
}

/**
 * How many connections fit. Where the configured ones do not, there are two of clients for each with a provider, and at least one
 * stream and two clients. `costOfStream` is what a connection to a provider costs: 2 where the provider is in this process.
 */
export function connectionBounds(
  config: Listening,
  descriptors: Descriptors | undefined,
  costOfStream = 1,
): ConnectionBounds {
  const { maxStreams, maxWaiting } = config;
  // Idle connections are bounded too.
  const maxConnections = 2 * (maxStreams + maxWaiting);
  const { limit, used } = descriptors ?? { limit: Infinity, used: 0 };
  const fixed = {
    maxAdminConnections: between(minAdminConnections, limit / 16, maxAdminConnections),
    listeners: between(1, Math.min(limit / 16, maxConnections / 8), maxListeners),
    adminListeners: between(1, limit / 64, maxListeners / 4),
  };
  if (descriptors === undefined) return { maxConnections, maxStreams, ...fixed };
  const free = limit - used - reserveOf(config, fixed);
  const streams = Math.max(1, Math.min(maxStreams, Math.floor(free / (2 + costOfStream))));
  return {
    maxConnections: Math.max(2, Math.min(maxConnections, free - costOfStream * streams)),
    maxStreams: streams,
    ...fixed,
  };
}

/** What the configuration needs of the limit. */
export function neededDescriptors(config: Listening, descriptors: Descriptors, costOfStream = 1): number {
  const { maxStreams, maxWaiting } = config;
  const bounds = connectionBounds(config, descriptors, costOfStream);
  return (
    2 * (maxStreams + maxWaiting) + costOfStream * maxStreams + descriptors.used + reserveOf(config, bounds)
  );
}

/** Descriptors that are for no client. */
function reserveOf(
  { adminHost, host }: Listening,
  fixed: Pick<ConnectionBounds, 'adminListeners' | 'listeners' | 'maxAdminConnections'>,
): number {
  const listeners = addressesOf(host) * fixed.listeners + addressesOf(adminHost) * fixed.adminListeners;
  return reserve + listeners + fixed.maxAdminConnections;
}

/** `localhost` may be an address of either version. */
function addressesOf(host: string): number {
  return host === 'localhost' ? 2 : 1;
}

function between(least: number, value: number, most: number): number {
  return Math.max(least, Math.min(most, Math.floor(value)));
}

/** Codes of errors that say that the process, or the machine, is out of descriptors or of memory for sockets. */
const shortCodes = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);
/** Codes with which a name's look-up fails, also when it gets no descriptor. */
const lookupCodes = new Set(['EAI_AGAIN', 'EAI_FAIL', 'EAI_MEMORY', 'EAI_SYSTEM', 'ENOTFOUND']);

/** Whether a connection failed because this process is out of descriptors, and not because of its other side. */
export function isOutOfDescriptors(error: unknown): boolean {
  if (error instanceof AggregateError && error.errors.some(isOutOfDescriptors)) return true;
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === undefined) return false;
  if (shortCodes.has(code)) return true;
  return syscall === 'getaddrinfo' && lookupCodes.has(code) && !canOpen(lookupDescriptors);
}

function canOpen(count: number): boolean {
  const opened: number[] = [];
  try {
    while (opened.length < count) opened.push(openSync('/dev/null', 'r'));
    return true;
  } catch {
    return false;
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}
