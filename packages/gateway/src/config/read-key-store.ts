import type { z } from 'zod';
import { ConfigError } from './config-error.ts';
import { configSchema } from './schema.ts';
import { readSecret } from './secret.ts';
import type { ConfigSources } from './sources.ts';

/** The store of clients' keys. */
export interface KeyStoreSettings {
  /** The URL of a Redis, without a password. */
  readonly url: string;
  readonly password: string | undefined;
}

/** The settings that say where the store is. */
export const keyStoreSchema = configSchema.pick({
  apiKeysStore: true,
  apiKeysStorePasswordEnv: true,
  apiKeysStorePasswordFile: true,
  limitStore: true,
  limitStorePasswordEnv: true,
  limitStorePasswordFile: true,
});

type KeyStoreConfig = z.infer<typeof keyStoreSchema>;

/**
 * What the settings say of the store of clients' keys; `undefined`: there is none.
 *
 * @param from says where a setting was set, for messages: in parentheses, or nothing.
 * @throws {ConfigError} for settings that do not fit together, and for a password that is named and not there.
 */
export function readKeyStore(
  config: KeyStoreConfig,
  env: ConfigSources['env'],
  from: (setting: keyof KeyStoreConfig) => string,
): KeyStoreSettings | undefined {
  const { apiKeysStore, apiKeysStorePasswordEnv, apiKeysStorePasswordFile, limitStore } = config;
  if (apiKeysStorePasswordEnv !== undefined && apiKeysStorePasswordFile !== undefined) {
    throw new ConfigError(
      `apiKeysStorePasswordFile${from('apiKeysStorePasswordFile')}: expected apiKeysStorePasswordEnv or apiKeysStorePasswordFile, got both`,
    );
  }
  const isSame = apiKeysStore === 'limitStore';
  const setting =
    apiKeysStorePasswordEnv === undefined ? 'apiKeysStorePasswordFile' : 'apiKeysStorePasswordEnv';
  if (config[setting] !== undefined && (apiKeysStore === undefined || isSame)) {
    const came = isSame ? 'the word limitStore, whose password it has' : 'none';
    throw new ConfigError(
      `${setting}${from(setting)}: expected the URL of a Redis in apiKeysStore beside it, got ${came}`,
    );
  }
  if (apiKeysStore === undefined) return undefined;
  if (isSame && limitStore?.startsWith('redis') !== true) {
    throw new ConfigError(
      `apiKeysStore${from('apiKeysStore')}: expected the URL of a Redis in limitStore, which it names, got ${limitStore === undefined ? 'none' : 'a file'}`,
    );
  }
  const owner = isSame ? 'limitStore' : 'apiKeysStore';
  const password = readSecret(
    {
      owner,
      kind: 'word',
      variable: config[`${owner}PasswordEnv`],
      variableSetting: `${owner}PasswordEnv`,
      path: config[`${owner}PasswordFile`],
      fileSetting: `${owner}PasswordFile`,
    },
    env,
  );
  return { url: isSame ? (limitStore ?? '') : apiKeysStore, password };
}
