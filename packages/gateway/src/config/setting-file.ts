import { closeSync, openSync, readSync } from 'node:fs';
import { ConfigError } from './config-error.ts';

/** The largest file that is read. The bundles of authorities that systems have are about 256 KiB. */
const maxFileBytes = 4_194_304;

/**
 * Reads a file that a setting names: the configuration, keys, a secret or certificates. All of them are read
 * here, whenever settings are loaded.
 *
 * @throws {NodeJS.ErrnoException} with the code `EFBIG` for a file of more than 4 MiB.
 */
export function readTextFile(path: string): string {
  const fd = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(maxFileBytes + 1);
    let length = 0;
    for (;;) {
      const read = readSync(fd, bytes, length, bytes.length - length, null);
      length += read;
      if (length > maxFileBytes) {
        throw Object.assign(new Error(`expected at most ${maxFileBytes} bytes`), { code: 'EFBIG' });
      }
      if (read === 0) return bytes.toString('utf8', 0, length);
    }
  } finally {
    closeSync(fd);
  }
}

/**
 * Reads the file of a setting. The error does not contain the path, because a secret may have been set as the
 * path by mistake.
 *
 * @throws {ConfigError} with the name of the setting and the system's code.
 */
export function readSettingFile(setting: string, path: string): string {
  try {
    return readTextFile(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new ConfigError(`${setting}: expected a file that can be read, got ${code ?? 'no code'}`);
  }
}
