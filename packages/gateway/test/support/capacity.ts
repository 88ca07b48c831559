import type { Capacity } from '../../src/simulate/capacity.ts';
import { type Running, startSimulator } from './processes.ts';

/** What a simulator says of what it does at once. */
export interface CapacityReport {
  readonly taken: number;
  readonly capacities: readonly (Capacity & { readonly taken: number })[];
}

/** A simulated provider in a process of its own, with a capacity for all models together. It ends with the test. */
export async function startProvider(capacity: Omit<Partial<Capacity>, 'model'>): Promise<Running> {
  const pairs = Object.entries(capacity).map(([name, value]) => `${name}=${value}`);
  return await startSimulator(['--capacity', pairs.join()]);
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
