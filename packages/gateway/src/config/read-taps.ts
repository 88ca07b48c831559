import { readSecret } from './secret.ts';
import type { ConfigSources } from './sources.ts';
import type { ConfiguredTap, TapSettings } from './tap.ts';

/**
 * Reads the passwords that taps name.
 *
 * @throws {ConfigError} for one that is not there.
 */
export function readTaps(taps: readonly TapSettings[], env: ConfigSources['env']): ConfiguredTap[] {
  return taps.map((tap) => {
    const password = readSecret(
      {
        owner: `tap ${tap.name}`,
        kind: 'word',
        variable: tap.passwordEnv,
        variableSetting: 'passwordEnv',
        path: tap.passwordFile,
        fileSetting: 'passwordFile',
      },
      env,
    );
    return { ...tap, password };
  });
}
