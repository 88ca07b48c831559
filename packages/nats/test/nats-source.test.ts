import { type SourceEngine, sourceRules } from '@spillway/core/testing';
import { openNatsSink, openNatsSource } from '@spillway/nats';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { until } from '../../core/test/support/until.ts';
import { BreakableProxy } from '../../core/test/support/breakable-proxy.ts';
import { hasNats, NatsServer, needsNats } from './support/nats-server.ts';

let server: NatsServer;
let streams = 0;

beforeAll(async () => {
  if (hasNats) server = await NatsServer.start();
});

afterAll(async () => {
  if (hasNats) await server.remove();
});

/** A stream as an engine of sources: they go through a proxy, and whoever fills it does not. */
async function streamEngine({ maxEntryBytes }: { readonly maxEntryBytes?: number }): Promise<SourceEngine> {
  const proxy = await BreakableProxy.start(server.port);
  streams += 1;
  const name = `r${streams}`;
  const parts = maxEntryBytes === undefined ? {} : { maxEntryBytes };
  const sink = await openNatsSink({
    url: `${server.url}/${name}?create=1&timeoutMs=30000`,
    openTimeoutMs: 20_000,
    ...parts,
  });
  const trim = async (count: number): Promise<void> => {
    const { state } = (await server.api(`STREAM.INFO.${name}`)) as { state: { first_seq: number } };
    await server.api(`STREAM.PURGE.${name}`, { seq: state.first_seq + count });
  };
  return {
    open: (reader) =>
      openNatsSource({
        url: `nats://127.0.0.1:${proxy.port}/${name}?timeoutMs=30000`,
        name: reader,
        openTimeoutMs: 20_000,
      }),
    async write(records) {
      // A sink writes streams side by side. The checks count on the order in which records are given.
      for (let from = 0, to = 1; from < records.length; from = to) {
        while (records[to]?.stream === records[from]?.stream) to += 1;
        await sink.write(records.slice(from, to), AbortSignal.timeout(20_000));
      }
    },
    // Messages are removed, and not records.
    ...(maxEntryBytes === undefined ? { trim } : {}),
    fail: () => proxy.refuse(),
    hang: () => proxy.hold(),
    heal: () => proxy.heal(),
    async openCount() {
      // The other end learns of it a moment later.
      await until(() => proxy.count === 0, 'no connection is open', 2000).catch(() => undefined);
      return proxy.count;
    },
    async remove() {
      await sink.close();
      await proxy.close();
      await server.api(`STREAM.DELETE.${name}`);
    },
  };
}

describe.each([
  ['JetStream', {}],
  ['JetStream with records in parts', { maxEntryBytes: 1024 }],
])('on %s', (_name, options) => {
  for (const { number, name, check } of sourceRules(() => streamEngine(options), { deadlineMs: 50_000 })) {
    test(`promise 15: source rule ${number}: ${name}`, async (context) => {
      needsNats(context);
      await check(context);
    });
  }
});
