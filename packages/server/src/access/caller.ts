import type { IncomingMessage } from 'node:http';

/** Who sends a request, as far as its keys tell. Made once, by the `Guard`. Nothing in it is secret. */
export interface Caller {
  /** What logs, traces and the console call it: see `ApiKey`. Without keys of the gateway's own, from the client's key for its provider; empty without one. */
  readonly name: string;
  /** Who it belongs to; empty where the gateway has no keys. */
  readonly tenant: string;
  /**
   * Whose streams and rooms are its: the name of its key, so that another key of that name is the same caller. `undefined`: the
   * gateway has no keys, and what stands for it are the key for the provider (`ownerOf`) and the address (`holderOf`).
   */
  readonly owner: string | undefined;
}

const callers = new WeakMap<IncomingMessage, Caller>();

/** Notes who sends a request. Only for the guard in front of a server. */
export function setCaller(request: IncomingMessage, caller: Caller): void {
  callers.set(request, caller);
}

/** Who sends a request that the guard has let in. */
export function callerOf(request: IncomingMessage): Caller {
  const caller = callers.get(request);
  if (caller === undefined) throw new Error('a request has a caller behind the guard');
  return caller;
}

/** Whose the room is that a request takes, its body or its history: its caller's; where there are no keys, an address's. */
export function holderOf({ owner }: Caller, address: string): string {
  return owner ?? address;
}
