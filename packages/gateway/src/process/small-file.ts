import { closeSync, constants, fstatSync, openSync, readFileSync, type Stats } from 'node:fs';
import { open } from 'node:fs/promises';

/** The largest file that is read. The bundles of authorities that systems have are about 256 KiB. */
const maxFileBytes = 4_194_304;
/** Opening a pipe that nobody writes to would wait for its writer. */
const flags = constants.O_RDONLY | constants.O_NONBLOCK;

/** What was found instead of a file that can be read: a part of a sentence behind "got". */
class NoSmallFile extends Error {
  override readonly name = 'NoSmallFile';
}

/**
 * Reads a file that somebody named: settings, keys, a secret, certificates. It never waits for a writer: a pipe, a
 * socket and a device are refused, because a file is read again at a reload and they would be empty then.
 *
 * @throws if it cannot be read, is no file or has more than 4 MiB: {@link whyNoFile} says it in words.
 */
export function readSmallFile(path: string): string {
  return readSmallBytes(path).toString('utf8');
}

/** {@link readSmallFile} for what is no text, with the same errors. */
export function readSmallBytes(path: string): Buffer {
  const fd = openSync(path, flags);
  try {
    checkFile(path, fstatSync(fd));
    return checked(readFileSync(fd));
  } finally {
    closeSync(fd);
  }
}

/** {@link readSmallFile} that does not stop the process meanwhile. Rejects with the same errors. */
export async function readSmallFileLater(path: string): Promise<string> {
  const file = await open(path, flags);
  try {
    checkFile(path, await file.stat());
    return checked(await file.readFile()).toString('utf8');
  } finally {
    await file.close();
  }
}

/** Says why a file could not be read, without its path: the system's code, or what stands there instead. */
export function whyNoFile(error: unknown): string {
  if (error instanceof NoSmallFile) return error.message;
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENXIO' ? 'a socket or a device' : (code ?? 'no code');
}

function checkFile(path: string, stats: Stats): void {
  if (stats.isDirectory()) throw new NoSmallFile('a folder');
  if (stats.isFIFO()) throw new NoSmallFile('a pipe');
  // The usual way to say that there is nothing.
  if (!stats.isFile() && path !== '/dev/null') throw new NoSmallFile('a socket or a device');
  checkLength(stats.size);
}

/** The file may have grown since it was looked at, and those of `/proc` have no size. */
function checked(bytes: Buffer): Buffer {
  checkLength(bytes.length);
  return bytes;
}

function checkLength(bytes: number): void {
  if (bytes > maxFileBytes) throw new NoSmallFile(`more than ${maxFileBytes / 1_048_576} MiB`);
}
