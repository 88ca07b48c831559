import type { Capacity } from '../../src/simulate/capacity.ts';
import { startSimulator } from './processes.ts';
import type { RunningSimulator } from './simulators.ts';

/** What a simulator says of what it does at once. */
export interface CapacityReport {
  readonly taken: number;
  readonly capacities: readonly (Capacity & { readonly taken: number })[];
}

/** A simulated provider with a capacity, for as long as the test runs. */
export async function startProvider(capacity: Partial<Capacity>): Promise<RunningSimulator> {
  const simulator = await startSimulator();
  await setCapacity(simulator.url, capacity);
  return simulator;
}

/**
 * Changes a running simulator's capacity, of all models or of one: `{ places: 20, most: 60 }`. What is left out has its default: `{ most: 0 }`
 * refuses everybody, `{ slow: 5 }` is a brown-out without bounds, `{}` takes any number.
 */
export async function setCapacity(url: string, capacity: Partial<Capacity>): Promise<CapacityReport> {
  const response = await fetch(`${url}/simulate/capacity`, {
    method: 'POST',
    body: JSON.stringify(capacity),
  });
  if (!response.ok) throw new Error(`the simulator says: ${await response.text()}`);
  return (await response.json()) as CapacityReport;
}

export async function capacityOf(url: string): Promise<CapacityReport> {
  return (await (await fetch(`${url}/simulate/capacity`)).json()) as CapacityReport;
}
