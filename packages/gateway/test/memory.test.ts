import { createServer } from 'node:http';
import { createSecureServer, type ServerHttp2Session } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { describe, expect, onTestFinished, test } from 'vitest';
import { makeCertificates } from './support/certificates.ts';
import {
  eventually,
  residentBytes,
  type RunningGateway,
  startBoth,
  startGateway,
  watchMemory,
} from './support/processes.ts';
import { readers as replyReaders } from './support/readers.ts';
import { metric, postChat, rawChat, simulatorStats } from './support/requests.ts';
import { within } from '../../core/test/support/within.ts';

const MiB = 1024 * 1024;
const windowBytes = 64 * 1024;
const allowanceBytes = 128 * 1024;

function memoryOf(gateway: RunningGateway): Promise<number> {
  return metric(gateway.adminUrl, 'process_memory_usage_bytes');
}

// Events of 4 kB, which have no place among large ones: 16 MB a reader, far beyond what kernels take.
const endless = 'sim:tps=0,ttft=0,tokens=4000,size=4000';

describe('promise 1: memory is what is configured', () => {
  test.each(replyReaders)('40 readers that never read, 16 MB each, read by %s', async (reader) => {
    const readers = 40;
    const { gateway, simulator } = await startBoth(['--log-level', 'silent'], {}, reader);
    // Warm: what the first streams compile and allocate is no stream's share.
    for (let count = 0; count < 10; count += 1) await (await postChat(gateway.url, endless)).text();
    const before = await memoryOf(gateway);
    await Promise.all(Array.from({ length: readers }, () => rawChat(gateway.url, endless, { reads: false })));
    await eventually(
      async () => (await metric(gateway.adminUrl, paused)) === readers,
      'all readers to be full',
    );
    const growth = (await memoryOf(gateway)) - before;
    expect(growth).toBeLessThan(32 * MiB + readers * (windowBytes + allowanceBytes));
    expect(await metric(gateway.adminUrl, 'spillway_waiting_bytes')).toBeLessThanOrEqual(
      readers * windowBytes,
    );
    // The provider was made to wait: it could not get rid of what nobody reads.
    for (const { bytes, state } of (await simulatorStats(simulator.url)).slice(-readers)) {
      expect(state).toBe('running');
      expect(bytes).toBeLessThan(16_000_000);
    }
  });
});

describe('promise 1: memory is what is configured over HTTP/2, too', () => {
  // Of small events each is a frame, and of a frame all that came with it may be kept.
  test.each([4000, 300])('100 readers that never read, events of %i bytes', async (size) => {
    const certificates = makeCertificates();
    onTestFinished(() => certificates.remove());
    const event = `data: {"choices":[{"index":0,"delta":{"content":"${'x'.repeat(size)}"}}]}\n\n`;
    const sessions = new Set<ServerHttp2Session>();
    const server = createSecureServer(certificates.server, (request, response) => {
      request.resume();
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      const events = (function* () {
        for (let bytes = 0; bytes < 16_000_000; bytes += event.length) yield event;
      })();
      Readable.from(events).pipe(response.stream);
    });
    server.on('session', (session) => sessions.add(session));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      for (const session of sessions) session.destroy();
      server.close();
    });
    const url = `https://localhost:${(server.address() as AddressInfo).port}/v1`;
    const upstream = `url=${url},http2=true,caFile=${certificates.authority.certFile}`;
    const gateway = await startGateway(['--upstream', upstream, '--log-level', 'silent']);
    // Warm, as above.
    for (let warm = 0; warm < 10; warm += 1) await (await postChat(gateway.url, 'm')).text();
    const before = await memoryOf(gateway);
    const count = 100;
    await Promise.all(Array.from({ length: count }, () => rawChat(gateway.url, 'm', { reads: false })));
    await eventually(
      async () => (await metric(gateway.adminUrl, paused)) === count,
      'all readers to be full',
    );
    const growth = (await memoryOf(gateway)) - before;
    // What undici has read and V8 has yet to collect comes on top: docs/promises.md says so.
    expect(growth).toBeLessThan(32 * MiB + count * (windowBytes + allowanceBytes) + uncollectedBytes);
    // Many streams a connection: that it was HTTP/2.
    expect(sessions.size).toBeLessThanOrEqual(4);
  });
});

const uncollectedBytes = 24 * MiB;
const paused = 'spillway_streams{state="paused"}';

/** A provider that says the same event again and again, as fast as it is read. */
async function startTireless(event: string): Promise<string> {
  const block = event.repeat(65_536 / event.length);
  const server = createServer((request, response) => {
    request.resume();
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const blocks = Readable.from(
      (function* () {
        for (let bytes = 0; bytes < 16_000_000; bytes += block.length) yield block;
      })(),
    );
    blocks.pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
}

describe('promise 1: an event costs what its bytes cost, however small it is', () => {
  const ofChoice = (index: number): string =>
    `data: {"choices":[{"index":${index},"delta":{"content":"a"}}]}\n\n`;
  test.each([
    ['that nobody knows', 'data:1\n\n'],
    ['that is a comment', ':\n\n'],
    ['that is nothing', '\n'],
    ['whose neighbours are of another choice', ofChoice(0) + ofChoice(1)],
  ])('one %s', async (_which, event) => {
    const readers = 30;
    const growth = async (): Promise<number> => {
      const args = ['--upstream', await startTireless(event), '--log-level', 'silent'];
      const gateway = await startGateway(args);
      const isFull = async (count: number): Promise<boolean> =>
        (await metric(gateway.adminUrl, paused)) >= count;
      const first = await rawChat(gateway.url, 'any', { reads: false });
      await eventually(async () => await isFull(1), 'the first to be full');
      first.socket.destroy();
      const before = residentBytes(gateway);
      const most = watchMemory(gateway);
      await Promise.all(Array.from({ length: readers }, () => rawChat(gateway.url, 'any', { reads: false })));
      await eventually(async () => await isFull(readers), 'all readers to be full');
      return most() - before;
    };
    const bound = 32 * MiB + readers * (windowBytes + allowanceBytes);
    // On a busy machine V8 may leave 80 MiB of garbage for later: one run in five without that shows what is kept.
    let grown = Infinity;
    for (let attempt = 0; attempt < 5 && grown >= bound; attempt += 1)
      grown = Math.min(grown, await growth());
    expect(grown).toBeLessThan(bound);
  });
});

describe('promise 3: stalled readers do not disturb a live one', () => {
  test('a live stream is whole and on its way beside 100 stalled ones', async () => {
    const stalled = 100;
    const { gateway } = await startBoth(['--log-level', 'silent']);
    const gaps = async (): Promise<number> => {
      const response = await postChat(gateway.url, 'sim:tps=100,tokens=200,ttft=0');
      const times: number[] = [];
      for await (const _ of response.body ?? []) times.push(performance.now());
      const sorted = times
        .slice(1)
        .map((time, index) => time - (times[index] ?? 0))
        .toSorted((a, b) => a - b);
      return sorted[Math.floor(sorted.length * 0.99)] ?? Infinity;
    };
    const alone = await gaps();
    await Promise.all(Array.from({ length: stalled }, () => rawChat(gateway.url, endless, { reads: false })));
    await eventually(
      async () => (await metric(gateway.adminUrl, paused)) === stalled,
      'all stalled readers to be full',
    );
    // The machine's own noise only adds: one quiet run in five shows that the gateway adds nothing.
    let added = Infinity;
    for (let attempt = 0; attempt < 5 && added > 5; attempt += 1) {
      added = Math.min(added, (await within(gaps(), 'the live stream')) - alone);
    }
    expect(added).toBeLessThanOrEqual(5);
  });
});
