import { type ApiKey, apiKey, digest, isKeyName } from './api-key.ts';
import { ConfigError } from './config-error.ts';

/** The sources of API keys. */
export interface ApiKeySources {
  /** The name of the environment variable; `text` is its value. */
  readonly variable: string;
  readonly text: string;
  /** The text of the file of keys, if there is one, and the name of its setting for messages. */
  readonly file?: { readonly name: string; readonly text: string } | undefined;
}

/** A key, and its place in the configuration for messages. */
interface Found extends ApiKey {
  readonly where: string;
  readonly isNamed: boolean;
}

/**
 * Reads the keys of an environment variable, `KEY` or `NAME=KEY` separated by commas or spaces, and of a file
 * with lines of the same or of `NAME sha256:DIGEST`. A key that is configured twice under the same name is
 * returned once.
 *
 * @throws {ConfigError} one line a problem, with the number of the key or line. No text of the configuration
 *   is printed, not even a name: it could be a part of a key.
 */
export function readApiKeys({ file, text, variable }: ApiKeySources): ApiKey[] {
  const found: Found[] = [];
  const problems: string[] = [];
  const add = (where: string, key: KeyOrProblem): void => {
    if ('problem' in key) problems.push(`${where}: ${key.problem}`);
    else found.push({ ...apiKey(key.digest, key.name), isNamed: key.name !== undefined, where });
  };
  const words = text.split(/[\s,]+/).filter((word) => word !== '');
  for (const [index, word] of words.entries()) {
    add(`${variable}, key ${index + 1} of ${words.length}`, readWord(word));
  }
  for (const [index, line] of (file?.text.split('\n') ?? []).entries()) {
    if (/^\s*(?:#|$)/.test(line)) continue;
    for (const key of readLine(line.trim())) add(`${file?.name}, line ${index + 1}`, key);
  }
  const keys = distinct(found, problems);
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
  return keys;
}

type KeyOrProblem =
  | { readonly digest: Buffer; readonly name: string | undefined }
  | { readonly problem: string };

const nameWords =
  'of lower-case letters, digits, ".", "_" and "-" that begins with a letter or digit, 64 at most (or TENANT/NAME)';

/**
 * Reads one word of the environment variable. Ambiguous words are refused, with one exception: `NAME=KEY` is
 * a key with a name, although a key could look like that itself. After a text that is no name, "=" at the end
 * is a key's padding. After a name it is refused: the variable that should hold the key may be empty, and
 * then the name alone would open the gateway.
 */
function readWord(word: string): KeyOrProblem {
  const at = word.indexOf('=');
  if (at === -1) return { digest: digest(word), name: undefined };
  const [name, key] = [word.slice(0, at), word.slice(at + 1)];
  if (isKeyName(name)) {
    if (key !== '' && !key.startsWith('=')) return { digest: digest(key), name };
    return {
      problem: 'expected NAME=KEY, got a name and no key, or a key that ends with "=" and needs a name',
    };
  }
  if (name !== '' && /^=*$/.test(key)) return { digest: digest(word), name: undefined };
  return {
    problem: `expected KEY or NAME=KEY with a name ${nameWords}, got "=" behind something else; a key with "=" inside needs a name`,
  };
}

/**
 * Reads one line of the file: `NAME sha256:DIGEST`, or keys as in the variable with commas between them. A
 * space separates only a name from its digest. Otherwise a digest that is misspelt would be a key, and the
 * name before it another one, which anybody can guess.
 */
function readLine(line: string): KeyOrProblem[] {
  const [name = '', hex, ...rest] = line.split(/\s+/);
  if (hex === undefined && !/sha256:/i.test(name)) {
    return name
      .split(',')
      .filter((word) => word !== '')
      .map(readWord);
  }
  const [, digits] = /^sha256:([\da-f]{64})$/i.exec(hex ?? '') ?? [];
  if (isKeyName(name) && digits !== undefined && rest.length === 0) {
    return [{ digest: Buffer.from(digits, 'hex'), name }];
  }
  return [
    {
      problem: `expected KEY, NAME=KEY or "NAME sha256:DIGEST" with a name ${nameWords} and 64 hexadecimal digits, got something else`,
    },
  ];
}

/**
 * Returns each key once. A key under two names is a problem, and so are two keys without a name whose digests
 * begin alike: each caller needs one name of its own.
 */
function distinct(found: readonly Found[], problems: string[]): ApiKey[] {
  const byDigest = new Map<string, Found>();
  const unnamed = new Map<string, Found>();
  for (const key of found) {
    const hex = key.digest.toString('hex');
    const same = byDigest.get(hex);
    if (same !== undefined) {
      if (same.name !== key.name) {
        problems.push(`${key.where}: expected another key, got that of ${same.where} under another name`);
      }
      continue;
    }
    byDigest.set(hex, key);
    if (key.isNamed) continue;
    const alike = unnamed.get(key.name);
    if (alike === undefined) unnamed.set(key.name, key);
    else {
      problems.push(
        `${key.where}: expected a name, because its digest begins as that of ${alike.where}, got none`,
      );
    }
  }
  return [...byDigest.values()].map(({ digest: keyDigest, name, tenant }) => ({
    name,
    tenant,
    digest: keyDigest,
  }));
}
