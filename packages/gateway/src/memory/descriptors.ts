import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';

/**
 * Descriptors kept free for files, logs, name servers, the receiver of pushed metrics, and connections that
 * are just being closed.
 */
const reserve = 16;
/**
 * So many connections of clients there may be in any case, where descriptors are left: an idle one is cheap, and who comes in a
 * burst gets an answer, although it is a refusal.
 */
const minConnections = 1024;
/** Connections of the admin listener: pages of the console, and readers of metrics. */
const minAdminConnections = 8;
const maxAdminConnections = 256;
/**
 * The most sockets that listen at one address for clients, where the system can share a port among them. Node
 * accepts one connection of each in a turn of its loop. With a single socket, a flood fills its queue
 * whenever turns are long, and the kernel drops new connections for seconds. At one address they are at most
 * an eighth of all connections: so no connection is displaced in the turn in which it came.
 */
const maxListeners = process.platform === 'linux' ? 32 : 1;
/**
 * The descriptors that must be free for a look-up of a name: each opens a file and a socket, and several may
 * run.
 */
const lookupDescriptors = 4;

/** How many connections a process may have at once. */
export interface ConnectionBounds {
  /** The most connections of clients. One more displaces another or is refused. */
  readonly maxConnections: number;
  /** The most connections of the admin listener. */
  readonly maxAdminConnections: number;
  /** The most requests with a provider at once, each with a connection: the effective `maxStreams`. */
  readonly maxStreams: number;
  /** The sockets that listen at each address for clients. */
  readonly listeners: number;
  /** The sockets that listen at each address of the admin listener. */
  readonly adminListeners: number;
}

/** The settings that the bounds depend on. */
export interface Listening {
  readonly adminHost: string;
  readonly host: string;
  readonly maxStreams: number;
  readonly maxWaiting: number;
}

/** The file descriptors of this process. */
export interface Descriptors {
  /** The soft limit on open descriptors. */
  readonly limit: number;
  /** The descriptors that are open before the first connection. */
  readonly used: number;
}

/**
 * Reads how many descriptors this process may open, and how many are open. Node has raised the soft limit to
 * the hard one at its start. `undefined` if the limit is not known (on other systems than Linux) or there is
 * none.
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
 * How many connections fit into the limit. If the configured ones do not, each stream gets two connections of
 * clients, with at least one stream and two clients. `costOfStream` is the number of descriptors of a
 * connection to a provider: 2 if the provider runs in this process.
 */
export function connectionBounds(
  config: Listening,
  descriptors: Descriptors | undefined,
  costOfStream = 1,
): ConnectionBounds {
  const { maxStreams, maxWaiting } = config;
  // Twice, for idle connections: they are bounded, too.
  const maxConnections = Math.max(minConnections, 2 * (maxStreams + maxWaiting));
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

/** The descriptors that the configuration needs. */
export function neededDescriptors(config: Listening, descriptors: Descriptors, costOfStream = 1): number {
  const { maxStreams, maxWaiting } = config;
  const bounds = connectionBounds(config, descriptors, costOfStream);
  return (
    2 * (maxStreams + maxWaiting) + costOfStream * maxStreams + descriptors.used + reserveOf(config, bounds)
  );
}

/** What a process does that may open fewer descriptors than its configuration needs. */
export interface DescriptorShortage {
  readonly needed: number;
  /** What is possible, and what to do. */
  readonly message: string;
}

/** Whether the limit on descriptors is too low; `undefined`: it is enough. */
export function descriptorShortage(
  config: Listening,
  descriptors: Descriptors,
  costOfStream = 1,
): DescriptorShortage | undefined {
  const { limit } = descriptors;
  const needed = neededDescriptors(config, descriptors, costOfStream);
  if (limit >= needed) return undefined;
  const bounds = connectionBounds(config, descriptors, costOfStream);
  const message =
    `maxStreams (${config.maxStreams}) and maxWaiting (${config.maxWaiting}) need ${needed} file descriptors, and the ` +
    `limit is ${limit}: at most ${bounds.maxStreams} streams and ${bounds.maxConnections} connections of clients at ` +
    'once. Raise the limit (ulimit -Hn, LimitNOFILE, --ulimit nofile), or lower maxStreams';
  return { needed, message };
}

/** The descriptors that are not for clients and providers. */
function reserveOf(
  { adminHost, host }: Listening,
  fixed: Pick<ConnectionBounds, 'adminListeners' | 'listeners' | 'maxAdminConnections'>,
): number {
  const listeners = addressesOf(host) * fixed.listeners + addressesOf(adminHost) * fixed.adminListeners;
  return reserve + listeners + fixed.maxAdminConnections;
}

/** The number of addresses that a host listens at: `localhost` may be IPv4 and IPv6. */
function addressesOf(host: string): number {
  return host === 'localhost' ? 2 : 1;
}

function between(least: number, value: number, most: number): number {
  return Math.max(least, Math.min(most, Math.floor(value)));
}

/** Error codes for a lack of descriptors, or of memory for sockets, in the process or the machine. */
const shortCodes = new Set(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']);
/** Error codes of a failed look-up of a name. A lack of descriptors causes them, too; EBUSY where mDNS is asked. */
const lookupCodes = new Set(['EAI_AGAIN', 'EAI_FAIL', 'EAI_MEMORY', 'EAI_SYSTEM', 'EBUSY', 'ENOTFOUND']);

/** Whether a connection failed because no file descriptor was free, and not because of the other side. */
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
