import type { SinkRecord } from '@spillway/core';
import { type SinkEngine, sinkRules } from '@spillway/core/testing';
import { openNatsSink } from '@spillway/nats';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { until } from '../../core/test/support/until.ts';
import { expectOddRefused } from '../../core/test/support/odd-records.ts';
import { BreakableProxy } from '../../core/test/support/breakable-proxy.ts';
import { hasNats, NatsServer, needsNats } from './support/nats-server.ts';
import { readRecords } from './support/read-stream.ts';

let server: NatsServer;
let streams = 0;

beforeAll(async () => {
  if (hasNats) server = await NatsServer.start();
});

afterAll(async () => {
  if (hasNats) await server.remove();
});

/** A stream as an engine: it fails when its connections end, and is silent when their bytes are held back. */
async function streamEngine(options: { readonly maxEntryBytes?: number }): Promise<SinkEngine> {
  const proxy = await BreakableProxy.start(server.port);
  streams += 1;
  const name = `s${streams}`;
  return {
    open: () =>
      openNatsSink({
        url: `nats://127.0.0.1:${proxy.port}/${name}?create=1&timeoutMs=30000`,
        openTimeoutMs: 20_000,
        ...options,
      }),
    records: (): Promise<readonly SinkRecord[]> => readRecords(server, name),
    fail: () => proxy.refuse(),
    hang: () => proxy.hold(),
    heal: () => proxy.heal(),
    async openCount() {
      // The other end learns of it a moment later.
      await until(() => proxy.count === 0, 'no connection is open', 2000).catch(() => undefined);
      return proxy.count;
    },
    async remove() {
      await proxy.close();
      await server.api(`STREAM.DELETE.${name}`);
    },
  };
}

describe.each([
  ['JetStream', {}],
  ['JetStream with records in parts', { maxEntryBytes: 1024 }],
])('on %s', (_name, options) => {
  for (const { number, name, check } of sinkRules(() => streamEngine(options), { deadlineMs: 50_000 })) {
    test(`promise 15: sink rule ${number}: ${name}`, async (context) => {
      needsNats(context);
      await check(context);
    });
  }
});

test('promise 15: NATS takes no record with an id that comes back as something else', async (context) => {
  needsNats(context);
  await expectOddRefused(await streamEngine({}));
});
