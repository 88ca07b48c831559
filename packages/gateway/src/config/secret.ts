import { ConfigError } from './config-error.ts';
import { readSettingFile } from './setting-file.ts';
import { shownVariable } from './values.ts';

/** Where a secret is. */
export interface SecretSource {
  /** Whose secret it is, for messages: `upstream groq`. */
  readonly owner: string;
  readonly kind: 'key' | 'password' | 'token' | 'word';
  /** The name of the environment variable, and of the setting that names it. */
  readonly variable: string | undefined;
  readonly variableSetting: string;
  /** The path of the file, and the name of the setting that names it. */
  readonly path: string | undefined;
  readonly fileSetting: string;
}

const kinds = {
  key: 'the key',
  password: 'USER:PASSWORD',
  token: 'the auth token',
  word: 'the password',
} as const;

function hasControls(secret: string): boolean {
  return /\p{Cc}/u.test(secret);
}

/** A key is sent in a header: one line of ASCII, and a header's value has no space at either end. */
const headerValue = /^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/;
/** A user and a password are sent as Base64: any characters, but no line ends. */
const userAndPassword = /^[^:\p{Cc}]*:\P{Cc}*$/u;

/**
 * Reads a secret from a variable or a file; `undefined`: neither is named. Line ends at its end are left out,
 * because editors and `echo` add one.
 *
 * @throws {ConfigError} for a secret that is empty or has another form. The message contains nothing of it.
 */
export function readSecret(
  { fileSetting, kind, owner, path, variable, variableSetting }: SecretSource,
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  if (variable === undefined && path === undefined) return undefined;
  const where =
    path === undefined
      ? `the environment variable ${shownVariable(variable ?? '')} (${variableSetting})`
      : `the file of ${fileSetting}`;
  const what = kinds[kind];
  const text = path === undefined ? env[variable ?? ''] : readSettingFile(`${owner}: ${fileSetting}`, path);
  const secret = text?.replace(/[\r\n]+$/, '') ?? '';
  if (secret === '') throw new ConfigError(`${owner}: expected ${what} in ${where}, got nothing`);
  if ((kind === 'key' || kind === 'token') && !headerValue.test(secret)) {
    const form = 'as one line of ASCII without spaces around it';
    throw new ConfigError(`${owner}: expected ${what} in ${where} ${form}, got something else`);
  }
  const isOther =
    kind === 'password' ? !userAndPassword.test(secret) : kind === 'word' && hasControls(secret);
  if (isOther) {
    throw new ConfigError(`${owner}: expected ${what} in ${where}, got something else`);
  }
  return secret;
}

/**
 * The key of an owner whose settings are called `apiKeyEnv` and `apiKeyFile`, as {@link readSecret} reads it.
 *
 * @throws {ConfigError}
 */
export function readApiKey(
  owner: string,
  {
    apiKeyEnv,
    apiKeyFile,
  }: { readonly apiKeyEnv?: string | undefined; readonly apiKeyFile?: string | undefined },
  env: Readonly<Record<string, string | undefined>>,
): string | undefined {
  return readSecret(
    {
      owner,
      kind: 'key',
      variable: apiKeyEnv,
      variableSetting: 'apiKeyEnv',
      path: apiKeyFile,
      fileSetting: 'apiKeyFile',
    },
    env,
  );
}
