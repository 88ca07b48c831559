import { constants, fstatSync, openSync, write } from 'node:fs';

/**
 * Writes bytes without waiting for whoever reads them. `done` is called once, later, with how many were written, and with the
 * error that stopped the rest; never when a reader takes nothing.
 */
export type Output = (
  bytes: Buffer,
  done: (error: NodeJS.ErrnoException | null | undefined, writtenBytes: number) => void,
) => void;

/**
 * Opens standard output (1) or standard error (2), whatever it is. A pipe or a socket is written to without blocking, and a
 * terminal that is stopped, too. A file is written to by a thread of Node's pool, where a disk that hangs stops only that thread.
 */
export function openOutput(fd: 1 | 2): Output {
  const kind = fstatSync(fd);
  if (kind.isFIFO() || kind.isSocket()) {
    const stream = fd === 1 ? process.stdout : process.stderr;
    // A reader that is gone is told to `done`.
    stream.on('error', () => undefined);
    return (bytes, done) => void stream.write(bytes, (error) => done(error, error ? 0 : bytes.length));
  }
  const target = kind.isCharacterDevice() ? withoutBlocking(fd) : fd;
  return (bytes, done) => write(target, bytes, 0, bytes.length, null, done);
}

/** A descriptor of the same device whose writes do not block. Where the system has none, the device's own. */
function withoutBlocking(fd: number): number {
  if (process.platform !== 'linux') return fd;
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return fd;
  }
}
