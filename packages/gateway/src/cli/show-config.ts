import { stringify, type ToStringOptions } from 'yaml';
import type { Advice } from '../config/advice.ts';
import type { ApiKey } from '../config/api-key.ts';
import { shownProviders, shownValue } from '../config/effective.ts';
import type { Settings } from '../config/load.ts';
import { configOptions } from '../config/schema.ts';
import { writeQuantity, writeValue } from '../config/units.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** What is in force, for programs. Numbers are in bytes and milliseconds. */
export function configAsJson(settings: Settings, advice: readonly Advice[], env: Environment): object {
  const { adminKeys, apiKeys, config, origins } = settings;
  const values = configOptions.map(({ key }) => [
    key,
    { value: shownValue(config, key) ?? null, from: origins.get(key) ?? 'default' },
  ]);
  return {
    settings: Object.fromEntries(values) as object,
    providers: shownProviders(settings, env),
    apiKeys: namesOf(apiKeys),
    adminKeys: namesOf(adminKeys),
    advice,
  };
}

/**
 * What is in force, as a configuration file. A comment behind each setting says where it was set. The file
 * means the same settings again, in the same environment.
 */
export function configAsYaml(settings: Settings, advice: readonly Advice[], env: Environment): string {
  const { adminKeys, apiKeys, config, keyStore, origins } = settings;
  const more = keyStore === undefined ? [] : [`those in ${keyStore.url}`];
  const lines = configOptions.flatMap(({ key, range }) => {
    const value = shownValue(config, key);
    if (value === undefined) return [`# ${key}: (not set)`];
    const written = typeof value === 'object' ? asWritten(value) : writeValue(value, range);
    // A number without a unit behind it stays one in YAML, and so does a boolean: `port: 8080`.
    const isBare = typeof value === 'boolean' || (typeof value === 'number' && /^\d+$/.test(String(written)));
    const text = stringify({ [key]: isBare ? value : written }, yamlOptions(written)).trimEnd();
    const [first = '', ...rest] = text.split('\n');
    return [`${first} # ${oneLine(origins.get(key) ?? 'default')}`, ...rest];
  });
  const providers = shownProviders(settings, env).map(
    ({ api, key, name, url }) => `#   ${name}   ${api}   ${url}   ${key}`,
  );
  const notes = advice.map(({ code, message }) => `# ${oneLine(message)} (${code})`);
  return [
    ...lines,
    '',
    ...(providers.length === 0
      ? ['# Providers: none, simulated models answer']
      : ['# Providers:', ...providers]),
    `# Keys of clients: ${[...namesOf(apiKeys), ...more].join(', ') || 'none'}`,
    `# Keys of the admin listener: ${namesOf(adminKeys).join(', ') || 'none'}`,
    ...notes,
    '',
  ].join('\n');
}

/** The names of keys, each once. */
function namesOf(keys: readonly ApiKey[]): string[] {
  return [...new Set(keys.map(({ name }) => name))];
}

/** A text with characters beyond ASCII is quoted: some of them are spaces or line ends to a reader of YAML. */
function yamlOptions(value: unknown): ToStringOptions {
  const isPlain = /^[\x20-\x7e]*$/.test(JSON.stringify(value));
  return { lineWidth: 0, defaultStringType: isPlain ? 'PLAIN' : 'QUOTE_DOUBLE' };
}

/** A list or an entry with its sizes and durations as users write them. A JSON Schema has none. */
function asWritten(value: unknown, key = ''): unknown {
  if (typeof value === 'number' && /(?:Bytes|Ms)$/.test(key))
    return writeQuantity(value, key.endsWith('Ms') ? 'ms' : 'bytes');
  if (typeof value !== 'object' || value === null || key === 'parameters') return value;
  if (Array.isArray(value)) return value.map((one) => asWritten(one));
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, one]) => (one === undefined ? [] : [[name, asWritten(one, name)]])),
  );
}

/** A text that ends no comment. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '?');
}
