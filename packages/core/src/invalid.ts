import { SpillwayError } from './errors.ts';

/** Returns the error for a wrong option. The message has to say what was expected and what came. */
export function invalid(message: string): SpillwayError {
  return new SpillwayError('invalid_option', message);
}

/**
 * Checks that an option is a whole number from the least to the most.
 *
 * @throws {SpillwayError} `invalid_option`, which names the option and says what was expected and what came.
 */
export function expectWhole(name: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  throw invalid(`${name}: expected a whole number from ${least} to ${most}, got ${String(value)}.`);
}
