import { SpillwayError } from './errors.ts';

/** An option is not what it has to be. The message says what was expected and what came. */
export function invalid(message: string): SpillwayError {
  return new SpillwayError('invalid_option', message);
}
