import { describe, expect, test } from 'vitest';
import { connectionBounds, isOutOfDescriptors, neededDescriptors } from '../src/memory/descriptors.ts';

const hosts = { host: '127.0.0.1', adminHost: '127.0.0.1' };
const defaults = { ...hosts, maxStreams: 2000, maxWaiting: 200 };

describe('how many connections fit', () => {
  test('what is configured, where that fits or nothing is known', () => {
    const asked = { maxConnections: 4400, maxStreams: 2000 };
    expect(connectionBounds(defaults, undefined)).toMatchObject(asked);
    expect(connectionBounds(defaults, { limit: 20_000, used: 30 })).toMatchObject(asked);
    const needed = neededDescriptors(defaults, { limit: 7000, used: 30 });
    expect(connectionBounds(defaults, { limit: needed, used: 30 })).toMatchObject(asked);
    expect(connectionBounds(defaults, { limit: needed - 1, used: 30 }).maxConnections).toBe(4399);
  });

  test.each([72, 80, 128, 256, 512, 1024, 4096])('with %d descriptors all together fit', (limit) => {
    for (const [maxStreams, maxWaiting] of [
      [2000, 200],
      [1, 0],
      [10, 1_000_000],
      [1_000_000, 0],
    ] as const) {
      for (const cost of [1, 2]) {
        const bounds = connectionBounds({ ...hosts, maxStreams, maxWaiting }, { limit, used: 24 }, cost);
        const listeners = bounds.listeners + bounds.adminListeners;
        const connections = bounds.maxConnections + bounds.maxAdminConnections;
        expect(connections + listeners + cost * bounds.maxStreams).toBeLessThanOrEqual(limit - 24);
        expect(bounds.maxStreams).toBeGreaterThanOrEqual(1);
        expect(bounds.maxConnections).toBeGreaterThanOrEqual(2);
        expect(bounds.maxStreams).toBeLessThanOrEqual(maxStreams);
      }
    }
  });

  test('two of clients for each with a provider, and what is not wanted goes to the other', () => {
    expect(connectionBounds(defaults, { limit: 512, used: 24 })).toEqual({
      maxConnections: 267,
      maxAdminConnections: 32,
      maxStreams: 133,
      listeners: 32,
      adminListeners: 8,
    });
    const local = { ...defaults, host: 'localhost', adminHost: 'localhost' };
    expect(connectionBounds(local, { limit: 512, used: 24 })).toMatchObject({
      maxConnections: 240,
      maxStreams: 120,
      listeners: 32,
    });
    const queue = { ...hosts, maxStreams: 10, maxWaiting: 1_000_000 };
    expect(connectionBounds(queue, { limit: 512, used: 24 })).toMatchObject({
      maxConnections: 390,
      maxStreams: 10,
    });
  });

  test('of few streams still many, where descriptors are left, and none is missed where not', () => {
    const few = { ...hosts, maxStreams: 50, maxWaiting: 50 };
    expect(connectionBounds(few, undefined).maxConnections).toBe(1024);
    expect(connectionBounds(few, { limit: 20_000, used: 24 }).maxConnections).toBe(1024);
    let limit = 100;
    while (neededDescriptors(few, { limit, used: 24 }) > limit) limit += 1;
    expect(connectionBounds(few, { limit, used: 24 })).toMatchObject({
      maxConnections: 200,
      maxStreams: 50,
    });
  });

  test('never none, however few there are', () => {
    expect(connectionBounds(defaults, { limit: 10, used: 24 })).toMatchObject({
      maxConnections: 2,
      maxStreams: 1,
    });
  });
});

test('what says that this process is short of descriptors, and what that its provider is away', () => {
  const failed = (code: string, syscall = 'connect'): Error =>
    Object.assign(new Error(code), { code, syscall });
  for (const code of ['EMFILE', 'ENFILE', 'ENOBUFS'])
    expect(isOutOfDescriptors(failed(code)), code).toBe(true);
  expect(isOutOfDescriptors(new AggregateError([failed('ECONNREFUSED'), failed('EMFILE')]))).toBe(true);
  for (const code of ['ECONNREFUSED', 'ETIMEDOUT', 'CONNECT_TIMEOUT']) {
    expect(isOutOfDescriptors(failed(code)), code).toBe(false);
  }
  // Here there are some.
  expect(isOutOfDescriptors(failed('ENOTFOUND', 'getaddrinfo'))).toBe(false);
});
