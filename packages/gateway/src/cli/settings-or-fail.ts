import { ConfigError } from '../config/config-error.ts';
import { exitCodes } from './exit-codes.ts';
import { fail } from './fail.ts';
import { settingsFrom } from './settings.ts';

/** Reads the settings, or ends the process with what is wrong. */
export function settingsOrFail(
  flags: Readonly<Record<string, unknown>>,
  tell?: (message: string) => void,
): ReturnType<typeof settingsFrom> {
  try {
    return settingsFrom(flags);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    if (tell === undefined) fail(exitCodes.config, error.message);
    tell(error.message);
    return process.exit(exitCodes.config);
  }
}
