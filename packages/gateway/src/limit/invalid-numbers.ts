import { SpillwayError } from '@spillway/core';

/** Whether a store has refused numbers that no store takes: it works, and it is of no use to ask again. */
export function isInvalid(error: unknown): boolean {
  return error instanceof SpillwayError && error.code === 'invalid_option';
}
