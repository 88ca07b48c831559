import { kinds } from './kinds.ts';

/** Reads for how long and with which kinds of attack; ends the program if it was given others. Default: all kinds. */
export function readChoice(
  { minutes, only }: { readonly minutes: string; readonly only?: string | undefined },
  program: string,
): { readonly chosen: readonly string[]; readonly minutes: number } {
  const known = Object.keys(kinds);
  const chosen = only?.split(',') ?? known;
  const unknown = chosen.filter((name) => !known.includes(name));
  const problem =
    unknown.length > 0
      ? `expected --only with kinds out of ${known.join(', ')}; got ${unknown.join(', ')}`
      : `expected --minutes above 0, got ${minutes}`;
  if (unknown.length > 0 || !(Number(minutes) > 0)) {
    console.error(`${program}: ${problem}`);
    process.exit(1);
  }
  return { chosen, minutes: Number(minutes) };
}
