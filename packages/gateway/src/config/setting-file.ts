import { readSmallBytes, whyNoFile } from '../process/small-file.ts';
import { ConfigError } from './config-error.ts';

/**
 * Reads the file of a setting. The error does not contain the path, because a secret may have been set as the
 * path by mistake.
 *
 * @throws {ConfigError} with the name of the setting, and the system's code or what stands there instead.
 */
export function readSettingFile(setting: string, path: string): string {
  return readSettingBytes(setting, path).toString('utf8');
}

/** {@link readSettingFile} for what is no text. */
export function readSettingBytes(setting: string, path: string): Buffer {
  try {
    return readSmallBytes(path);
  } catch (error) {
    throw new ConfigError(`${setting}: expected a file that can be read, got ${whyNoFile(error)}`);
  }
}
