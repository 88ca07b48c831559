import type { IncomingMessage } from 'node:http';

/** The sender of a request, as its keys identify it. Made once, by the `Guard`. Nothing in it is secret. */
export interface Caller {
  /**
   * The caller's name in logs, traces and the console: see `ApiKey`. Without gateway keys, a name made from the
   * client's key for the provider; empty without such a key.
   */
  readonly name: string;
  /** The tenant that the caller belongs to; empty if the gateway has no keys. */
  readonly tenant: string;
  /**
   * The owner of the caller's streams and memory: the name of its key. Another key of that name is the same caller.
   * `undefined`: the gateway has no keys. The key for the provider (`ownerOf`) and the address (`holderOf`) are then
   * used instead.
   */
  readonly owner: string | undefined;
}

const callers = new WeakMap<IncomingMessage, Caller>();

/** Notes a request's caller. Only for the guard in front of a server, and for upgrades, which pass no other. */
export function setCaller(request: IncomingMessage, caller: Caller): void {
  callers.set(request, caller);
}

/** The caller of a request; `undefined`: the guard has not let it in. */
export function knownCaller(request: IncomingMessage): Caller | undefined {
  return callers.get(request);
}

/** The caller of a request that the guard has let in. */
export function callerOf(request: IncomingMessage): Caller {
  const caller = callers.get(request);
  if (caller === undefined) throw new Error('a request has a caller behind the guard');
  return caller;
}

/**
 * The holder of the memory that a request takes, for its body and its history: the caller, or without keys the
 * address.
 */
export function holderOf({ owner }: Caller, address: string): string {
  return owner ?? address;
}
