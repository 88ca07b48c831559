import { isDeepStrictEqual } from 'node:util';
import type { Settings } from './load.ts';

/** What is different in one part of the settings, by the names of its entries. Nothing in it is secret. */
export interface Change {
  /** `adminKeys`, `apiKeys`, `limits`, `logLevel`, `models`, `pressure`, `providers`, `taps` or `voice`. */
  readonly part: string;
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

/** The parts that are different, in the order of their names. Certificates are not compared. */
export function changesBetween(before: Settings, after: Settings): Change[] {
  const parts = [
    { part: 'adminKeys', of: (settings: Settings) => namedKeys(settings.adminKeys) },
    { part: 'apiKeys', of: (settings: Settings) => namedKeys(settings.apiKeys) },
    { part: 'limits', of: limitParts },
    { part: 'logLevel', of: ({ config }: Settings) => new Map([[config.logLevel, undefined]]) },
    { part: 'models', of: ({ config }: Settings) => named(config.model, ({ name }) => name) },
    {
      part: 'pressure',
      of: ({ config }: Settings) =>
        new Map(config.pressure.map((rule, index): [string, unknown] => [`rule ${index + 1}`, rule])),
    },
    {
      part: 'providers',
      of: ({ providers }: Settings) => named(providers, ({ api, name }) => `${name} (${api})`),
    },
    { part: 'taps', of: ({ taps }: Settings) => named(taps, ({ name }) => name) },
    { part: 'voice', of: ({ voice }: Settings) => named(voice === undefined ? [] : [voice], () => 'calls') },
  ];
  return parts.flatMap(({ of, part }) => {
    const change = compared(of(before), of(after));
    return change.added.length + change.changed.length + change.removed.length === 0
      ? []
      : [{ part, ...change }];
  });
}

function compared(
  before: ReadonlyMap<string, unknown>,
  after: ReadonlyMap<string, unknown>,
): Omit<Change, 'part'> {
  const names = [...after.keys()];
  return {
    added: names.filter((name) => !before.has(name)),
    changed: names.filter(
      (name) => before.has(name) && !isDeepStrictEqual(before.get(name), after.get(name)),
    ),
    removed: [...before.keys()].filter((name) => !after.has(name)),
  };
}

function named<Entry>(entries: readonly Entry[], nameOf: (entry: Entry) => string): Map<string, Entry> {
  return new Map(entries.map((entry) => [nameOf(entry), entry]));
}

/** Several keys may have one name. */
function namedKeys(keys: Settings['apiKeys']): Map<string, Settings['apiKeys']> {
  const found = new Map<string, Settings['apiKeys'][number][]>();
  for (const key of keys) {
    const same = found.get(key.name);
    if (same === undefined) found.set(key.name, [key]);
    else same.push(key);
  }
  return found;
}

function limitParts({ config, limits }: Settings): Map<string, unknown> {
  const { currency, maxUsers, minAnswerTokens, sessionFrom, userFrom, whenLimitStoreFails } = config;
  const others = { currency, maxUsers, minAnswerTokens, sessionFrom, userFrom, whenLimitStoreFails };
  return new Map<string, unknown>([
    ...config.tenant.map((tenant): [string, unknown] => [`tenant ${tenant.name}`, tenant]),
    ...[...(limits?.keys ?? [])].map(([name, key]): [string, unknown] => [`key ${name}`, key]),
    ...named(config.price, ({ model, since = '' }) => `price ${model}${since && ` since ${since}`}`),
    ...Object.entries(others),
  ]);
}
