import { SpillwayError } from '@spillway/core';

export function expectWhole(name: string, value: number, least: number, most: number): void {
  if (Number.isSafeInteger(value) && value >= least && value <= most) return;
  throw invalid(`${name}: expected a whole number from ${least} to ${most}, got ${String(value)}.`);
}

/** Rejects with `invalid_option` when a key is something else than a stream. Where nothing is, one will be. */
export async function expectStream(
  key: string,
  call: (words: readonly string[]) => Promise<unknown>,
): Promise<void> {
  const type = String(await call(['TYPE', key]));
  if (type === 'stream' || type === 'none') return;
  throw invalid(`stream ${key}: expected a stream of Redis or no key, got a ${type}.`);
}

export function invalid(message: string): SpillwayError {
  return new SpillwayError('invalid_option', message);
}
