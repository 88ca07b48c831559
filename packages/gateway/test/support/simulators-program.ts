// Simulated providers, each with a port and figures of its own, for the test that started this program. It ends with it.
import { openSimulator, type Simulator } from '../../src/simulate/simulator.ts';
import type { Asked, Answered } from './simulators.ts';

const simulators = new Map<string, Simulator>();

async function answer({ close, id }: Asked): Promise<Answered> {
  if (close === undefined) {
    const simulator = await openSimulator({ host: '127.0.0.1', port: 0 });
    simulators.set(simulator.url, simulator);
    return { id, url: simulator.url };
  }
  await simulators.get(close)?.close();
  simulators.delete(close);
  return { id, url: close };
}

process.on('message', (asked: Asked) => void answer(asked).then((answered) => process.send?.(answered)));
process.on('disconnect', () => process.exit());
