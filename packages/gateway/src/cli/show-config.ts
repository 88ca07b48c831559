import { stringify, type ToStringOptions } from 'yaml';
import { apis } from '../api.ts';
import type { Advice } from '../config/advice.ts';
import type { ApiKey } from '../config/api-key.ts';
import type { Settings } from '../config/load.ts';
import { fileVariable } from '../config/provider.ts';
import { type Config, configOptions } from '../config/schema.ts';
import { writeQuantity, writeValue } from '../config/units.ts';
import { shownVariable } from '../config/values.ts';

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
    providers: providersIn(settings, env),
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
  const { adminKeys, apiKeys, config, origins } = settings;
  const lines = configOptions.flatMap(({ key, range }) => {
    const value = shownValue(config, key);
    if (value === undefined) return [`# ${key}: (not set)`];
    const written = Array.isArray(value) ? asWritten(value) : writeValue(value, range);
    // A number without a unit behind it stays one in YAML, and so does a boolean: `port: 8080`.
    const isBare = typeof value === 'boolean' || (typeof value === 'number' && /^\d+$/.test(String(written)));
    const text = stringify({ [key]: isBare ? value : written }, yamlOptions(written)).trimEnd();
    const [first = '', ...rest] = text.split('\n');
    return [`${first} # ${oneLine(origins.get(key) ?? 'default')}`, ...rest];
  });
  const providers = providersIn(settings, env).map(
    ({ api, key, name, url }) => `#   ${name}   ${api}   ${url}   ${key}`,
  );
  const notes = advice.map(({ code, message }) => `# ${oneLine(message)} (${code})`);
  return [
    ...lines,
    '',
    ...(providers.length === 0
      ? ['# Providers: none, simulated models answer']
      : ['# Providers:', ...providers]),
    `# Keys of clients: ${namesOf(apiKeys).join(', ') || 'none'}`,
    `# Keys of the admin listener: ${namesOf(adminKeys).join(', ') || 'none'}`,
    ...notes,
    '',
  ].join('\n');
}

/** A provider as it is shown, with the place of its key and not the key. */
interface ShownProvider {
  readonly name: string;
  readonly api: string;
  readonly url: string;
  readonly key: string;
}

function providersIn({ apiKeys, config, providers }: Settings, env: Environment): ShownProvider[] {
  return providers.map(({ api, name, url }, index) => {
    const { apiKeyEnv, apiKeyFile } = config.upstream[index] ?? defaultKeyOf(api, env);
    const own = apiKeys.length === 0 ? "the client's own key" : 'no key';
    const key =
      apiKeyEnv === undefined ? (apiKeyFile === undefined ? own : 'key in a file') : `key in ${apiKeyEnv}`;
    return { name, api, url, key };
  });
}

/** Where the key of a default provider is. */
function defaultKeyOf(
  api: keyof typeof apis,
  env: Environment,
): { readonly apiKeyEnv: string | undefined; readonly apiKeyFile?: undefined } {
  const variable = apis[api].byDefault?.keyVariable;
  if (variable === undefined) return { apiKeyEnv: undefined };
  return { apiKeyEnv: env[variable] ? variable : fileVariable(variable) };
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

/** A list with its durations as users write them. */
function asWritten(list: readonly unknown[]): unknown {
  return JSON.parse(
    JSON.stringify(list, (key, value: unknown) =>
      key.endsWith('Ms') && typeof value === 'number' ? writeQuantity(value, 'ms') : value,
    ),
  );
}

const secretParameter = /key|token|secret|sig|password|auth|code/i;

/** A setting's value without what is a secret, or may be one that was put into the wrong setting. */
function shownValue(config: Config, key: keyof Config): unknown {
  if (key === 'apiKeysEnv' || key === 'adminKeysEnv') return shownVariable(config[key]);
  if (key !== 'upstream') return config[key];
  // A query may have a secret. The variables of providers' keys are set, so that their names are names.
  return config.upstream.map((upstream) => ({ ...upstream, url: maskedUrl(upstream.url) }));
}

function maskedUrl(text: string): string {
  return text.replaceAll(/([?&])([^=&]*)=([^&]*)/g, (whole, mark: string, name: string) =>
    secretParameter.test(name) ? `${mark}${name}=***` : whole,
  );
}

/** A text that ends no comment. */
function oneLine(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, '?');
}
