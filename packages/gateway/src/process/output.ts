import { constants, fstatSync, openSync, write } from 'node:fs';

/**
 * Writes bytes without waiting for their reader. `done` is called once, later, with the number of bytes
 * written and the error that stopped the rest. It is never called if the reader takes nothing.
 */
export type Output = (
  bytes: Buffer,
  done: (error: NodeJS.ErrnoException | null | undefined, writtenBytes: number) => void,
) => void;

/**
 * Opens standard output (1) or standard error (2), of any kind. Writes to a pipe, a socket or a stopped
 * terminal do not block. Writes to a file run in a thread of Node's pool: a disk that hangs stops only that
 * thread.
 */
export function openOutput(fd: 1 | 2): Output {
  const kind = fstatSync(fd);
  if (kind.isFIFO() || kind.isSocket()) {
    const stream = fd === 1 ? process.stdout : process.stderr;
    // `done` gets the error of a closed pipe.
    stream.on('error', () => undefined);
    return (bytes, done) => void stream.write(bytes, (error) => done(error, error ? 0 : bytes.length));
  }
  const target = kind.isCharacterDevice() ? withoutBlocking(fd) : fd;
  return (bytes, done) => write(target, bytes, 0, bytes.length, null, done);
}

/**
 * Opens a second descriptor of the same device, whose writes do not block. Returns `fd` itself where the
 * system has none.
 */
function withoutBlocking(fd: number): number {
  if (process.platform !== 'linux') return fd;
  try {
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return fd;
  }
}
