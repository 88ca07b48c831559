import { closeSync, openSync, readdirSync, readFileSync } from 'node:fs';
import type { Config } from '../config/schema.ts';

/** Kept free for files, logs, name servers, what reads metrics, and connections that are just being closed. */
const reserve = 24;
/** A look-up of a name opens a file and a socket, and so many may run. */
const lookupDescriptors = 4;

/** How many connections a process may have at once. */
export interface ConnectionBounds {
  /** Of clients; one more is closed. */
  readonly maxConnections: number;
  /** With a provider, each a request: the effective `maxStreams`. */
  readonly maxStreams: number;
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
 * How many connections fit. Where the configured ones do not, both kinds get the same part of what they wanted, and at least one
 * stream and two clients. `costOfStream` is what a connection to a provider costs: 2 where the provider is in this process.
 */
export function connectionBounds(
  { maxStreams, maxWaiting }: Pick<Config, 'maxStreams' | 'maxWaiting'>,
  descriptors: Descriptors | undefined,
  costOfStream = 1,
): ConnectionBounds {
  // Idle connections are bounded too.
  const maxConnections = 2 * (maxStreams + maxWaiting);
  if (descriptors === undefined) return { maxConnections, maxStreams };
  const free = descriptors.limit - descriptors.used - reserve;
  const part = free / (maxConnections + costOfStream * maxStreams);
  if (part >= 1) return { maxConnections, maxStreams };
  return {
    maxConnections: Math.max(2, Math.floor(maxConnections * part)),
    maxStreams: Math.max(1, Math.floor(maxStreams * part)),
  };
}

/** What the configuration needs of the limit. */
export function neededDescriptors(
  { maxStreams, maxWaiting }: Pick<Config, 'maxStreams' | 'maxWaiting'>,
  used: number,
): number {
  return 2 * (maxStreams + maxWaiting) + maxStreams + used + reserve;
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
