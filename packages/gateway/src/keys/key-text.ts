import { apiKey } from '../config/api-key.ts';
import { ConfigError } from '../config/config-error.ts';
import { readKeyLine, writeKeyLine } from '../config/key-line.ts';
import { readApiKeys, readKeyWord } from '../config/read-api-keys.ts';
import type { StoredKey } from './key-store.ts';

/** As much as is read of a text of keys. */
export const maxKeyTextBytes = 4_194_304;

/** A line of the text, and the keys in it. */
interface Line {
  readonly text: string;
  readonly keys: readonly StoredKey[];
}

/**
 * The keys of a text as `apiKeysFile` has it, in the order of their lines.
 *
 * @param where names the text in errors.
 * @throws {ConfigError} for a text that a gateway would refuse.
 */
export function keysInText(where: string, text: string): StoredKey[] {
  return linesOf(where, text).flatMap(({ keys }) => keys);
}

/**
 * The text after a change, as `KeyStore.update` has it; `undefined`: nothing is to be changed. Comments, the order of the lines
 * and lines that nobody changes stay as they are. A key that stands there itself becomes a digest when it is changed.
 *
 * @throws {ConfigError} for a text that a gateway would refuse, before or after the change: nobody changes what is not
 *   understood; and for one of more than {@link maxKeyTextBytes}.
 */
export function changedText(
  where: string,
  text: string,
  change: (keys: readonly StoredKey[]) => readonly StoredKey[],
): string | undefined {
  const lines = linesOf(where, text);
  const changed = change(lines.flatMap(({ keys }) => keys));
  if (changed.length === 0) return undefined;
  const next = textWith(lines, changed);
  check(where, next);
  if (Buffer.byteLength(next) > maxKeyTextBytes) {
    throw new ConfigError(
      `${where}: expected at most ${maxKeyTextBytes / 1_048_576} MiB of keys, got no room for more keys`,
    );
  }
  return next;
}

function linesOf(where: string, text: string): Line[] {
  check(where, text);
  const lines = text.split('\n');
  // What stands behind the last line end is a line only if it is not empty.
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line) => ({ text: line, keys: keysIn(line) }));
}

function check(where: string, text: string): void {
  readApiKeys({ variable: '', text: '', file: { name: where, text } });
}

/** The keys of a line that has been checked. */
function keysIn(line: string): StoredKey[] {
  if (/^\s*(?:#|$)/.test(line)) return [];
  const key = readKeyLine(line);
  if (!('problem' in key)) return [key];
  return wordsIn(line).flatMap((word) => {
    const found = readKeyWord(word);
    return 'problem' in found ? [] : [{ ...apiKey(found.digest, found.name), limits: {} }];
  });
}

function wordsIn(line: string): string[] {
  return line
    .trim()
    .split(',')
    .filter((word) => word !== '');
}

function textWith(lines: readonly Line[], changed: readonly StoredKey[]): string {
  const byDigest = new Map(changed.map((key) => [key.digest.toString('hex'), key]));
  const written: string[] = [];
  for (const { keys, text } of lines) {
    const isChanged = keys.map(({ digest }) => byDigest.has(digest.toString('hex')));
    if (!isChanged.includes(true)) {
      written.push(text);
      continue;
    }
    const stay = wordsIn(text).filter((_word, index) => isChanged[index] === false);
    if (stay.length > 0) written.push(stay.join(','));
    for (const { digest } of keys) {
      const key = byDigest.get(digest.toString('hex'));
      if (key !== undefined) written.push(writeKeyLine(key));
    }
  }
  const known = new Set(lines.flatMap(({ keys }) => keys.map(({ digest }) => digest.toString('hex'))));
  for (const [digest, key] of byDigest) if (!known.has(digest)) written.push(writeKeyLine(key));
  return `${written.join('\n')}\n`;
}
