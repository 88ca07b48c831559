import { SpillwayError } from './errors.ts';

/** Returns the error for a wrong option. The message has to say what was expected and what came. */
export function invalid(message: string): SpillwayError {
  return new SpillwayError('invalid_option', message);
}
