import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { parse, YAMLParseError } from 'yaml';
import { type Api, apiNames, apis } from '../api.ts';
import type { ApiKey } from './api-key.ts';
import { ConfigError } from './config-error.ts';
import { readApiKeys } from './read-api-keys.ts';
import { type Config, configOptions, configSchema, type DetachPolicy, type Upstream } from './schema.ts';
import { proxyInEnvironment, readTransport, type Transport } from './transport.ts';

/** A configured provider, with its key from the environment. */
export interface Provider {
  readonly name: string;
  readonly api: Api;
  /**
   * The base URL without a slash at the end, without a query, and without the part that its API's paths
   * contain.
   */
  readonly url: string;
  /** The start of every query to the provider, without a question mark. Default: nothing. */
  readonly query?: string | undefined;
  /** `undefined`: the client's own key for this API passes through. */
  readonly apiKey: string | undefined;
  /** The header that carries the configured key. Default: the first of `keyHeaders` of its API. */
  readonly keyHeader?: string | undefined;
  /**
   * What happens when the last reader of one of its streams has detached; `undefined`: the gateway's `detach`
   * applies.
   */
  readonly detach: DetachPolicy | undefined;
  /**
   * How long comments alone keep a stream alive, if longer than `idleTimeoutMs`; `undefined`: they do not.
   */
  readonly queueTimeoutMs?: number | undefined;
  /** How to connect to the provider; `undefined`: by the built-in reader of replies. */
  readonly transport?: Transport | undefined;
}

/** The settings that the gateway runs with. */
export interface Settings {
  readonly config: Config;
  /** The providers. The first one of each API is its default. Empty: the gateway serves simulated models. */
  readonly providers: readonly Provider[];
  /** The keys of clients; empty: clients need none. */
  readonly apiKeys: readonly ApiKey[];
  /** The keys of the admin listener, needed if it listens beyond loopback. */
  readonly adminKeys: readonly ApiKey[];
}

export interface ConfigSources {
  /** The values of the command line by their keys in camel case. */
  readonly flags: Readonly<Record<string, unknown>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The text of the configuration file, if there is one, and its path for messages. */
  readonly file: { readonly path: string; readonly text: string } | undefined;
}

/**
 * Joins the file, the environment and the flags (a later one wins), and checks the result.
 *
 * @throws {ConfigError} one line a problem, each with the key, where it was set, what was expected and what
 *   came. A value that could be a secret is never printed.
 */
export function loadSettings(sources: ConfigSources): Settings {
  const { values, origins } = joined(sources);
  const result = configSchema.safeParse(values, { reportInput: true });
  if (!result.success) {
    const lines = result.error.issues.map((issue) => {
      const key = issue.path.join('.');
      if (issue.code === 'unrecognized_keys') {
        const names = issue.keys.map((name) => (key === '' ? name : `${key}.${name}`));
        const where = from(origins, issue.path[0] ?? issue.keys[0]);
        return `${names.join(', ')}: unknown setting${where}${issue.keys.map(envHint).join('')}`;
      }
      const came = issue.input === undefined ? 'nothing' : shown(issue.path.at(-1), issue.input);
      const expected = issue.message.replace(/^Invalid input: /, '').replace(/^Too (?:big|small): /, '');
      return `${key}${from(origins, issue.path[0])}: ${expected.replace(/, received .*$/, '')}, got ${came}`;
    });
    throw new ConfigError(lines.join('\n'));
  }
  const config = result.data;
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
    throw new ConfigError(
      `maxEventMemoryBytes${from(origins, 'maxEventMemoryBytes')}: expected at least one event (maxEventBytes, ` +
        `${config.maxEventBytes}), better four, got ${config.maxEventMemoryBytes}`,
    );
  }
  const textOf = (variable: string): { variable: string; text: string } => ({
    variable,
    text: sources.env[variable] ?? '',
  });
  const file = keysFile(config.apiKeysFile, origins);
  const apiKeys = readApiKeys({ ...textOf(config.apiKeysEnv), file });
  const adminKeys = readApiKeys(textOf(config.adminKeysEnv));
  if (file !== undefined && apiKeys.length === 0) {
    // A file of keys means that keys are wanted: without any, every user of this machine would have access.
    throw new ConfigError(`${file.path}: expected at least one line "NAME sha256:DIGEST", got none`);
  }
  const listeners = [
    { key: 'host', keys: apiKeys, whose: 'clients', variable: config.apiKeysEnv },
    { key: 'adminHost', keys: adminKeys, whose: 'operators', variable: config.adminKeysEnv },
  ] as const;
  for (const { key, keys, variable, whose } of listeners) {
    if (keys.length > 0 || isLoopback(config[key])) continue;
    throw new ConfigError(
      `${key}${from(origins, key)}: expected a loopback address (127.0.0.1, ::1, localhost) or keys for ` +
        `${whose} in the environment variable ${variable}, got ${JSON.stringify(config[key])} and no keys`,
    );
  }
  return { config, providers: providersOf(config, sources.env), apiKeys, adminKeys };
}

/**
 * The settings that name the environment variable of a key. The key itself never stands in a configuration.
 */
const keySettings = ['apiKeyEnv', 'apiKeysEnv', 'adminKeysEnv'];

/** Settings that need one another. */
const tlsFiles = [
  ['tlsCertFile', 'tlsKeyFile'],
  ['tlsKeyFile', 'tlsCertFile'],
  ['adminTlsCertFile', 'adminTlsKeyFile'],
  ['adminTlsKeyFile', 'adminTlsCertFile'],
] as const;

function envHint(name: string): string {
  const plain = name.replaceAll(/[-_]/g, '').toLowerCase();
  const setting = keySettings.find((known) => known.toLowerCase() === `${plain}env`);
  return setting === undefined ? '' : `; name an environment variable in ${setting}`;
}

/**
 * The variables that begin with `SPILLWAY_` and that nothing reads: most are misspelt. They are no error,
 * because other programs may set such variables (Kubernetes does for a service of this name).
 */
export function unreadVariables({ config }: Settings, env: ConfigSources['env']): string[] {
  const read = new Set([
    ...configOptions.map(({ variable }) => variable),
    config.apiKeysEnv,
    config.adminKeysEnv,
    ...config.upstream.flatMap(({ apiKeyEnv, proxyAuthEnv }) => [apiKeyEnv, proxyAuthEnv]),
  ]);
  return Object.keys(env).filter((name) => name.startsWith('SPILLWAY_') && !read.has(name));
}

/** A proxy of the environment, and the providers that would match it but do not use it. */
export interface UnusedProxy {
  readonly variable: string;
  readonly providers: readonly string[];
}

/**
 * The proxies of the environment that providers do not use. An operator who sets such a variable expects that
 * they do.
 */
export function unusedProxies({ providers }: Settings, env: ConfigSources['env']): UnusedProxy[] {
  const found = new Map<string, string[]>();
  for (const { name, transport, url } of providers) {
    const proxy = transport?.proxy === undefined ? proxyInEnvironment(new URL(url), env) : undefined;
    if (proxy !== undefined) found.set(proxy.variable, [...(found.get(proxy.variable) ?? []), name]);
  }
  return [...found].map(([variable, names]) => ({ variable, providers: names }));
}

/** Reads the configuration file. If no path was given, the file may be missing. */
export function readConfigFile(asked: string | undefined): ConfigSources['file'] {
  const path = asked ?? 'spillway.yaml';
  try {
    return { path, text: readFileSync(path, 'utf8') };
  } catch (error) {
    if (asked === undefined && (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new ConfigError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** Reads the file of keys. Errors do not contain its path: a key may have been set as the path by mistake. */
function keysFile(path: string | undefined, origins: Origins): ConfigSources['file'] {
  if (path === undefined) return undefined;
  try {
    return { path, text: readFileSync(path, 'utf8') };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new ConfigError(
      `apiKeysFile${from(origins, 'apiKeysFile')}: expected a file that can be read, got ${code}`,
    );
  }
}

/** Whether only this machine can reach the address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

type Origins = ReadonlyMap<string, string>;

function joined({ flags, env, file }: ConfigSources): { values: Record<string, unknown>; origins: Origins } {
  const values: Record<string, unknown> = {};
  const origins = new Map<string, string>();
  for (const [key, value] of Object.entries(fileValues(file))) {
    values[key] = value;
    origins.set(key, file?.path ?? '');
  }
  for (const { key, variable, defaultValue } of configOptions) {
    const text = env[variable];
    if (text === undefined || text === '') continue;
    values[key] = readText(text, defaultValue);
    origins.set(key, variable);
  }
  for (const { key, flag, defaultValue } of configOptions) {
    const value = flags[key];
    if (value === undefined) continue;
    values[key] = typeof value === 'string' ? readText(value, defaultValue) : value;
    origins.set(key, flag);
  }
  return { values, origins };
}

function fileValues(file: ConfigSources['file']): Record<string, unknown> {
  if (file === undefined) return {};
  let value: unknown;
  try {
    value = parse(file.text);
  } catch (error) {
    if (error instanceof YAMLParseError)
      throw new ConfigError(`${file.path}: ${error.message}`, { cause: error });
    throw error;
  }
  if (value === null) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new ConfigError(`${file.path}: expected keys and values, got ${JSON.stringify(value)}`);
  }
  return value as Record<string, unknown>;
}

/**
 * Reads a text as a number or a boolean if the setting is one and the text fits. Otherwise returns the text,
 * and the schema's error names it.
 */
function readText(text: string, defaultValue: unknown): unknown {
  if (typeof defaultValue === 'number') return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
  if (typeof defaultValue === 'boolean') return text === 'true' || (text === 'false' ? false : text);
  return text;
}

/** A setting's value as errors show it. A proxy's URL is never shown: users write passwords into it. */
function shown(setting: PropertyKey | undefined, value: unknown): string {
  if (setting === 'proxy') return 'something else';
  return withoutCredentials(JSON.stringify(value, (key, part: unknown) => (key === 'proxy' ? '***' : part)));
}

/** Hides the user and password of a URL. */
function withoutCredentials(text: string): string {
  return text.replaceAll(/\/\/[^/@\s"]*@/g, '//***@');
}

function from(origins: Origins, key: PropertyKey | undefined): string {
  const origin = origins.get(String(key));
  return origin === undefined ? '' : ` (${origin})`;
}

function providersOf(config: Config, env: ConfigSources['env']): Provider[] {
  if (config.upstream.length > 0) {
    return config.upstream.map((upstream) => ({
      name: upstream.name,
      api: upstream.api,
      url: baseUrl(upstream),
      query: new URL(upstream.url).search.slice(1) || undefined,
      keyHeader: upstream.keyHeader,
      detach: upstream.detach,
      queueTimeoutMs: upstream.queueTimeoutMs,
      transport: readTransport(upstream, env),
      apiKey: upstream.apiKeyEnv === undefined ? undefined : providerKey(upstream, upstream.apiKeyEnv, env),
    }));
  }
  return apiNames.flatMap((api) => {
    const { byDefault } = apis[api];
    const apiKey = byDefault && env[byDefault.keyVariable];
    if (byDefault === undefined || apiKey === undefined || apiKey === '') return [];
    return [{ name: api, api, url: byDefault.url, apiKey, detach: undefined }];
  });
}

function baseUrl({ api, url }: Upstream): string {
  const { urlTail } = apis[api];
  const bare = url.replace(/\?.*$/, '').replace(/\/+$/, '');
  return urlTail !== '' && bare.endsWith(urlTail) ? bare.slice(0, -urlTail.length) : bare;
}

function providerKey({ name }: Upstream, variable: string, env: ConfigSources['env']): string {
  const key = env[variable];
  if (key === undefined || key === '') {
    throw new ConfigError(
      `upstream ${name}: expected the key in the environment variable ${variable} (apiKeyEnv), got nothing`,
    );
  }
  return key;
}
