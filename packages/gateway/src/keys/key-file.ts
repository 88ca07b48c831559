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
import { ConfigError } from '../config/config-error.ts';
import { readSmallFile, whyNoFile } from '../process/small-file.ts';
import type { KeyStore } from './key-store.ts';
import { changedText, keysInText } from './key-text.ts';

/** How long a change waits for that of another process. */
const lockTimeoutMs = 5000;
const lockRetryMs = 20;

/**
 * The keys in a file of `apiKeysFile`. What is not changed stays as it is: `key-text.ts`. A change is written to another file, which then takes
 * the place of the first: whoever reads gets the old keys or the new ones. A file that is new can be read by its owner
 * alone; another one keeps its mode and its owner.
 *
 * Both calls reject with a `ConfigError` for a file that cannot be read or written, or that the gateway would refuse.
 */
export function openKeyFile(path: string): KeyStore {
  const place = existsSync(path) ? realpathSync(path) : resolve(path);
  return {
    list: () => new Promise((done) => done(keysInText(place, textOf(place)))),
    update: async (change) => {
      const lock = await takeLock(place);
      try {
        const text = changedText(place, textOf(place), change);
        if (text !== undefined) write(place, text);
      } finally {
        lock.release();
      }
    },
  };
}

function textOf(path: string): string {
  try {
    return readSmallFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw new ConfigError(`${path}: expected a file of keys that can be read, got ${whyNoFile(error)}`);
  }
}

/** Replaces the file. After a crash there is the old one or the new one, and perhaps one that is named `.new`. */
function write(path: string, text: string): void {
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
