import {
  type Client,
  type ClientOptions,
  createFetch,
  openClient,
  type SpillwayFetch,
} from '@spillway/client';
import { onTestFinished } from 'vitest';

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
