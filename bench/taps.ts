import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { place } from './placement.ts';
import { compareTaps, tappedGateway } from './tap-comparison.ts';

/** Streams, tokens a second of each, and what one core without a tap can do with ease. */
const loads = [
  [1, 80],
  [100, 80],
  [1000, 10],
] as const;

const rounds = 3;

/** The gateway's own flags. */
const ways: Readonly<Record<string, (folder: string) => string>> = {
  'no tap': () => '',
  'sqlite:': (folder) => `to=sqlite:${join(folder, 'plain.db')}`,
  'sqlite:, gate': (folder) => `to=sqlite:${join(folder, 'gate.db')},gate=true`,
  'file:, gate': (folder) => `to=file:${join(folder, 'gate.jsonl')},gate=true`,
};

/**
 * What a tap adds: to the time until a token is with its reader, with and without a gate; to the CPU that it takes, of
 * all threads; and what the tap writes meanwhile. On the disk of the folder for temporary files.
 */
export async function taps(): Promise<void> {
  const placement = place();
  const folder = mkdtempSync(join(tmpdir(), 'spillway-bench-taps-'));
  console.log(
    `The gateway ${placement.description}. Medians of ${rounds} rounds, and the least and the most.`,
  );
  try {
    const systems = Object.entries(ways).map(([name, tapOf]) => {
      const tap = tapOf(folder);
      return tappedGateway(name, tap === '' ? [] : ['--tap', `name=tap,${tap}`]);
    });
    await compareTaps({ placement, systems, loads, rounds, hasEngines: false });
  } finally {
    rmSync(folder, { recursive: true });
  }
}
