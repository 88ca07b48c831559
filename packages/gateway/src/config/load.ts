import { nearest } from '@spillway/core/nearest';
import type { ApiKey } from './api-key.ts';
import { ConfigError } from './config-error.ts';
import { entryName } from './entries.ts';
import { modelOptions } from './model.ts';
import { pressureOptions } from './pressure-rule.ts';
import { checkPressure } from './pressure-targets.ts';
import { priceOptions } from './price.ts';
import { readLimits, readStorePassword } from './read-limits.ts';
import type { LimitSettings } from './limits.ts';
import { lineOf } from './line-of.ts';
import { isLoopback } from './loopback.ts';
import { type Provider, providersOf } from './provider.ts';
import { readApiKeys } from './read-api-keys.ts';
import { type KeyStoreSettings, readKeyStore } from './read-key-store.ts';
import { readVoice, type VoiceSettings } from './read-voice.ts';
import { type Config, configOptions, configSchema } from './schema.ts';
import { readSettingFile } from './setting-file.ts';
import { shownUrl } from './shown-url.ts';
import { type ConfigSources, joinSources, type Origins } from './sources.ts';
import { cascadeOptions, recogniseOptions, speakOptions } from './cascade.ts';
import { type ModelAlias, readModels } from './read-models.ts';
import { readTaps } from './read-taps.ts';
import { type ConfiguredTap, tapOptions } from './tap.ts';
import { tenantOptions } from './tenant.ts';
import { writeQuantity } from './units.ts';
import { upstreamOptions } from './upstream.ts';
import { shownVariable } from './values.ts';
import { toolOptions, voiceOptions } from './voice.ts';

/** The settings that the gateway runs with. */
export interface Settings {
  readonly config: Config;
  /** The providers. The first one of each API is its default. Empty: the gateway serves simulated models. */
  readonly providers: readonly Provider[];
  /** The models by names of the operator's own. */
  readonly models: readonly ModelAlias[];
  /** The keys of clients in the environment and in a file. */
  readonly apiKeys: readonly ApiKey[];
  /** Where more of them are, which come and go while the gateway runs; `undefined`: nowhere. */
  readonly keyStore: KeyStoreSettings | undefined;
  /** The keys of the admin listener, needed if it listens beyond loopback. */
  readonly adminKeys: readonly ApiKey[];
  /** The taps, with their passwords. */
  readonly taps: readonly ConfiguredTap[];
  /** How telephone calls are answered; `undefined`: it is not configured. */
  readonly voice: VoiceSettings | undefined;
  /** Who may use how much, and what it costs; `undefined`: there are no limits and no prices. */
  readonly limits: LimitSettings | undefined;
  /** The password of `limitStore`, also where nobody has limits yet. */
  readonly limitStorePassword: string | undefined;
  /** Where each setting was set that has not its default. */
  readonly origins: Origins;
}

/**
 * Joins the file, the environment and the flags (a later one wins), reads the files that they name, and checks
 * the result. It depends on nothing else, and may be called again.
 *
 * @throws {ConfigError} one line a problem, each with the key, where it was set, what was expected and what
 *   came. A value that could be a secret is never printed.
 */
export function loadSettings(sources: ConfigSources): Settings {
  // A setting may name any variable: `constructor` is none, although all objects have it.
  const env = Object.assign(Object.create(null), sources.env) as ConfigSources['env'];
  const { values, origins } = joinSources({ ...sources, env });
  const result = configSchema.safeParse(values, { reportInput: true });
  if (!result.success) {
    const where = whereIn(sources.file, origins);
    const keyOf = (path: readonly PropertyKey[]): string => {
      const [setting = '', index, ...rest] = path;
      const name = index === undefined ? undefined : entryName(values[String(setting)], index);
      return (name === undefined ? path : [setting, name, ...rest]).join('.');
    };
    throw new ConfigError(
      result.error.issues.flatMap((issue) => problemsOf(issue, where, keyOf(issue.path))).join('\n'),
    );
  }
  const config = result.data;
  checkTogether(config, origins);
  checkLimits(config, origins);
  const apiKeys = keysOf(config, 'apiKeysEnv', 'apiKeysFile', env, origins);
  const adminKeys = keysOf(config, 'adminKeysEnv', 'adminKeysFile', env, origins);
  const keyStore = readKeyStore(config, env, (setting) => from(origins, setting));
  const needsKey = needsClientKey({ apiKeys, keyStore });
  const listeners = [
    { key: 'host', hasKeys: needsKey, whose: 'clients', variable: config.apiKeysEnv },
    { key: 'adminHost', hasKeys: adminKeys.length > 0, whose: 'operators', variable: config.adminKeysEnv },
  ] as const;
  for (const { hasKeys, key, variable, whose } of listeners) {
    if (hasKeys || isLoopback(config[key])) continue;
    throw new ConfigError(
      `${key}${from(origins, key)}: expected a loopback address (127.0.0.1, ::1, localhost) or keys for ` +
        `${whose} in the environment variable ${shownVariable(variable)}, got ${shown(key, config[key])} and no keys`,
    );
  }
  const providers = providersOf(config, env);
  if (providers.length === 0 && !config.simulated && !isLoopback(config.host)) {
    throw new ConfigError(
      `host${from(origins, 'host')}: expected a provider (upstream, or a variable such as OPENAI_API_KEY) or ` +
        `simulated: true, got ${shown('host', config.host)} and no provider; simulated models are served beyond ` +
        'loopback only where they are asked for',
    );
  }
  const models = readModels(config.model, providers, needsKey);
  checkPressure(config.pressure, { models, providers }, needsKey);
  const voice = readVoice(config, { needsKey, env, models, providers });
  const limitStorePassword = readStorePassword(config, env);
  const limits = readLimits(config, apiKeys, limitStorePassword);
  const taps = readTaps(config.tap, env);
  return {
    config,
    providers,
    models,
    apiKeys,
    keyStore,
    adminKeys,
    taps,
    voice,
    limits,
    limitStorePassword,
    origins,
  };
}

/** Whether clients need a key: also while the store has none, or cannot be read. */
export function needsClientKey({ apiKeys, keyStore }: Pick<Settings, 'apiKeys' | 'keyStore'>): boolean {
  return apiKeys.length > 0 || keyStore !== undefined;
}

/** Settings that need one another. */
const tlsFiles = [
  ['tlsCertFile', 'tlsKeyFile'],
  ['tlsKeyFile', 'tlsCertFile'],
  ['adminTlsCertFile', 'adminTlsKeyFile'],
  ['adminTlsKeyFile', 'adminTlsCertFile'],
] as const;

/** @throws {ConfigError} for settings that do not fit together. */
function checkTogether(config: Config, origins: Origins): void {
  if (config.proxyProtocol && config.trustedProxies.length === 0) {
    throw new ConfigError(
      `proxyProtocol${from(origins, 'proxyProtocol')}: expected trustedProxies whose connections begin so, got none`,
    );
  }
  for (const [key, other] of tlsFiles) {
    if (config[key] === undefined || config[other] !== undefined) continue;
    throw new ConfigError(`${other}: expected a file beside ${key}${from(origins, key)}, got nothing`);
  }
  if (config.maxEventMemoryBytes < config.maxEventBytes) {
    const [event, memory] = [config.maxEventBytes, config.maxEventMemoryBytes].map((bytes) =>
      writeQuantity(bytes, 'bytes'),
    );
    throw new ConfigError(
      `maxEventMemoryBytes${from(origins, 'maxEventMemoryBytes')}: expected at least one event (maxEventBytes, ` +
        `${event}), better four, got ${memory}`,
    );
  }
  if (config.port !== 0 && config.port === config.adminPort && config.host === config.adminHost) {
    throw new ConfigError(
      `adminPort${from(origins, 'adminPort')}: expected another port than port${from(origins, 'port')}, got ${config.port} for both`,
    );
  }
  if (config.simulated && config.upstream.length > 0) {
    throw new ConfigError(
      `simulated${from(origins, 'simulated')}: expected no upstream${from(origins, 'upstream')} beside it, got ${config.upstream.length}`,
    );
  }
}

/** Limits in tokens, which a request must find minAnswerTokens of. */
const tokenLimits = [
  'tokensPerMinute',
  'tokensPerDay',
  'tokensPerMonth',
  'userTokensPerDay',
  'sessionTokens',
] as const;

/** @throws {ConfigError} for limits under which no request ever starts. */
function checkLimits(config: Config, origins: Origins): void {
  const { limitStore = '', limitStorePasswordEnv, limitStorePasswordFile, minAnswerTokens, tenant } = config;
  for (const entry of tenant) {
    const key = tokenLimits.find((each) => (entry[each] ?? minAnswerTokens) < minAnswerTokens);
    if (key === undefined) continue;
    throw new ConfigError(
      `tenant.${entry.name}.${key}${from(origins, 'tenant')}: expected at least minAnswerTokens (${minAnswerTokens}), ` +
        `without which no request starts, got ${entry[key]}`,
    );
  }
  if (limitStorePasswordEnv !== undefined && limitStorePasswordFile !== undefined) {
    throw new ConfigError(
      `limitStorePasswordFile${from(origins, 'limitStorePasswordFile')}: expected limitStorePasswordEnv or limitStorePasswordFile, got both`,
    );
  }
  const setting = limitStorePasswordEnv === undefined ? 'limitStorePasswordFile' : 'limitStorePasswordEnv';
  if (config[setting] !== undefined && !limitStore.startsWith('redis')) {
    throw new ConfigError(
      `${setting}${from(origins, setting)}: expected the URL of a Redis in limitStore beside it, got ${limitStore === '' ? 'none' : 'a file'}`,
    );
  }
}

/** The keys of a variable and of a file, which add up: a key can be replaced by one in the other place. */
function keysOf(
  config: Config,
  variableSetting: 'adminKeysEnv' | 'apiKeysEnv',
  fileSetting: 'adminKeysFile' | 'apiKeysFile',
  env: ConfigSources['env'],
  origins: Origins,
): ApiKey[] {
  const variable = config[variableSetting];
  const path = config[fileSetting];
  const setting = `${fileSetting}${from(origins, fileSetting)}`;
  // Its lines are told with its own path, and what is wrong with the setting with where that is set.
  const file =
    path === undefined
      ? undefined
      : { name: `${fileSetting} (${path})`, text: readSettingFile(setting, path) };
  if (file !== undefined && readApiKeys({ variable, text: '', file }).length === 0) {
    // A file of keys means that keys are wanted: without any, every user of this machine would have access.
    throw new ConfigError(`${setting}: expected a file with at least one key, got none`);
  }
  return readApiKeys({ variable, text: env[variable] ?? '', file });
}

type Issue = NonNullable<ReturnType<typeof configSchema.safeParse>['error']>['issues'][number];

/** Says where a setting was set: in parentheses, with the line of a file; empty: nowhere. */
type Where = (path: readonly PropertyKey[]) => string;

function whereIn(file: ConfigSources['file'], origins: Origins): Where {
  return (path) => {
    const origin = origins.get(String(path[0]));
    if (origin === undefined) return '';
    const line = origin === file?.path ? lineOf(file.text, path) : undefined;
    return line === undefined ? ` (${origin})` : ` (${origin}:${line})`;
  };
}

/** What is wrong with a setting, one line a problem. */
function problemsOf(issue: Issue, where: Where, key: string): string[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((name) => {
      const place = where([...issue.path, name]);
      return `${key === '' ? name : `${key}.${name}`}: unknown setting${place}${hintFor(name, issue.path)}`;
    });
  }
  const expected = issue.message.replace(/^(?:Invalid input|Invalid option|Too (?:big|small)): /, '');
  // Some checks say themselves what came, because it is not the value of this key.
  const came = expected.includes(', got ') ? '' : `, got ${shown(issue.path.at(-1), issue.input)}`;
  return [`${key}${where(issue.path)}: ${expected.replace(/, received .*$/, '')}${came}`];
}

/** The longest value in a message, in characters. */
const maxShownChars = 200;

/**
 * A setting's value as errors show it. What has parts is not shown, because one of them may be a secret, and
 * neither is a proxy's URL: users write passwords into it.
 */
function shown(setting: PropertyKey | undefined, value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object' && value !== null) return 'keys with values';
  if (setting === 'proxy') return 'something else';
  const text = JSON.stringify(typeof value === 'string' ? shownUrl(value) : value);
  return text.length > maxShownChars ? `${text.slice(0, maxShownChars)}…` : text;
}

function from(origins: Origins, key: PropertyKey | undefined): string {
  const origin = origins.get(String(key));
  return origin === undefined ? '' : ` (${origin})`;
}

/** The settings that name the environment variable of a secret. No secret stands in a configuration itself. */
const secretSettings = [
  'apiKeyEnv',
  'apiKeysEnv',
  'apiKeysStorePasswordEnv',
  'adminKeysEnv',
  'authTokenEnv',
  'limitStorePasswordEnv',
  'passwordEnv',
  'proxyAuthEnv',
];

/** What may be meant by the name of an unknown setting. */
function hintFor(name: string, path: readonly PropertyKey[]): string {
  const plain = name.replaceAll(/[-_]/g, '').toLowerCase();
  const secret = secretSettings.find((known) => known.toLowerCase() === `${plain}env`);
  if (secret !== undefined) {
    return `; name an environment variable in ${secret} or a file in ${secret.replace(/Env$/, 'File')}`;
  }
  const near = nearest(
    name,
    knownAt(path).map(({ key }) => key),
  );
  return near === undefined ? '' : `; did you mean ${near}?`;
}

/** The keys that there are at a place of the configuration. */
function knownAt([setting, part, stage]: readonly PropertyKey[]): readonly { readonly key: string }[] {
  if (setting === undefined) return configOptions;
  if (setting === 'voice' && part === 'cascade')
    return stage === 'recognise' ? recogniseOptions : stage === 'speak' ? speakOptions : cascadeOptions;
  if (setting === 'voice') return part === 'tools' ? toolOptions : voiceOptions;
  if (setting === 'tenant') return tenantOptions;
  if (setting === 'price') return priceOptions;
  if (setting === 'model') return modelOptions;
  if (setting === 'pressure') return pressureOptions;
  return setting === 'tap' ? tapOptions : upstreamOptions;
}
