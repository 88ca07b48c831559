import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { SpillwayError } from '@spillway/core';
import { z } from 'zod';
import { parsedJson } from '@spillway/core/format/parsed-json';
import { syncFolder } from './sync-folder.ts';

/** How far somebody has read a log. */
const placeSchema = z.object({
  v: z.literal(1),
  /** The log, whatever its file is called: {@link logMark}. */
  log: z.string(),
  /** The row up to which all is done. Rows of a log are numbered in the order in which they were written. */
  row: z.int().min(0),
  /** The hash of that row, in hexadecimal; empty: none was known. */
  hash: z.string(),
});

/** A place in a log. */
export type ReadingPlace = Readonly<z.infer<typeof placeSchema>>;

/**
 * Reads a place. `undefined`: there is none yet.
 *
 * @throws {SpillwayError} `invalid_option` for a file that is something else: to begin anew would give all again.
 */
export async function loadPlace(file: string): Promise<ReadingPlace | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const place = placeSchema.safeParse(parsedJson(text));
  if (place.success) return place.data;
  throw new SpillwayError(
    'invalid_option',
    `${file}: expected the place of a reader of an audit log, got something else. Remove it, and the reader begins with the oldest record.`,
  );
}

/** Keeps a place, for its owner alone. On the disk when it resolves; before, there is the one before. */
export async function savePlace(file: string, place: ReadingPlace): Promise<void> {
  const next = `${file}.new`;
  const handle = await open(next, 'w', 0o600);
  try {
    await handle.writeFile(`${JSON.stringify(place)}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(next, file);
  await syncFolder(dirname(file));
}
