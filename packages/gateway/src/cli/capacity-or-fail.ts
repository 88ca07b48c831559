import { exitCodes } from './exit-codes.ts';
import { fail } from './fail.ts';
import { BehaviourError, readPairs } from '../simulate/behaviour.ts';
import { type Capacity, readCapacity } from '../simulate/capacity.ts';

/** Reads a capacity of the simulated provider, or ends the process with what is wrong. */
export function capacityOrFail(text: string): Capacity {
  try {
    return readCapacity(readPairs(text));
  } catch (error) {
    if (!(error instanceof BehaviourError)) throw error;
    return fail(exitCodes.usage, `--capacity: ${error.message}`);
  }
}
