import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SpillwayError } from '@spillway/core';
import { spilledBytes } from '@spillway/server/tap/sinks/spill-queue';
import { shownPlace } from '../config/engine-url.ts';
import { type ConfiguredTap, haveOnePlace } from '../config/tap.ts';
import { writeQuantity } from '../config/units.ts';

type SpillingTap = Pick<ConfiguredTap, 'spill' | 'to'>;

/** In the folder of a spill: where its records belong, as it is shown, without user and password. */
const fileName = 'place';

/**
 * Why the records in the folder of a spill must not go to where the tap writes: they are of another place, such as another
 * tenant's. `undefined`: there are none, they belong there, or nobody knows where.
 */
export async function spillProblem(tap: SpillingTap): Promise<string | undefined> {
  const { spill } = tap;
  if (spill === undefined) return undefined;
  const bytes = await spilledBytes(spill);
  const place = bytes === 0 ? undefined : await placeIn(spill);
  if (place === undefined || haveOnePlace(tap, { to: place })) return undefined;
  return `expected a spill for ${shownPlace(tap.to)}, got ${spill} with ${writeQuantity(bytes, 'bytes')} of records for ${place}. Take another folder, or start with the to of before until they are written; to have them written here, remove the file ${join(spill, fileName)}`;
}

/** @throws {SpillwayError} `invalid_option` when there is a {@link spillProblem}. */
export async function expectOwnSpill(tap: SpillingTap): Promise<void> {
  const problem = await spillProblem(tap);
  if (problem !== undefined) throw new SpillwayError('invalid_option', problem);
}

/** Says in the folder where its records belong. */
export async function markSpill({ spill, to }: SpillingTap): Promise<void> {
  if (spill === undefined) return;
  await mkdir(spill, { mode: 0o700, recursive: true });
  await writeFile(join(spill, fileName), `${shownPlace(to)}\n`, { mode: 0o600 });
}

async function placeIn(spill: string): Promise<string | undefined> {
  const text = await readFile(join(spill, fileName), 'utf8').catch(() => '');
  return text === '' ? undefined : text.trimEnd();
}
