import {
  eventually,
  metricOf,
  openStream,
  type Program,
  quantile,
  startGateway,
  startSimulator,
  statsOf,
} from './programs.ts';

const readers = 200;

const phases = [
  { phase: 'before the response headers', model: 'headers=3600000', state: 'opening', reads: true },
  { phase: 'before the first token', model: 'ttft=3600000', state: 'streaming', reads: true },
  { phase: 'streaming', model: 'tps=20,tokens=1000000,ttft=0', state: 'streaming', reads: true },
  {
    phase: 'paused by backpressure',
    model: 'tps=0,tokens=100000000,size=20000,ttft=0',
    state: 'paused',
    reads: false,
  },
] as const;

/**
 * The time from a client's close to the upstream's: 200 readers a phase, one leaving every 10 ms, both
 * ends on this machine's clock. The two phases that have no upstream (waiting for a place, waiting to
 * try again) are timed to the end of the stream inside the gateway, by the tests' deadline only.
 */
export async function cancel(): Promise<void> {
  for (const { model, phase, reads, state } of phases) {
    const simulator = await startSimulator();
    const gateway = await startGateway(simulator.url);
    const clients = await Promise.all(
      Array.from({ length: readers }, (_, index) =>
        openStream(gateway.url, `${nameOf(index)}:${model}`, reads),
      ),
    );
    await eventually(
      async () => (await metricOf(gateway, `spillway_streams{state="${state}"}`)) === readers,
      `all streams to be ${state}`,
      120_000,
    );
    const left = new Map<string, number>();
    for (const [index, { socket }] of clients.entries()) {
      left.set(nameOf(index), performance.timeOrigin + performance.now());
      socket.destroy();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const delays = await delaysOf(simulator, left);
    console.log(
      `${phase}: p50 ${quantile(delays, 0.5).toFixed(1)} ms, p99 ${quantile(delays, 0.99).toFixed(1)} ms, ` +
        `max ${quantile(delays, 1).toFixed(1)} ms (${delays.length} readers)`,
    );
    gateway.command.process.kill('SIGKILL');
    simulator.command.process.kill('SIGKILL');
  }
}

async function delaysOf(simulator: Program, left: ReadonlyMap<string, number>): Promise<number[]> {
  const requests = await eventually(async () => {
    const all = await statsOf(simulator);
    return all.every(({ state }) => state === 'left') && all;
  }, 'every upstream to be closed');
  return requests.map(({ endedMs, model }) => {
    const [name = ''] = model.split(':');
    return (endedMs ?? Number.NaN) - (left.get(name) ?? Number.NaN);
  });
}

function nameOf(index: number): string {
  return `reader-${index}`;
}
