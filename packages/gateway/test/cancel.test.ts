import { describe, expect, test } from 'vitest';
import { eventually, startBoth } from './support/processes.ts';
import { metric, postChat, rawChat, simulatorStats } from './support/requests.ts';

const cancelled = 'spillway_streams_ended_total{state="cancelled"}';

/** The ways in which a connection ends: an orderly close, a half-close, a reset. */
const leavings = ['destroy', 'end', 'resetAndDestroy'] as const;

// The streams here never end by themselves, so a test passes only if leaving ended them. How fast
// that is, `bench/cancel.ts` measures.
describe('3.1 and 3.2, promise 6: the last reader gone closes the upstream', () => {
  const phases = [
    ['before the response headers', 'sim:headers=3600000', true, 'opening'],
    ['before the first token', 'sim:ttft=3600000', true, 'streaming'],
    ['between tokens', 'sim:stall=3,tps=0,ttft=0', true, 'streaming'],
    ['streaming', 'sim:tps=200,tokens=10000000,ttft=0', true, 'streaming'],
    ['paused by backpressure', 'sim:tps=0,tokens=100000000,ttft=0,batch=100', false, 'paused'],
  ] as const;
  const ways = [...leavings.map((leave) => [leave, 'built-in'] as const), ['destroy', 'undici'] as const];
  for (const [leave, reader] of ways) {
    const how = reader === 'built-in' ? leave : `${leave}, read by ${reader}`;
    test.each(phases)(`${how}: %s`, async (_phase, model, reads, state) => {
      const { gateway, simulator } = await startBoth([], {}, reader);
      const client = await rawChat(gateway.url, model, { reads });
      await eventually(
        async () => (await simulatorStats(simulator.url)).length === 1,
        'the provider to be asked',
      );
      await eventually(
        async () => (await metric(gateway.adminUrl, `spillway_streams{state="${state}"}`)) === 1,
        `the stream to be ${state}`,
      );
      client.socket[leave]();
      await eventually(
        async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
        'the upstream to be closed',
      );
      expect(await metric(gateway.adminUrl, cancelled)).toBe(1);
    });
  }

  test('waiting for a free place', async () => {
    const { gateway, simulator } = await startBoth(['--max-streams', '1']);
    const first = await rawChat(gateway.url, 'sim:stall=1');
    await eventually(async () => (await simulatorStats(simulator.url)).length === 1, 'the first to run');
    const second = await rawChat(gateway.url, 'sim:second');
    const waiting = 'spillway_streams{state="waiting"}';
    await eventually(async () => (await metric(gateway.adminUrl, waiting)) === 1, 'the second to wait');
    second.socket.destroy();
    await eventually(async () => (await metric(gateway.adminUrl, waiting)) === 0, 'the second to be gone');
    first.socket.destroy();
    await eventually(async () => (await metric(gateway.adminUrl, cancelled)) === 2, 'both to be cancelled');
    await postChat(gateway.url, 'sim:third,tokens=1', { stream: false });
    expect((await simulatorStats(simulator.url)).some(({ model }) => model.includes('second'))).toBe(false);
  });

  test('waiting to try again', async () => {
    const { gateway, simulator } = await startBoth(['--retries', '2']);
    const client = await rawChat(gateway.url, 'sim:status=503,retryAfter=9');
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_retries_total')) === 1,
      'the gateway to wait for the next try',
    );
    client.socket.destroy();
    await eventually(
      async () => (await metric(gateway.adminUrl, cancelled)) === 1,
      'the stream to end',
      5000,
    );
    expect(await simulatorStats(simulator.url)).toHaveLength(1);
  });

  test('fetch with an AbortSignal', async () => {
    const { gateway, simulator } = await startBoth();
    const abort = new AbortController();
    const response = await postChat(gateway.url, 'sim:stall=2', { signal: abort.signal });
    await response.body?.getReader().read();
    abort.abort();
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the upstream to be closed',
    );
  });
});
