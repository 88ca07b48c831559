import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { throwAway } from '../src/server/unread-body.ts';
import { eventually, type RunningGateway, startGateway, startSimulator } from './support/processes.ts';
import { chunkOf, openRaw, type RawRequest } from './support/raw-request.ts';
import { metric } from './support/requests.ts';

const chunked = { 'transfer-encoding': 'chunked' };

function heldBytes({ adminUrl }: RunningGateway): Promise<number> {
  return metric(adminUrl, 'spillway_requests_held_bytes');
}

/** Sends a piece again and again, until the test or the connection is over. */
function drip({ socket }: RawRequest, piece: Buffer, everyMs: number): () => void {
  const timer = setInterval(() => socket.write(piece), everyMs);
  const stop = (): void => clearInterval(timer);
  socket.once('close', stop);
  onTestFinished(stop);
  return stop;
}

describe('a body that comes slowly', () => {
  test('may take longer than requestTimeoutMs as long as it goes on: progress counts', async () => {
    const simulator = await startSimulator();
    const timeoutMs = 2000;
    const gateway = await startGateway([
      '--upstream',
      `${simulator.url}/v1`,
      '--request-timeout-ms',
      String(timeoutMs),
    ]);
    const json = JSON.stringify({ model: 'sim:tokens=1,ttft=0,tps=0', messages: [] });
    for (const headers of [chunked, { 'content-length': '60000' }]) {
      const isChunked = headers === chunked;
      const frame = isChunked ? chunkOf : (bytes: Buffer): Buffer => bytes;
      const upload = await openRaw(gateway.url, headers);
      const startMs = performance.now();
      let sent = 0;
      // 1,000 bytes in a tenth of a second: far more than 100 a second, and far longer than the timeout.
      while (performance.now() - startMs < 2.5 * timeoutMs) {
        upload.socket.write(frame(Buffer.alloc(1000, ' ')));
        sent += 1000;
        await sleep(100);
      }
      expect(upload.answer()).toBe('');
      upload.socket.write(frame(Buffer.from(isChunked ? json : json.padEnd(60_000 - sent))));
      if (isChunked) upload.socket.write('0\r\n\r\n');
      await eventually(() => upload.answer().startsWith('HTTP/1.1 200 OK'), 'the answer');
      expect(sent).toBeLessThan(60_000);
      upload.socket.destroy();
    }
  });

  test.each([
    ['nothing at all', '', 1000],
    ['a byte now and then', 'x', 50],
    ['less than minBytesPerSecond', 'x'.repeat(4), 100],
  ])(
    'promise 26: no progress is 408, in the format of its path, and gives back what was held: %s',
    async (_what, piece, everyMs) => {
      const gateway = await startGateway(['--request-timeout-ms', '1500']);
      const path = '/v1/messages';
      const uploads = await Promise.all(
        [chunked, { 'content-length': '1000000' }].map(async (headers) => {
          const upload = await openRaw(gateway.url, headers, { path });
          // Enough for one time, but not for the next.
          upload.socket.write(
            headers === chunked ? chunkOf(Buffer.alloc(5000, ' ')) : Buffer.alloc(5000, ' '),
          );
          if (piece !== '')
            drip(upload, headers === chunked ? chunkOf(Buffer.from(piece)) : Buffer.from(piece), everyMs);
          return upload;
        }),
      );
      await eventually(async () => (await heldBytes(gateway)) >= 10_000, 'both to be held');
      for (const upload of uploads) {
        await upload.closed();
        expect(upload.answer()).toMatch(/^HTTP\/1\.1 408 [^]*connection: close[^]*"type":"error"/i);
        expect(upload.answer()).toContain('expected 150 bytes more within 1500 ms');
      }
      expect(await heldBytes(gateway)).toBe(0);
      expect(gateway.stderr()).not.toContain('"level":50');
    },
  );

  test('with minBytesPerSecond 0 any progress will do', async () => {
    const gateway = await startGateway(['--request-timeout-ms', '2000', '--min-bytes-per-second', '0']);
    const upload = await openRaw(gateway.url, chunked);
    const stop = drip(upload, chunkOf(Buffer.from(' ')), 400);
    await sleep(5000);
    expect(upload.answer()).toBe('');
    stop();
    await upload.closed();
    expect(upload.answer()).toMatch(/^HTTP\/1\.1 408 [^]*expected 1 bytes more within 2000 ms/);
  });
});

test('a body that nobody reads beside a stream is thrown away, and ends its connection if it does not end', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    throwAway(request);
    response.writeHead(200).write('a stream');
  });
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const endless = await openRaw(url, chunked);
  const whole = await openRaw(url, { 'content-length': '200000' });
  whole.socket.write(Buffer.alloc(200_000));
  endless.socket.write(chunkOf(Buffer.alloc(1000)));
  // Not by a timer: they do not run here.
  while (!requests.some(({ complete }) => complete)) await new Promise((resolve) => setImmediate(resolve));
  await vi.advanceTimersByTimeAsync(59_000);
  expect(requests.map(({ destroyed, complete }) => destroyed && !complete)).toEqual([false, false]);
  await vi.advanceTimersByTimeAsync(2000);
  await endless.closed();
  expect(whole.socket.destroyed).toBe(false);
});
