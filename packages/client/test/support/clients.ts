import {
  type Client,
  type ClientOptions,
  createFetch,
  openClient,
  type SpillwayFetch,
} from '@spillway/client';
import type { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { onTestFinished } from 'vitest';
import { within } from '../../../core/test/support/within.ts';

/** A `fetch` that the test closes. */
export function openFetch(options: ClientOptions): SpillwayFetch {
  const fetch = createFetch(options);
  onTestFinished(() => fetch.close());
  return fetch;
}

/** A client that the test closes. */
export function open(options: ClientOptions): Client {
  const client = openClient(options);
  onTestFinished(() => client.close());
  return client;
}

/** The path, body and headers of a request that streams. */
export const streaming = {
  path: '/v1/chat/completions',
  body: JSON.stringify({ model: 'm', stream: true, messages: [] }),
  init: {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer key' },
    body: JSON.stringify({ model: 'm', stream: true, messages: [] }),
  },
} as const;

/** The error that something rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('It should have rejected.');
}

/** A class of WebSockets that counts them: with a clock that stands still, a test has to know how far a client is. */
export function countSockets(): {
  readonly WebSocket: typeof globalThis.WebSocket;
  readonly counts: { made: number; closed: number };
} {
  const counts = { made: 0, closed: 0 };
  class CountedSocket extends globalThis.WebSocket {
    constructor(url: string | URL, protocols?: string | string[]) {
      super(url, protocols);
      counts.made += 1;
      // Behind the client's own listeners.
      this.addEventListener('close', () => setImmediate(() => (counts.closed += 1)));
    }
  }
  return { WebSocket: CountedSocket, counts };
}

/** Lets a clock go on, and the real sockets with it, until a condition holds. With a step of 0, it is waited for with the clock standing still. */
export async function advanceUntil(
  clock: VirtualClock,
  condition: () => boolean,
  what: string,
  stepMs = 1,
): Promise<void> {
  const late = new AbortController();
  const advance = async (): Promise<void> => {
    while (!condition() && !late.signal.aborted) await clock.advance(stepMs);
  };
  try {
    await within(advance(), what);
  } finally {
    late.abort();
  }
}
