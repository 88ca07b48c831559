import type { Clock } from '@spillway/core/clock';

/** Returns a reader token that nobody can guess: 144 random bits as base64url. */
export function createReaderToken(clock: Pick<Clock, 'randomBytes'>): string {
  return btoa(String.fromCharCode(...clock.randomBytes(18)))
    .replaceAll('+', '-')
    .replaceAll('/', '_');
}
