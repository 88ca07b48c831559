import { isDeepStrictEqual } from 'node:util';
import { type ApiKey, apiKey, digest, digestName, isKeyName } from './api-key.ts';
import { ConfigError } from './config-error.ts';
import { keyNameWords, readKeyLine } from './key-line.ts';
import { scopeLimits } from './read-limits.ts';

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
 * with lines of the same or of `NAME sha256:DIGEST`, with limits and dates behind it. A key that is configured twice under the same name is
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
    else {
      const { digest: keyDigest, name, ...more } = key;
      found.push({ ...apiKey(keyDigest, name), ...more, isNamed: name !== undefined, where });
    }
  };
  const words = text.split(/[\s,]+/).filter((word) => word !== '');
  for (const [index, word] of words.entries()) {
    add(`${variable}, key ${index + 1} of ${words.length}`, readKeyWord(word));
  }
  for (const [index, line] of (file?.text.split('\n') ?? []).entries()) {
    if (/^\s*(?:#|$)/.test(line)) continue;
    for (const key of readLine(line.trim())) add(`${file?.name}, line ${index + 1}`, key);
  }
  return distinctOrThrow(found, problems);
}

/**
 * The keys of a configuration, and those of a text beside it: all together, as those of a file are.
 *
 * @throws {ConfigError} as {@link readApiKeys}, and for a text that does not fit beside the configuration.
 */
export function joinApiKeys(
  configured: readonly ApiKey[],
  file: { readonly name: string; readonly text: string },
): ApiKey[] {
  const more = readApiKeys({ variable: '', text: '', file });
  const found = (keys: readonly ApiKey[], where: string): Found[] =>
    keys.map((key) => ({ ...key, where, isNamed: key.name !== digestName(key.digest) }));
  return distinctOrThrow([...found(configured, 'the configuration'), ...found(more, file.name)], []);
}

function distinctOrThrow(found: readonly Found[], problems: string[]): ApiKey[] {
  const keys = distinct(found, problems);
  if (problems.length > 0) throw new ConfigError(problems.join('\n'));
  return keys;
}

type KeyOrProblem =
  | (Pick<ApiKey, 'digest' | 'expiresMs' | 'limits' | 'revokedMs'> & { readonly name: string | undefined })
  | { readonly problem: string };

/**
 * Reads one word of the environment variable. Ambiguous words are refused, with one exception: `NAME=KEY` is
 * a key with a name, although a key could look like that itself. After a text that is no name, "=" at the end
 * is a key's padding. After a name it is refused: the variable that should hold the key may be empty, and
 * then the name alone would open the gateway.
 */
export function readKeyWord(word: string): KeyOrProblem {
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
    problem: `expected KEY or NAME=KEY with a name ${keyNameWords}, got "=" behind something else; a key with "=" inside needs a name`,
  };
}

/**
 * Reads one line of the file: `NAME sha256:DIGEST`, or keys as in the variable with commas between them. A
 * space separates only a name from its digest. Otherwise a digest that is misspelt would be a key, and the
 * name before it another one, which anybody can guess.
 */
function readLine(line: string): KeyOrProblem[] {
  if (!/\s/.test(line) && !/sha256:/i.test(line)) {
    return line
      .split(',')
      .filter((word) => word !== '')
      .map(readKeyWord);
  }
  const key = readKeyLine(line);
  if ('problem' in key) return [key];
  const { digest: keyDigest, expiresMs, limits, name, revokedMs } = key;
  const hasLimits = Object.keys(limits).length > 0;
  return [
    { digest: keyDigest, name, expiresMs, revokedMs, limits: hasLimits ? scopeLimits(limits) : undefined },
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
      byDigest.set(hex, {
        ...same,
        limits: same.limits ?? key.limits,
        expiresMs: earlier(same.expiresMs, key.expiresMs),
        revokedMs: earlier(same.revokedMs, key.revokedMs),
      });
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
  shareLimits([...byDigest.values()], problems);
  return [...byDigest.values()].map(({ isNamed: _isNamed, where: _where, ...key }) => key);
}

/** Keys of one name belong to one caller, and so do their limits. */
function shareLimits(found: readonly Found[], problems: string[]): void {
  const limited = new Map<string, Found>();
  for (const key of found) {
    if (key.limits === undefined || key.revokedMs !== undefined) continue;
    const other = limited.get(key.name);
    if (other === undefined) limited.set(key.name, key);
    else if (!isDeepStrictEqual(other.limits, key.limits)) {
      problems.push(
        `${key.where}: expected the limits of ${other.where}, whose name it has, or none, got others`,
      );
    }
  }
}

/** A key that is revoked in one place is revoked, whatever another place says. */
function earlier(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.min(one, other);
}
