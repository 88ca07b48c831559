import { describe, expect, test } from 'vitest';
import { eventually, type RunningGateway, startBoth } from './support/processes.ts';
import { metric, postChat, rawChat, simulatorStats } from './support/requests.ts';

const MiB = 1024 * 1024;
const windowBytes = 64 * 1024;
const allowanceBytes = 128 * 1024;

function memoryOf(gateway: RunningGateway): Promise<number> {
  return metric(gateway.adminUrl, 'process_memory_usage_bytes');
}

// Events of 4 kB, which have no place among large ones: 16 MB a reader, far beyond what kernels take.
const endless = 'sim:tps=0,ttft=0,tokens=4000,size=4000';

describe('promise 1: memory is what is configured', () => {
  test('40 readers that never read, 16 MB each', async () => {
    const readers = 40;
    const { gateway, simulator } = await startBoth(['--log-level', 'silent']);
    // Warm: what the first streams compile and allocate is no stream's share.
    for (let count = 0; count < 10; count += 1) await (await postChat(gateway.url, endless)).text();
    const before = await memoryOf(gateway);
    await Promise.all(Array.from({ length: readers }, () => rawChat(gateway.url, endless, { reads: false })));
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_streams{state="paused"}')) === readers,
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
      async () => (await metric(gateway.adminUrl, 'spillway_streams{state="paused"}')) === stalled,
      'all stalled readers to be full',
    );
    // The machine's own noise only adds: one quiet run in five shows that the gateway adds nothing.
    let added = Infinity;
    for (let attempt = 0; attempt < 5 && added > 5; attempt += 1) {
      added = Math.min(added, (await gaps()) - alone);
    }
    expect(added).toBeLessThanOrEqual(5);
  });
});
