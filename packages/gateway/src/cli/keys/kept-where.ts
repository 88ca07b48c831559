import { type KeyStoreSettings, keyStoreSchema, readKeyStore } from '../../config/read-key-store.ts';
import { joinSources, readConfigFile } from '../../config/sources.ts';
import { openKeyFile } from '../../keys/key-file.ts';
import type { KeyStore } from '../../keys/key-store.ts';
import { openRedisKeyStore } from '../../keys/redis-key-store.ts';
import { exitCodes } from '../exit-codes.ts';
import { fail } from '../fail.ts';

/** What a command line says of where keys are. */
export interface StoreOptions {
  readonly config?: string;
  readonly file?: string;
  readonly store?: string;
  readonly storePasswordEnv?: string;
  readonly storePasswordFile?: string;
}

/** Where keys are kept. */
export interface KeptWhere {
  readonly store: KeyStore;
  /** Whether gateways look there by themselves. */
  readonly isWatched: boolean;
}

/**
 * What the command line names, or what the configuration names, of which nothing else is looked at: it may need what is not
 * here. Ends the process if that is nothing, or cannot be.
 *
 * @throws {ConfigError}
 */
export function keptWhere(options: StoreOptions): KeptWhere {
  const { config, file, store: url, storePasswordEnv, storePasswordFile } = options;
  if (file !== undefined && url !== undefined)
    fail(exitCodes.usage, '--store: expected --file or --store, got both');
  if (url === undefined && (storePasswordEnv ?? storePasswordFile) !== undefined)
    fail(exitCodes.usage, '--store: expected the URL that the password is for, got none');
  if (file !== undefined) return inFile(file);
  const { origins, values } = joinSources({ env: process.env, file: readConfigFile(config), flags: {} });
  if (url !== undefined) {
    const asked = {
      ...values,
      apiKeysStore: url,
      apiKeysStorePasswordEnv: storePasswordEnv,
      apiKeysStorePasswordFile: storePasswordFile,
    };
    return inStore(storeOf(asked, (setting) => (setting.startsWith('api') ? ' (--store)' : '')));
  }
  const store = storeOf(values, (setting) => {
    const origin = origins.get(setting);
    return origin === undefined ? '' : ` (${origin})`;
  });
  const configured = values['apiKeysFile'];
  const path = typeof configured === 'string' && configured !== '' ? configured : undefined;
  if (store !== undefined && path !== undefined)
    fail(
      exitCodes.usage,
      `expected --file ${path} or --store ${store.url}, because the configuration has both, got neither`,
    );
  return path === undefined ? inStore(store) : inFile(path);
}

function inFile(path: string): KeptWhere {
  return { store: openKeyFile(path), isWatched: false };
}

function inStore(settings: KeyStoreSettings | undefined): KeptWhere {
  if (settings === undefined)
    return fail(
      exitCodes.usage,
      '--file: expected the file of keys, or apiKeysFile in the configuration; or --store, or apiKeysStore there; got none of these',
    );
  return { store: openRedisKeyStore(settings), isWatched: true };
}

/** The store of a configuration, of which the other settings are not checked. */
function storeOf(
  values: Readonly<Record<string, unknown>>,
  from: (setting: string) => string,
): KeyStoreSettings | undefined {
  const known = Object.keys(keyStoreSchema.shape).map((setting) => [setting, values[setting]]);
  const read = keyStoreSchema.safeParse(Object.fromEntries(known));
  if (read.success) return readKeyStore(read.data, process.env, from);
  const [issue] = read.error.issues;
  const setting = String(issue?.path[0]);
  // A value may have a password.
  return fail(exitCodes.config, `${setting}${from(setting)}: ${issue?.message}, got something else`);
}
