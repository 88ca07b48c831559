import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { openChannel } from '@spillway/core';
import { type ClassifyPayload, type EventRun, EventScanner } from '@spillway/core/format/sse';
import { expect, test } from 'vitest';
import { BusyLoop } from '@spillway/server/time/busy-loop';
import { EventMemory } from '@spillway/server/memory/event-memory';
import { nodeClock } from '@spillway/server/time/node-clock';
import { ProviderPools } from '../src/source/provider-pools.ts';
import { sendRequest } from '../src/source/reply.ts';
import { ReplySource } from '../src/source/reply-source.ts';
import { RunMemory } from '@spillway/server/memory/run-memory';
import { within } from '../../core/test/support/within.ts';

test('a loop that has too much to do is told by how it spends its time, and so is one that has not any more', async () => {
  const loop = new BusyLoop();
  loop.look(performance.now());
  expect(loop.gapMs).toBe(0);
  const untilMs = performance.now() + 1500;
  // It never rests.
  while (performance.now() < untilMs) {
    loop.look(performance.now());
    await nextTurn();
  }
  expect(loop.gapMs).toBeGreaterThan(30);
  expect(loop.gapMs).toBeLessThanOrEqual(50);
  for (let look = 0; look < 50 && loop.gapMs > 0; look += 1) {
    await sleep(120);
    loop.look(performance.now());
  }
  expect(loop.gapMs).toBe(0);
});

test('those who are due at about the same time are called together, and none too early', async () => {
  const startMs = performance.now();
  const calls: { readonly afterMs: number; readonly dueMs: number }[] = [];
  const all = Promise.all(
    [0, 1, 7, 12, 12, 13, 40].map(
      (dueMs) =>
        new Promise<void>((resolve) => {
          nodeClock.soon(dueMs, () => {
            calls.push({ dueMs, afterMs: performance.now() - startMs });
            resolve();
          });
        }),
    ),
  );
  await all;
  expect(calls).toHaveLength(7);
  // Timers of whole milliseconds.
  for (const { afterMs, dueMs } of calls) expect(afterMs).toBeGreaterThanOrEqual(dueMs - 1);
});

const endsAnywhere: ClassifyPayload = (_bytes, _start, _end, choices) => {
  choices.add(0, true);
  return 'content';
};

test('while the loop is busy a provider is read less often, and everything comes in order', async () => {
  const count = 100;
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    void (async () => {
      for (let event = 0; event < count; event += 1) {
        response.write(`data: ${event}\n\n`);
        await sleep(2);
      }
      response.end();
    })();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const limits = { connectTimeoutMs: 5000, responseTimeoutMs: 5000, maxHeaderBytes: 16_384, maxStreams: 10 };
  const pools = new ProviderPools(limits, () => undefined);
  const large = new EventMemory({ maxBytes: 1_000_000, maxEventBytes: 1_000_000 });
  const places = { openPlace: () => large.open(''), maxEventBytes: 1_000_000 };
  try {
    const { port } = server.address() as AddressInfo;
    const pool = pools.get(`http://127.0.0.1:${port}`, {});
    const request = { method: 'GET', path: '/', headers: {}, body: null } as const;
    const reply = await sendRequest(pool, request, new AbortController().signal);
    const memory = new RunMemory();
    const channel = openChannel<EventRun>({
      maxBytes: 65_536,
      weigh: ({ byteLength }) => byteLength,
      memory,
    });
    const reader = channel.reader();
    const ended = Promise.withResolvers<void>();
    reply.consume(
      new ReplySource(reply, channel, memory, {
        listener: {
          received: () => undefined,
          paused: () => undefined,
          accepted: () => undefined,
          events: 0,
          bytes: 0,
          large: { events: 0, bytes: 0, tokens: 0 },
          maxRunBytes: Infinity,
        },
        ...places,
        loop: { gapMs: 40, look: () => undefined },
        scanner: new EventScanner({ classify: endsAnywhere }),
        maxStreamBytes: 1_000_000,
        onEnd: ended.resolve,
      }),
    );
    await within(ended.promise, 'all of it to be read');
    const runs = reader.takeAll();
    expect(channel.end).toEqual({ state: 'completed' });
    const text = Buffer.concat(runs.map(({ bytes }) => bytes)).toString();
    expect(text).toBe(Array.from({ length: count }, (_, event) => `data: ${event}\n\n`).join(''));
    // 200 ms and more, of which at least 40 are between two reads.
    expect(runs.length).toBeLessThan(count / 2);
  } finally {
    pools.destroy();
    server.close();
  }
});
