import {
  accessSync,
  closeSync,
  constants,
  openSync,
  readSync,
  type Stats,
  statfsSync,
  statSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import { spilledBytes } from '@spillway/server/tap/sinks/spill-queue';
import type { Settings } from '../../config/load.ts';
import { engineKindOf } from '../../config/engine-url.ts';
import { type ConfiguredTap, deadLettersOf, sharedPlaces } from '../../config/tap.ts';
import { writeQuantity } from '../../config/units.ts';
import { spillProblem } from '../../tap/spill-place.ts';
import { engineJudged } from './tap-engine.ts';
import type { Finding, Judgement } from './finding.ts';

/** Less free space than that is worth a word. */
const leastFreeBytes = 1_073_741_824;
/** What is read of a file to see what it is. */
const headBytes = 512;

/**
 * Whether each tap could write where it is to. No record is written, no file is made, and nothing in an engine.
 */
export async function checkTaps({ taps }: Pick<Settings, 'taps'>): Promise<Finding[]> {
  const found = await Promise.all(
    taps.map(async (tap) => {
      const kind = engineKindOf(tap.to);
      const judged = kind === undefined ? [localJudged(tap)] : await engineJudged(tap, kind);
      const check = `tap ${tap.name}`;
      return [
        ...judged.map((judgement): Finding => ({ check, ...judgement })),
        ...(kind === undefined ? [] : lettersJudged(tap).map((judgement) => ({ check, ...judgement }))),
        ...(tap.spill === undefined
          ? []
          : [{ check: `${check} (spill)`, ...(await spillJudged(tap, tap.spill)) }]),
      ];
    }),
  );
  const shared = sharedPlaces(taps).map((names): Finding => ({
    check: `taps ${names}`,
    status: 'warn',
    message:
      'They write to one place: what the second one writes of a stream counts as known. Give each its own.',
  }));
  return [...found.flat(), ...shared];
}

function localJudged({ to }: ConfiguredTap): Judgement {
  if (to === 'stdout:')
    return { status: 'ok', message: 'It writes to standard output, where nothing is kept.' };
  const at = to.indexOf(':');
  const path = resolve(to.slice(at + 1));
  const found = statOf(path);
  if (typeof found === 'string') return unwritable(path, found);
  if (found === undefined) return folderWritable(dirname(path)) ?? room(dirname(path), 'It is new.');
  if (!found.isFile()) return failed(`${path}: expected a file, got something else: choose another.`);
  const problem = accessProblem(path, constants.R_OK | constants.W_OK);
  if (problem !== undefined) return unwritable(path, problem);
  const isAudit = to.startsWith('sqlite:');
  const head = headOf(path);
  if (head !== '' && !(isAudit ? isAuditLog(head) : isRecordLine(head))) {
    const expected = isAudit ? 'an audit log' : 'lines of records';
    return failed(`${path}: expected ${expected} or no file, got another file: choose another.`);
  }
  // A database has files beside it, and a file of lines is renamed.
  const message = `It goes on in a file of ${sizeText(found.size)}.`;
  return folderWritable(dirname(path)) ?? room(dirname(path), message);
}

/** Dead letters are the exception, so only what is wrong with their place is said. */
function lettersJudged(tap: ConfiguredTap): Judgement[] {
  const path = resolve(deadLettersOf(tap));
  const problem = folderWritable(dirname(path));
  if (problem === undefined) return [];
  return [{ status: 'warn', message: `Dead letters (deadLetters) would not be kept. ${problem.message}` }];
}

/** A folder that is there, or can be made in the one above it, and has no records of another place. */
async function spillJudged(tap: ConfiguredTap, folder: string): Promise<Judgement> {
  const path = resolve(folder);
  const found = statOf(path);
  if (typeof found === 'string') return unwritable(path, found);
  if (found === undefined) return folderWritable(dirname(path)) ?? room(dirname(path), 'It is new.');
  const problem = await spillProblem(tap);
  if (problem !== undefined) return failed(`${problem}.`);
  const bytes = await spilledBytes(path);
  const has = bytes === 0 ? '' : `, with ${sizeText(bytes)} of records that are not written yet`;
  return folderWritable(path) ?? room(path, `It is there${has}.`);
}

/** What is at that path; `undefined`: nothing; a text: why that cannot be told. */
function statOf(path: string): Stats | string | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    return codeOf(error);
  }
}

/** What keeps a folder from being written; `undefined`: nothing. */
function folderWritable(path: string): Judgement | undefined {
  const found = statOf(path);
  if (found === undefined) return failed(`The folder ${path} is not there: make it.`);
  if (typeof found !== 'string' && !found.isDirectory())
    return failed(`${path}: expected a folder, got something else: choose another.`);
  const problem = accessProblem(path, constants.W_OK | constants.X_OK);
  return problem === undefined ? undefined : unwritable(path, problem);
}

function room(folder: string, message: string): Judgement {
  const { bavail, bsize } = statfsSync(folder);
  const free = bavail * bsize;
  const words = `${message} ${sizeText(free)} of its disk are free`;
  return free < leastFreeBytes
    ? { status: 'warn', message: `${words}: when there are none, the tap is down.` }
    : { status: 'ok', message: `${words}.` };
}

function accessProblem(path: string, mode: number): string | undefined {
  try {
    accessSync(path, mode);
    return undefined;
  } catch (error) {
    return codeOf(error);
  }
}

/** Only its first bytes are looked at: SQLite makes files of its own beside a database that it opens. */
function isAuditLog(head: string): boolean {
  return head.startsWith('SQLite format 3\0') && head.slice(68, 72) === 'SpwA';
}

function isRecordLine(head: string): boolean {
  return /^\{(?:"v":\d+,)?"stream":"/.test(head);
}

/** The first bytes of a file, one character each. */
function headOf(path: string): string {
  const descriptor = openSync(path, 'r');
  try {
    const head = Buffer.alloc(headBytes);
    return head.toString('latin1', 0, readSync(descriptor, head, 0, headBytes, 0));
  } finally {
    closeSync(descriptor);
  }
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

function unwritable(path: string, code: string): Judgement {
  return failed(`${path} cannot be written (${code}): mend its rights, or choose another.`);
}

function failed(message: string): Judgement {
  return { status: 'fail', message };
}

/** Rounded down to the largest unit of which there are ten or more. */
function sizeText(bytes: number): string {
  let unit = 1;
  while (bytes / unit >= 10_240) unit *= 1024;
  return writeQuantity(Math.floor(bytes / unit) * unit, 'bytes');
}
