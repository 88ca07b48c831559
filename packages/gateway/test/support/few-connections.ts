import { neededDescriptors } from '../../src/memory/descriptors.ts';
import { eventually, type RunningGateway, startGateway } from './processes.ts';

/** Less than any gateway needs. */
const tooFew = 50;
/** A simulated provider is in the same process, with its own end of each connection. */
const costOfStream = 2;

/**
 * Starts a gateway with simulated models that has exactly 2 × (`maxStreams` + `maxWaiting`) connections for clients, because it
 * has no descriptors for more. How many a start opens by itself, a first one tells.
 */
export async function startWithFewConnections(
  maxStreams: number,
  maxWaiting: number,
  env: Record<string, string>,
): Promise<RunningGateway> {
  const args = ['--max-streams', `${maxStreams}`, '--max-waiting', `${maxWaiting}`];
  const start = (descriptors: number): Promise<RunningGateway> =>
    startGateway(args, { env, prefix: ['sh', '-c', `ulimit -n ${descriptors}; exec "$@"`, 'sh'] });
  const bounds = { host: '127.0.0.1', adminHost: '127.0.0.1', maxStreams, maxWaiting };
  const needed = (limit: number, used: number): number =>
    neededDescriptors(bounds, { limit, used }, costOfStream);
  const first = await start(tooFew);
  const used = await eventually(() => {
    const told = /"needed":(\d+)/.exec(first.stderr())?.[1];
    return told === undefined ? undefined : Number(told) - needed(tooFew, 0);
  }, 'what it has open');
  first.process.kill('SIGKILL');
  let limit = tooFew;
  while (needed(limit, used) > limit) limit += 1;
  return await start(limit);
}
