import {
  eventually,
  metricOf,
  openStream,
  type Program,
  quantile,
  startGateway,
  startSimulator,
  statsOf,
  stopAll,
} from './programs.ts';

const readers = 200;

/** So that opening 200 streams is over. */
const settleMs = 2000;

const phases = [
  {
    phase: 'waiting for a free place',
    model: 'stall=1',
    args: ['--max-streams', '1', '--max-waiting', '1000'],
    state: 'waiting',
  },
  {
    phase: 'waiting to try again',
    model: 'status=503,retryAfter=10',
    args: ['--retries', '2'],
    state: 'opening',
  },
] as const;

/**
 * The time from a client's close to the end of its stream in the phases without an upstream, which W5 cannot see: 200
 * readers a phase, one leaving every 10 ms. What counts is when the gateway has closed it, as its log says.
 */
export async function cancel(): Promise<void> {
  for (const { args, model, phase, state } of phases) {
    const simulator = await startSimulator();
    const gateway = await startGateway(simulator.url, [
      ...args,
      '--log-level',
      'info',
      '--wait-timeout-ms',
      '600000',
    ]);
    const first = await openStream(gateway.url, 'first:stall=1');
    await eventually(async () => (await statsOf(simulator)).length === 1, 'the first to run');
    const left = await leaveOneByOne(gateway, model, state);
    const ended = await eventually(() => {
      const lines = gateway.command.stderr().matchAll(/"time":(\d+).*"model":"(reader-\d+):/g);
      const found = [...lines].map(([, time, name]) => ({ name: name ?? '', endedMs: Number(time) }));
      return found.length === readers && found;
    }, 'every stream to end');
    report(
      phase,
      ended.map(({ endedMs, name }) => endedMs - (left.get(name) ?? Number.NaN)),
    );
    first.socket.destroy();
    await stopAll();
  }
}

/** Opens all, waits until they are where they should be, and closes them. Returns when each was closed. */
async function leaveOneByOne(
  gateway: Program,
  model: string,
  state: string,
): Promise<ReadonlyMap<string, number>> {
  const clients = await Promise.all(
    Array.from({ length: readers }, (_, index) => openStream(gateway.url, `${nameOf(index)}:${model}`)),
  );
  await eventually(
    async () => (await metricOf(gateway, `spillway_streams{state="${state}"}`)) === readers,
    `all streams to be ${state}`,
    120_000,
  );
  await new Promise((resolve) => setTimeout(resolve, settleMs));
  const left = new Map<string, number>();
  for (const [index, { socket }] of clients.entries()) {
    left.set(nameOf(index), performance.timeOrigin + performance.now());
    socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return left;
}

function report(phase: string, delays: readonly number[]): void {
  const [p50, p99, max] = [0.5, 0.99, 1].map((q) => quantile(delays, q).toFixed(1));
  console.log(`${phase}: p50 ${p50} ms, p99 ${p99} ms, max ${max} ms (${delays.length} readers)`);
}

function nameOf(index: number): string {
  return `reader-${index}`;
}
