import { nearest } from '@spillway/core/nearest';
import { apis, type Api } from '../api.ts';
import { adviceOnLimits } from './advice-on-limits.ts';
import { isServiceLink } from './kubernetes.ts';
import type { Settings } from './load.ts';
import { isThisMachine } from './loopback.ts';
import { fileVariable } from './provider.ts';
import { defaultTokenVariable } from './read-voice.ts';
import { hasPassword } from './engine-url.ts';
import { configOptions } from './schema.ts';
import type { ConfigSources } from './sources.ts';
import { proxyInEnvironment } from './transport.ts';

/** The stable codes of advice. docs/configuration.md lists them. */
type AdviceCode =
  | 'base_url_unusual'
  | 'file_unread'
  | 'limit_never_met'
  | 'limit_uncounted'
  | 'limit_unpriced'
  | 'limit_unused'
  | 'proxy_unused'
  | 'simulated_models'
  | 'tap_content'
  | 'tap_may_lose'
  | 'tap_password'
  | 'variable_empty'
  | 'variable_kubernetes'
  | 'variable_unknown'
  | 'variable_unused'
  | 'voice_url';

/** Something about valid settings that the operator may not have meant. The gateway starts with it. */
export interface Advice {
  readonly code: AdviceCode;
  /** One sentence. It contains names of variables and providers, and no values of variables. */
  readonly message: string;
  readonly variables?: readonly string[];
  readonly providers?: readonly string[];
}

type Environment = ConfigSources['env'];

/** Everything about the settings that may not be meant. `unreadFiles` are files that look like a configuration. */
export function adviceFor(settings: Settings, env: Environment, unreadFiles: readonly string[]): Advice[] {
  return [
    ...simulatedModels(settings),
    ...unread(settings, env),
    ...kubernetes(env),
    ...empty(settings, env),
    ...unusedKeys(settings, env),
    ...unusedUrls(settings, env),
    ...unusedProxies(settings, env),
    ...unusualUrls(settings),
    ...plainTaps(settings),
    ...losingTaps(settings),
    ...tapPasswords(settings),
    ...unusedToken(settings, env),
    ...localVoice(settings),
    ...adviceOnLimits(settings),
    ...unreadFiles.map((path) => ({
      code: 'file_unread' as const,
      message: `${path} is not read: the configuration file is spillway.yaml, or the one that --config names.`,
    })),
  ];
}

const keyVariables = Object.values(apis).flatMap(({ byDefault }) => byDefault?.keyVariable ?? []);

function simulatedModels({ config, providers }: Settings): Advice[] {
  if (providers.length > 0) return [];
  const why = config.simulated
    ? 'simulated is true'
    : `no provider is configured (upstream, ${keyVariables.join(', ')})`;
  return [{ code: 'simulated_models', message: `Simulated models answer, because ${why}.` }];
}

/** The variables that the settings name for secrets. */
function namedVariables({ config }: Settings): string[] {
  const ofProviders = config.upstream.flatMap(({ apiKeyEnv, proxyAuthEnv }) => [apiKeyEnv, proxyAuthEnv]);
  const { authTokenEnv, tools = [] } = config.voice ?? {};
  const ofTools = tools.map(({ apiKeyEnv }) => apiKeyEnv);
  const { adminKeysEnv, apiKeysEnv, apiKeysStorePasswordEnv, limitStorePasswordEnv } = config;
  const ofTaps = config.tap.map(({ passwordEnv }) => passwordEnv);
  const ofStores = [apiKeysStorePasswordEnv, limitStorePasswordEnv];
  const own = [apiKeysEnv, adminKeysEnv, authTokenEnv, ...ofStores, ...ofTaps];
  return [...own, ...ofProviders, ...ofTools].filter((name) => name !== undefined);
}

/** The variables that begin with `SPILLWAY_` and that nothing reads: most are misspelt. */
function unread(settings: Settings, env: Environment): Advice[] {
  // SPILLWAY_ADMIN_KEY is what `spillway reload` asks with.
  const known = [
    ...configOptions.map(({ variable }) => variable),
    'SPILLWAY_ADMIN_KEY',
    ...namedVariables(settings),
  ];
  const variables = Object.entries(env).flatMap(([name, value = '']) =>
    name.startsWith('SPILLWAY_') && !known.includes(name) && !isServiceLink(name, value) ? [name] : [],
  );
  if (variables.length === 0) return [];
  const hints = variables.map((name) => {
    const near = nearest(name, known);
    return near === undefined ? name : `${name} (did you mean ${near}?)`;
  });
  return [{ code: 'variable_unknown', message: `No settings are: ${hints.join(', ')}.`, variables }];
}

/** The settings' variables that Kubernetes has set to the address of a service. */
function kubernetes(env: Environment): Advice[] {
  const variables = configOptions
    .map(({ variable }) => variable)
    .filter((variable) => isServiceLink(variable, env[variable] ?? ''));
  if (variables.length === 0) return [];
  const message = `${variables.join(', ')} is ignored: Kubernetes has set it to the address of a service. Rename the service, or set enableServiceLinks: false.`;
  return [{ code: 'variable_kubernetes', message, variables }];
}

/** Variables of keys that are set, but to nothing. */
function empty({ config }: Settings, env: Environment): Advice[] {
  const ofProviders = config.upstream.length === 0 && !config.simulated ? keyVariables : [];
  const candidates = [...ofProviders, config.apiKeysEnv, config.adminKeysEnv];
  const variables = candidates.filter((name) => env[name] === '' && !env[fileVariable(name)]);
  if (variables.length === 0) return [];
  return [
    {
      code: 'variable_empty',
      message: `${variables.join(', ')} is set, but empty: that counts as not set.`,
      variables,
    },
  ];
}

/** Keys of the default providers, which are not served because others are configured. */
function unusedKeys(settings: Settings, env: Environment): Advice[] {
  const { simulated, upstream } = settings.config;
  if (upstream.length === 0 && !simulated) return [];
  const named = namedVariables(settings);
  const variables = keyVariables
    .flatMap((name) => [name, fileVariable(name)])
    .filter((name) => env[name] && !named.includes(name));
  if (variables.length === 0) return [];
  const why = simulated ? 'simulated is true' : 'upstream is configured, and no apiKeyEnv names it';
  return [{ code: 'variable_unused', message: `${variables.join(', ')} is not used: ${why}.`, variables }];
}

/** Variables that the SDKs of an API obey and the gateway does not, and what is configured instead. */
const sdkVariables: readonly (readonly [string, Api, 'key' | 'url'])[] = [
  ['OPENAI_BASE_URL', 'openai', 'url'],
  ['OPENAI_API_BASE', 'openai', 'url'],
  ['ANTHROPIC_BASE_URL', 'anthropic', 'url'],
  ['ANTHROPIC_AUTH_TOKEN', 'anthropic', 'key'],
  ['GOOGLE_GEMINI_BASE_URL', 'gemini', 'url'],
  ['GOOGLE_API_KEY', 'gemini', 'key'],
  ['AZURE_OPENAI_ENDPOINT', 'azure', 'url'],
  ['AZURE_OPENAI_API_KEY', 'azure', 'key'],
  ['OLLAMA_HOST', 'ollama', 'url'],
];

function unusedUrls(settings: Settings, env: Environment): Advice[] {
  const { config, providers } = settings;
  const named = namedVariables(settings);
  const hosts = new Set([
    ...providers.map(({ url }) => new URL(url).host),
    // Clients on this machine find the gateway by the same variables.
    ...[config.host, 'localhost', '127.0.0.1'].map((host) => `${host}:${config.port}`),
  ]);
  return sdkVariables.flatMap(([variable, api, kind]): Advice[] => {
    const value = env[variable] ?? '';
    if (value === '' || named.includes(variable)) return [];
    const url = value.includes('://') ? value : `http://${value}`;
    if (kind === 'url' && URL.canParse(url) && hosts.has(new URL(url).host)) return [];
    const other = providers.some((provider) => provider.api === api && provider.apiKey !== undefined);
    if (kind === 'key' && other) return [];
    const what = kind === 'url' ? 'url=…' : `url=…,apiKeyEnv=${variable}`;
    const message = `${variable} is not used: the gateway takes providers from upstream, as api=${api},${what}.`;
    return [{ code: 'variable_unused', message, variables: [variable] }];
  });
}

/**
 * The proxies of the environment that providers do not use. An operator who sets such a variable expects that
 * they do.
 */
function unusedProxies({ providers }: Settings, env: Environment): Advice[] {
  const found = new Map<string, string[]>();
  for (const { name, transport, url } of providers) {
    const proxy = transport?.proxy === undefined ? proxyInEnvironment(new URL(url), env) : undefined;
    if (proxy !== undefined) found.set(proxy.variable, [...(found.get(proxy.variable) ?? []), name]);
  }
  return [...found].map(([variable, names]) => ({
    code: 'proxy_unused',
    message: `${variable} is not used for ${names.join(', ')}: a provider needs proxy: env for it.`,
    variables: [variable],
    providers: names,
  }));
}

/** The ends of URLs that are paths of requests. */
const requestPath =
  /\/(?:chat\/completions|completions|responses|embeddings|models|messages|api\/(?:chat|generate|tags))$|:\w*[gG]enerateContent$/;

/** Base URLs to which no path of a request is likely to fit. */
function unusualUrls({ providers }: Settings): Advice[] {
  return providers.flatMap(({ api, name, url }): Advice[] => {
    const { pathname } = new URL(url);
    const end = requestPath.exec(pathname)?.[0];
    const problem =
      end === undefined
        ? api === 'openai' &&
          pathname === '/' &&
          'it has no path, and most such providers have /v1 at the end'
        : `${end} at its end is part of the path of requests, which is added to it`;
    if (problem === false) return [];
    const message = `The base URL of ${name} (${api}) looks wrong: ${problem}.`;
    return [{ code: 'base_url_unusual', message, providers: [name] }];
  });
}

/** Taps that keep what was said so that whoever can read their file, or standard output, has it. */
function plainTaps({ config }: Settings): Advice[] {
  return config.tap.flatMap(({ content, name, redact, request, to }): Advice[] => {
    // Whoever says what is replaced has thought about the rest.
    if (to.startsWith('sqlite:') || redact !== undefined || (content === 'usage' && !request)) return [];
    const what = content === 'usage' ? 'prompts' : request ? 'prompts and answers' : 'answers';
    const message = `The tap ${name} keeps ${what} in plain text: sqlite encrypts them, redact replaces some of it, and content: usage keeps none.`;
    return [{ code: 'tap_content', message }];
  });
}

/** Passwords where everybody sees them who may read the configuration, or the list of processes. */
function tapPasswords({ config }: Settings): Advice[] {
  return config.tap.flatMap(({ name, to }): Advice[] => {
    if (!hasPassword(to)) return [];
    const message = `The tap ${name} has a password in its URL, which whoever may read the configuration has: passwordEnv names a variable with it, and passwordFile a file.`;
    return [{ code: 'tap_password', message }];
  });
}

/** Audit logs that nobody has told what to do when they fall behind. By itself a tap loses then, and makes nobody wait. */
function losingTaps({ config }: Settings): Advice[] {
  return config.tap.flatMap(({ content, gate, lossless, name, overflow, spill, to }): Advice[] => {
    const isMeant = gate || lossless || overflow !== undefined || spill !== undefined || content === 'usage';
    if (!to.startsWith('sqlite:') || isMeant) return [];
    const message = `The tap ${name} may lose what it cannot write in time: gate or lossless keep everything, and overflow: drop-oldest says that it is meant.`;
    return [{ code: 'tap_may_lose', message }];
  });
}

/** The auth token of an account at Twilio that no call is signed with. */
function unusedToken({ config }: Settings, env: Environment): Advice[] {
  const variables = [defaultTokenVariable, fileVariable(defaultTokenVariable)].filter((name) => env[name]);
  const { voice } = config;
  if (variables.length === 0 || voice?.authTokenEnv === defaultTokenVariable) return [];
  if (voice !== undefined && (voice.authTokenEnv ?? voice.authTokenFile) === undefined) return [];
  const why = voice === undefined ? 'no calls are configured (voice)' : 'voice has another one';
  return [{ code: 'variable_unused', message: `${variables.join(', ')} is not used: ${why}.`, variables }];
}

/** A URL that no carrier reaches. */
function localVoice({ config }: Settings): Advice[] {
  const { publicUrl } = config.voice ?? {};
  if (publicUrl === undefined || !isThisMachine(new URL(publicUrl).hostname)) return [];
  const message = `voice.publicUrl is ${publicUrl}, which no carrier reaches: calls come from this machine alone.`;
  return [{ code: 'voice_url', message }];
}
