import { digest, isKeyName, isTenantName } from '../../config/api-key.ts';
import { ConfigError } from '../../config/config-error.ts';
import { readDate, readKeyLine } from '../../config/key-line.ts';
import { scopeShape, type WrittenLimits } from '../../config/limit-values.ts';
import { joinSources, readConfigFile } from '../../config/sources.ts';
import type { StoredKey } from '../../keys/key-store.ts';
import { newKey } from '../../keys/new-key.ts';
import { KeyStoreAway, UnknownChange } from '../../keys/redis-key-store.ts';
import { exitCodes } from '../exit-codes.ts';
import { fail } from '../fail.ts';
import { readDuration } from '../audit/time-option.ts';
import { askReload, type ReloadOptions } from '../reload/ask-reload.ts';
import { type KeptWhere, keptWhere, type StoreOptions } from './kept-where.ts';
import { idOf, keysAsJson, keysAsText } from './key-list.ts';

export interface KeysOptions extends StoreOptions, Partial<ReloadOptions> {
  readonly reload?: boolean;
}

/** Limits as they stand on the command line, by the names of their settings. */
type LimitOptions = Partial<Record<keyof WrittenLimits, string>>;

export interface CreateOptions extends KeysOptions, LimitOptions {
  readonly tenant: string;
  readonly name?: string;
  readonly expires?: string;
}

export interface ListOptions extends KeysOptions {
  readonly tenant?: string;
  readonly json?: boolean;
}

export interface ChangeOptions extends KeysOptions, LimitOptions {
  readonly expires?: string;
}

/** `spillway keys create`. Standard output gets the key and nothing else: `KEY=$(spillway keys create …)`. */
export async function createCommand(options: CreateOptions): Promise<void> {
  const { name: part, tenant } = options;
  if (!isTenantName(tenant)) badName('--tenant', tenant);
  if (part !== undefined && !isTenantName(part)) badName('--name', part);
  const name = part === undefined ? tenant : `${tenant}/${part}`;
  const limits = limitsIn(options);
  const expiresMs = options.expires === undefined ? undefined : timeIn('--expires', options.expires);
  if (expiresMs !== undefined && expiresMs <= now())
    fail(
      exitCodes.usage,
      `--expires: expected a time to come, got ${JSON.stringify(options.expires)}: nobody could use the key`,
    );
  const key = newKey();
  const kept = keptWhere(options);
  const stored = { name, digest: digest(key), limits, createdMs: now(), expiresMs };
  const change = (keys: readonly StoredKey[]): readonly StoredKey[] => {
    const others = keys.filter((other) => other.name === name && other.revokedMs === undefined);
    const hasOther = others.some((other) => !isEmpty(other.limits) && !areEqual(other.limits, limits));
    if (!isEmpty(limits) && hasOther) {
      throw new ConfigError(
        `--name: expected another name, or the limits of the keys of ${name}, which are one caller, got others; "spillway keys change ${name}" changes them`,
      );
    }
    return [stored];
  };
  await orFail(() =>
    kept.store.update(change).catch((error: unknown) => {
      if (!(error instanceof UnknownChange)) throw error;
      const advice = `The key is not shown, and nobody has it: if "spillway keys list" has ${idOf(stored)}, now or later, revoke it with "spillway keys revoke ${idOf(stored)}"`;
      throw new UnknownChange(`${error.message} ${advice}`, { cause: error });
    }),
  );
  process.stdout.write(`${key}\n`);
  say(`This is the key of ${name}, shown this once. Only its hash is kept: ${idOf(stored)}.`);
  warnOfStarved(name, limits, options);
  await tellGateway(options, kept);
}

/** `spillway keys list`. */
export async function listCommand(options: ListOptions): Promise<void> {
  const all = await orFail(() => keptWhere(options).store.list());
  const { json, tenant } = options;
  const keys = all.filter(({ name }) => tenant === undefined || name.split('/')[0] === tenant);
  process.stdout.once('error', () => undefined);
  process.stdout.write(json === true ? keysAsJson(keys, Date.now()) : keysAsText(keys, Date.now()));
}

/** `spillway keys change`. */
export async function changeCommand(which: string, options: ChangeOptions): Promise<void> {
  const { expires } = options;
  const expiresMs = expires === undefined || expires === 'none' ? undefined : timeIn('--expires', expires);
  const removed = limitKeys.filter((key) => options[key] === 'none');
  const set = limitsIn(
    Object.fromEntries(limitKeys.flatMap((key) => (options[key] === 'none' ? [] : [[key, options[key]]]))),
  );
  const isLimited = removed.length > 0 || !isEmpty(set);
  if (!isLimited && expires === undefined)
    fail(
      exitCodes.usage,
      'expected what to change, as --tokens-per-day 200000 or --expires 30d, got nothing',
    );
  await changeKeys(
    which,
    options,
    'changed',
    (key, keys) => {
      const before = Object.entries(keys.find(({ limits }) => !isEmpty(limits))?.limits ?? {});
      const kept = Object.fromEntries(before.filter(([name]) => !(removed as string[]).includes(name)));
      return {
        ...key,
        limits: isLimited ? { ...kept, ...set } : key.limits,
        expiresMs: expires === undefined ? key.expiresMs : expiresMs,
      };
    },
    isLimited,
  );
}

/** `spillway keys expire`. */
export async function expireCommand(
  which: string,
  options: KeysOptions & { readonly at?: string },
): Promise<void> {
  const expiresMs = options.at === undefined ? now() : timeIn('--at', options.at);
  await changeKeys(which, options, 'changed', (key) => ({ ...key, expiresMs }));
}

/** `spillway keys revoke`. */
export async function revokeCommand(which: string, options: KeysOptions): Promise<void> {
  const revokedMs = now();
  await changeKeys(which, options, 'revoked', (key) => ({ ...key, revokedMs }));
}

/**
 * Changes the keys that are meant and not revoked. `ofName`: with one key, all of its name are meant, because they share
 * what is changed.
 */
async function changeKeys(
  which: string,
  options: KeysOptions,
  done: string,
  change: (key: StoredKey, ofSameName: readonly StoredKey[]) => StoredKey,
  ofName = false,
): Promise<void> {
  if (!isKeyName(which) && !idPattern.test(which)) {
    fail(
      exitCodes.usage,
      `expected the name of a key, as clinic/front, or sha256: with 8 or more digits of its hash, got something else; a key itself is not needed`,
    );
  }
  let changed: readonly StoredKey[] = [];
  const kept = keptWhere(options);
  const changeAll = (keys: readonly StoredKey[]): readonly StoredKey[] => {
    const alive = keys.filter(({ revokedMs }) => revokedMs === undefined);
    const meant = alive.filter((key) => key.name === which || idStarts(key, which));
    const names = new Set(meant.map(({ name }) => name));
    if (meant.length === 0) throw new NoSuchKey(which);
    if (names.size > 1) throw new ConfigError(`${which}: expected more digits, got those of several keys`);
    const ofSame = alive.filter(({ name }) => names.has(name));
    changed = (ofName ? ofSame : meant).map((key) => change(key, ofSame));
    return changed;
  };
  await orFail(() => kept.store.update(changeAll));
  for (const key of changed) say(`${key.name} (${idOf(key)}) is ${done}.`);
  const [{ limits, name } = { limits: {}, name: '' }] = changed;
  if (ofName) warnOfStarved(name, limits, options);
  await tellGateway(options, kept);
}

const idPattern = /^sha256:[\da-f]{8,64}$/i;

function idStarts({ digest: keyDigest }: StoredKey, which: string): boolean {
  return idPattern.test(which) && `sha256:${keyDigest.toString('hex')}`.startsWith(which.toLowerCase());
}

class NoSuchKey extends Error {
  constructor(which: string) {
    super(`there is no key ${which} that is not revoked: "spillway keys list" has them`);
  }
}

const limitKeys = Object.keys(scopeShape) as (keyof WrittenLimits)[];

/** The limits of a command line, checked as those of a file. */
function limitsIn(options: LimitOptions): WrittenLimits {
  const given = limitKeys.flatMap((key) => {
    const value = options[key];
    return value === undefined ? [] : [{ key, value }];
  });
  for (const { key, value } of given) {
    const result = scopeShape[key].safeParse(value);
    if (result.success) continue;
    const flag = `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    fail(exitCodes.usage, `${flag}: ${result.error.issues[0]?.message}, got ${JSON.stringify(value)}`);
  }
  const words = given.map(
    ({ key, value }) => `${key}=${value.replaceAll(/ ?\/ ?/g, '/').replaceAll(' ', '+')}`,
  );
  const line = readKeyLine(['a', `sha256:${'0'.repeat(64)}`, ...words].join(' '));
  if ('problem' in line) fail(exitCodes.usage, line.problem);
  return line.limits;
}

/** Says so where no request can start: such limits are valid, and rarely meant. */
function warnOfStarved(
  name: string,
  { tokensPerDay, tokensPerMinute, tokensPerMonth }: WrittenLimits,
  options: KeysOptions,
): void {
  const tokens = Math.min(tokensPerDay ?? Infinity, tokensPerMinute ?? Infinity, tokensPerMonth ?? Infinity);
  const least = leastTokens(options);
  if (tokens < least)
    say(`No request of ${name} will start: ${tokens} tokens are less than minAnswerTokens (${least}).`);
}

/** What `minAnswerTokens` is in the configuration, if there is one and it can be read. */
function leastTokens({ config }: KeysOptions): number {
  try {
    const { values } = joinSources({ env: process.env, file: readConfigFile(config), flags: {} });
    const least = Number(values['minAnswerTokens']);
    return Number.isSafeInteger(least) && least > 0 ? least : defaultLeastTokens;
  } catch {
    // The gateway says what is wrong with it. The key is in its own file.
    return defaultLeastTokens;
  }
}

const defaultLeastTokens = 256;

/** A time, or a duration from now on. */
function timeIn(flag: string, text: string): number {
  const duration = /^\d+[a-z]+$/.test(text) ? readDuration(text) : undefined;
  const timeMs = duration === undefined ? readDate(text) : now() + duration;
  if (timeMs !== undefined) return timeMs;
  return fail(
    exitCodes.usage,
    `${flag}: expected a day such as 2026-12-31, a time such as 2026-12-31T12:00:00Z, or a duration such as 12h or 30d, got ${JSON.stringify(text)}`,
  );
}

/** In whole seconds, as it is written. */
function now(): number {
  return Math.floor(Date.now() / 1000) * 1000;
}

function isEmpty(limits: WrittenLimits): boolean {
  return Object.values(limits).every((value) => value === undefined);
}

function areEqual(one: WrittenLimits, other: WrittenLimits): boolean {
  return limitKeys.every((key) => one[key] === other[key]);
}

function badName(flag: string, name: string): never {
  fail(
    exitCodes.usage,
    `${flag}: expected lower-case letters, digits, ".", "_" and "-" that begin with a letter or digit, 64 at most, got ${JSON.stringify(name)}`,
  );
}

async function orFail<Result>(work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof NoSuchKey) return fail(exitCodes.notFound, error.message);
    if (error instanceof KeyStoreAway) return fail(exitCodes.tryLater, error.message);
    if (error instanceof ConfigError) return fail(exitCodes.config, error.message);
    throw error;
  }
}

async function tellGateway({ keyEnv, reload, url }: KeysOptions, { isWatched }: KeptWhere): Promise<void> {
  if (isWatched) say('Running gateways with this store learn of it within seconds.');
  if (reload === true) await askReload({ keyEnv, url }, (text) => void process.stderr.write(text));
  else if (!isWatched)
    say(
      'A running gateway learns of it when it loads its configuration again: "spillway reload", or SIGHUP.',
    );
}

/** Words for people. Standard output is for results. */
function say(sentence: string): void {
  process.stderr.write(`${sentence}\n`);
}
