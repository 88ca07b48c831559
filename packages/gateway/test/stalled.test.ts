import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { Progress } from '@spillway/server/sink/progress';
import { eventually, startBoth } from './support/processes.ts';
import { metric, rawChat, simulatorStats } from './support/requests.ts';

const stalled = 'spillway_readers_ended_total{reason="stalled"}';

describe('3.3, promise 11: a reader without progress is ended', () => {
  test('while the provider waits for it', async () => {
    const { gateway, simulator } = await startBoth(['--stall-timeout-ms', '1000']);
    await rawChat(gateway.url, 'sim:tps=0,ttft=0,tokens=100000000,batch=100', { reads: false });
    await eventually(async () => (await metric(gateway.adminUrl, stalled)) === 1, 'the reader to be ended');
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the upstream to be closed',
    );
    expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="cancelled"}')).toBe(1);
  });

  test('also when the provider has already finished', async () => {
    const { gateway, simulator } = await startBoth([
      '--stall-timeout-ms',
      '3000',
      '--window-bytes',
      '33554432',
    ]);
    const client = await rawChat(gateway.url, 'sim:tps=0,ttft=0,tokens=800,size=20000', { reads: false });
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'finished',
      'the provider to finish',
    );
    expect(await metric(gateway.adminUrl, 'spillway_waiting_bytes')).toBeGreaterThan(0);
    await eventually(async () => (await metric(gateway.adminUrl, stalled)) === 1, 'the reader to be ended');
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_streams')) === 0,
      'the stream to be gone',
    );
    expect(await metric(gateway.adminUrl, 'spillway_waiting_bytes')).toBe(0);
    // The provider's marker was seen, so this is how the stream ended, whatever became of its reader.
    expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="completed"}')).toBe(1);
    client.socket.resume();
    await client.closed();
  });

  test('also after an error was written to it', async () => {
    const { gateway, simulator } = await startBoth([
      '--stall-timeout-ms',
      '3000',
      '--window-bytes',
      '33554432',
      '--max-stream-bytes',
      '16000000',
    ]);
    // The provider is cut off at the limit; 16 MB and the error still wait for the reader.
    const client = await rawChat(gateway.url, 'sim:tps=0,ttft=0,tokens=2000,size=20000', { reads: false });
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the provider to be cut off',
    );
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_streams')) === 0,
      'the stream to be gone',
    );
    client.socket.resume();
    await client.closed();
    expect(client.received()).not.toContain('stream_too_large');
  });

  test.skipIf(process.platform !== 'linux')(
    'but not one that is slow, although the kernel hides its progress',
    async () => {
      const { gateway } = await startBoth(['--stall-timeout-ms', '3000']);
      const client = await rawChat(gateway.url, 'sim:tps=0,ttft=0,tokens=100000000,batch=100', {
        reads: false,
      });
      await eventually(
        async () => (await metric(gateway.adminUrl, 'spillway_streams{state="paused"}')) === 1,
        'the reader to be full',
      );
      // Far too little for the socket to ask for more within the timeout, but progress.
      const startMs = performance.now();
      const closed = once(client.socket, 'close');
      while (performance.now() - startMs < 9000 && !client.socket.destroyed) {
        client.socket.resume();
        await Promise.race([once(client.socket, 'data'), closed]);
        client.socket.pause();
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
      expect(await metric(gateway.adminUrl, stalled)).toBe(0);
      expect(client.socket.destroyed).toBe(false);
    },
  );
});

describe('Progress', () => {
  const rules = { stallTimeoutMs: 30_000, minBytesPerSecond: 100 };

  test('30 s without progress', () => {
    const progress = new Progress(rules);
    expect(progress.observe(1000, 10, true)).toBeUndefined();
    expect(progress.observe(30_999, 10, true)).toBeUndefined();
    expect(progress.observe(31_000, 10, true)).toBe('no_progress');
  });

  test('time in which nothing is there for the reader does not count', () => {
    const progress = new Progress(rules);
    progress.observe(1000, 10, true);
    progress.observe(20_000, 10, false);
    expect(progress.observe(100_000, 10, true)).toBeUndefined();
    expect(progress.observe(129_999, 10, true)).toBeUndefined();
    expect(progress.observe(130_000, 10, true)).toBe('no_progress');
  });

  test.each([
    [5999, 'too_slow'],
    [6000, undefined],
  ])('%i bytes in 60 s: %s', (bytes, verdict) => {
    const progress = new Progress(rules);
    for (let second = 0; second < 60; second += 1) {
      expect(progress.observe(1000 + second * 1000, Math.floor((bytes * second) / 60), true)).toBeUndefined();
    }
    expect(progress.observe(61_000, bytes, true)).toBe(verdict);
  });

  test('each 60 s are measured anew: an early rush does not excuse a later crawl', () => {
    const progress = new Progress(rules);
    const bytesAt = (second: number): number => 1_000_000 + second;
    progress.observe(1000, 0, true);
    for (let second = 1; second <= 60; second += 1) {
      expect(progress.observe(1000 + second * 1000, bytesAt(second), true)).toBeUndefined();
    }
    for (let second = 61; second < 120; second += 1)
      progress.observe(1000 + second * 1000, bytesAt(second), true);
    expect(progress.observe(121_000, bytesAt(120), true)).toBe('too_slow');
  });
});
