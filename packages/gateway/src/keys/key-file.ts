import {
  closeSync,
  existsSync,
  fchmodSync,
  fchownSync,
  fsyncSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  type Stats,
  writeFileSync,
} from 'node:fs';
import { dirname, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SpillwayError } from '@spillway/core';
import { FileLock } from '@spillway/server/tap/sinks/file-lock';
import { apiKey } from '../config/api-key.ts';
import { ConfigError } from '../config/config-error.ts';
import { readKeyLine, writeKeyLine } from '../config/key-line.ts';
import { readApiKeys, readKeyWord } from '../config/read-api-keys.ts';
import { readSmallFile, whyNoFile } from '../process/small-file.ts';
import type { KeyStore, StoredKey } from './key-store.ts';

/** How long a change waits for that of another process. */
const lockTimeoutMs = 5000;
const lockRetryMs = 20;
/** As much as is read of a file of keys. */
const maxFileBytes = 4_194_304;

/** A line of the file, and the keys in it. */
interface Line {
  readonly text: string;
  readonly keys: readonly StoredKey[];
}

/**
 * The keys in a file of `apiKeysFile`. Comments, the order of the lines and lines that nobody changes stay as they are. A
 * key that stands there itself becomes a digest when it is changed. A change is written to another file, which then takes
 * the place of the first: whoever reads gets the old keys or the new ones. A file that is new can be read by its owner
 * alone; another one keeps its mode and its owner.
 *
 * Both calls reject with a `ConfigError` for a file that cannot be read or written, or that the gateway would refuse.
 */
export function openKeyFile(path: string): KeyStore {
  const place = existsSync(path) ? realpathSync(path) : resolve(path);
  return {
    list: () => new Promise((done) => done(linesOf(place).flatMap(({ keys }) => keys))),
    update: async (change) => {
      const lock = await takeLock(place);
      try {
        const lines = linesOf(place);
        const changed = change(lines.flatMap(({ keys }) => keys));
        if (changed.length > 0) write(place, textWith(lines, changed));
      } finally {
        lock.release();
      }
    },
  };
}

function linesOf(path: string): Line[] {
  const text = textOf(path);
  check(path, text);
  const lines = text.split('\n');
  // What stands behind the last line end is a line only if it is not empty.
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line) => ({ text: line, keys: keysIn(line) }));
}

function textOf(path: string): string {
  try {
    return readSmallFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new ConfigError(`${path}: expected a file of keys that can be read, got ${whyNoFile(error)}`);
  }
}

/** @throws {ConfigError} for a text that a gateway would refuse: nobody changes what is not understood. */
function check(path: string, text: string): void {
  readApiKeys({ variable: '', text: '', file: { name: path, text } });
}

/** The keys of a line that has been checked. */
function keysIn(line: string): StoredKey[] {
  if (/^\s*(?:#|$)/.test(line)) return [];
  const key = readKeyLine(line);
  if (!('problem' in key)) return [key];
  return wordsIn(line).flatMap((word) => {
    const found = readKeyWord(word);
    return 'problem' in found ? [] : [{ ...apiKey(found.digest, found.name), limits: {} }];
  });
}

function wordsIn(line: string): string[] {
  return line
    .trim()
    .split(',')
    .filter((word) => word !== '');
}

function textWith(lines: readonly Line[], changed: readonly StoredKey[]): string {
  const byDigest = new Map(changed.map((key) => [key.digest.toString('hex'), key]));
  const written: string[] = [];
  for (const { keys, text } of lines) {
    const isChanged = keys.map(({ digest }) => byDigest.has(digest.toString('hex')));
    if (!isChanged.includes(true)) {
      written.push(text);
      continue;
    }
    const stay = wordsIn(text).filter((_word, index) => isChanged[index] === false);
    if (stay.length > 0) written.push(stay.join(','));
    for (const { digest } of keys) {
      const key = byDigest.get(digest.toString('hex'));
      if (key !== undefined) written.push(writeKeyLine(key));
    }
  }
  const known = new Set(lines.flatMap(({ keys }) => keys.map(({ digest }) => digest.toString('hex'))));
  for (const [digest, key] of byDigest) if (!known.has(digest)) written.push(writeKeyLine(key));
  return `${written.join('\n')}\n`;
}

/** Replaces the file. After a crash there is the old one or the new one, and perhaps one that is named `.new`. */
function write(path: string, text: string): void {
  check(path, text);
  if (Buffer.byteLength(text) > maxFileBytes) {
    throw new ConfigError(
      `${path}: expected a file of at most ${maxFileBytes / 1_048_576} MiB, got no room for more keys`,
    );
  }
  const next = `${path}.new`;
  try {
    const before = statSync(path, { throwIfNoEntry: false });
    rmSync(next, { force: true });
    const descriptor = openSync(next, 'wx', 0o600);
    try {
      if (before !== undefined) keepOwner(descriptor, before);
      writeFileSync(descriptor, text);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(next, path);
    const folder = openSync(dirname(path), 'r');
    fsyncSync(folder);
    closeSync(folder);
  } catch (error) {
    rmSync(next, { force: true });
    throw unwritable(path, error);
  }
}

/** Who could read the file can read the new one. Nobody else can, at any time. */
function keepOwner(descriptor: number, { gid, mode, uid }: Stats): void {
  if (uid !== process.geteuid?.() || gid !== process.getegid?.()) fchownSync(descriptor, uid, gid);
  fchmodSync(descriptor, mode & 0o777);
}

function unwritable(path: string, error: unknown): ConfigError {
  const { code = 'no code', syscall = 'write' } = error as NodeJS.ErrnoException;
  return new ConfigError(
    `${path}: expected a file and a folder that can be written, got ${code} (${syscall})`,
    {
      cause: error,
    },
  );
}

/** Waits until no other process changes the file, and keeps others out until it is released, or this process has ended. */
async function takeLock(path: string): Promise<FileLock> {
  const place = `${path}.lock`;
  const lateMs = performance.now() + lockTimeoutMs;
  for (;;) {
    const lock = await lockIfFree(path, place);
    if (lock !== undefined) return lock;
    if (performance.now() > lateMs) {
      throw new ConfigError(
        `${place}: expected that no other command changes the keys, got one that has not ended in ${lockTimeoutMs / 1000} s; try again when it has`,
      );
    }
    await sleep(lockRetryMs);
  }
}

async function lockIfFree(path: string, place: string): Promise<FileLock | undefined> {
  try {
    return await FileLock.takeIfFree(place);
  } catch (error) {
    throw error instanceof SpillwayError
      ? new ConfigError(error.message, { cause: error })
      : unwritable(path, error);
  }
}
