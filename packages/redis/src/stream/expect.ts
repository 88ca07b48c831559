import { invalid } from '@spillway/core/invalid';

/** Rejects with `invalid_option` when a key is something else than a stream. Where nothing is, one will be. */
export async function expectStream(
  key: string,
  call: (words: readonly string[]) => Promise<unknown>,
): Promise<void> {
  const type = String(await call(['TYPE', key]));
  if (type === 'stream' || type === 'none') return;
  throw invalid(`stream ${key}: expected a stream of Redis or no key, got a ${type}.`);
}
