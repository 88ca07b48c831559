import { createFetch, openClient } from '@spillway/client';
import { expect, test } from 'vitest';

// Every number that somebody may set: what it may not be is said when it is set.

const url = 'http://127.0.0.1:1';
const wrongs = [-1, 0.5, Number.NaN, Infinity, -Infinity, 2 ** 53];

const options: readonly [name: string, minimum: number][] = [
  ['windowBytes', 1024],
  ['connectionWindowBytes', 1024],
  ['connectTimeoutMs', 1],
  ['fallbackMs', 0],
  ['giveUpAfterMs', 0],
  ['idleTimeoutMs', 0],
  ['pingAfterMs', 1],
  ['pongTimeoutMs', 1],
];

/** Where a number is set, its name and its minimum. What is opened with the minimum is closed at once. */
type Place = readonly [where: string, name: string, minimum: number, set: (value: number) => unknown];

const places: readonly Place[] = [
  ...options.flatMap(([name, minimum]) => [
    ['openClient', name, minimum, (value: number) => openClient({ url, [name]: value }).close()] as const,
    ['createFetch', name, minimum, (value: number) => createFetch({ url, [name]: value }).close()] as const,
    [
      'createFetch without a url',
      name,
      minimum,
      (value: number) => createFetch({ [name]: value }).close(),
    ] as const,
  ]),
  ...(['windowBytes', 'maxBytes'] as const).map(
    (name) => ['read', name, 1024, (value: number) => readOnce({ [name]: value })] as const,
  ),
  ['read', 'from', 0, (from) => readOnce({ from })],
  ['request', 'windowBytes', 1024, (windowBytes) => requestOnce({ windowBytes })],
];

async function readOnce(init: object): Promise<void> {
  await using client = openClient({ url });
  client.read('/streams/x', init).detach();
}

async function requestOnce(init: object): Promise<void> {
  await using client = openClient({ url });
  client.request('/v1/chat/completions', init).detach();
}

/** What it throws, or rejects with. */
async function refusal(set: (value: number) => unknown, value: number): Promise<unknown> {
  try {
    await set(value);
    return undefined;
  } catch (error) {
    return error;
  }
}

test.each(places)('%s: %s, %d or more', async (_where, name, minimum, set) => {
  for (const value of [...wrongs, minimum - 1]) {
    const error = await refusal(set, value);
    expect(error, String(value)).toMatchObject({ code: 'invalid_option' });
    expect(error).toHaveProperty('message', expect.stringMatching(new RegExp(`^${name}: expected`)));
    expect(error).toHaveProperty('message', expect.stringMatching(/, got [-\w.]+\.$/));
  }
  expect(await refusal(set, minimum)).toBeUndefined();
});
