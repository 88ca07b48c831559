import type { CascadeConfig, RecogniseConfig, SpeakConfig } from './cascade.ts';
import { ConfigError } from './config-error.ts';
import { nearest } from '@spillway/core/nearest';
import { defaultSecret, type Provider } from './provider.ts';
import type { ModelAlias } from './read-models.ts';
import { readApiKey } from './secret.ts';
import { readSettingFile } from './setting-file.ts';
import { shownUrl } from './shown-url.ts';
import type { VoiceConfig } from './voice.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** A stage's service, with its key. */
interface StageService {
  /** As the operator names it: `openai/gpt-4o-mini-transcribe`. */
  readonly title: string;
  /** The service's own name of the model, or of the voice. */
  readonly name: string;
  /** `undefined`: the service's own. A base URL without a version, where the API is OpenAI's. */
  readonly url: string | undefined;
  readonly apiKey: string | undefined;
}

/** What makes words of speech. */
export type RecogniseStage =
  | ({ readonly kind: 'openai' | 'deepgram' } & StageService)
  | { readonly kind: 'pocketsphinx'; readonly title: string; readonly grammar: string | undefined };

/** What speaks. */
export type SpeakStage =
  | ({ readonly kind: 'openai' } & StageService)
  | ({ readonly kind: 'elevenlabs'; readonly voiceModel: string | undefined } & StageService)
  | { readonly kind: 'flite'; readonly title: string };

/** The APIs of models of text, the first that fits. */
const reasonApis = ['openai', 'anthropic', 'gemini'] as const;
type ReasonApi = (typeof reasonApis)[number];

/** Three models that answer calls together. */
export interface Cascade {
  readonly api: 'cascade';
  readonly recognise: RecogniseStage;
  /** The model of text, as a client of this gateway names it. */
  readonly reason: string;
  /** The API by which it is asked. */
  readonly reasonApi: ReasonApi;
  readonly speak: SpeakStage;
  readonly unheardMs: number;
}

/** The voices that Debian's flite has. */
const fliteVoices: readonly string[] = ['rms', 'slt', 'awb', 'kal16', 'kal'];

/** The default model of text of a gateway without a provider: it answers about what was said. */
const talkingModel = 'simulated/sim:talk';

/** A cascade that needs no service: programs of this machine, and a simulated model of text. */
export const offlineCascade: Cascade = {
  api: 'cascade',
  recognise: { kind: 'pocketsphinx', title: 'pocketsphinx', grammar: undefined },
  reason: talkingModel,
  reasonApi: 'openai',
  speak: { kind: 'flite', title: 'flite' },
  unheardMs: 800,
};

/** Whether a cascade sends nothing to anybody and costs nothing. */
export function isOffline({ reason, recognise, speak }: Cascade, providers: readonly Provider[]): boolean {
  return (
    providers.length === 0 &&
    reason.startsWith('simulated/') &&
    recognise.kind === 'pocketsphinx' &&
    speak.kind === 'flite'
  );
}

interface CascadeOptions {
  readonly env: Environment;
  /** Empty: simulated models are served. */
  readonly providers: readonly Provider[];
  readonly models: readonly ModelAlias[];
}

/**
 * A cascade with its secrets.
 *
 * @throws {ConfigError}
 */
export function readCascade(
  { reason, recognise, speak, unheardMs }: CascadeConfig,
  { language, voice }: Pick<VoiceConfig, 'language' | 'voice'>,
  options: CascadeOptions,
): Cascade {
  const reasonApi = readReason(reason, options);
  const cascade: Cascade = {
    api: 'cascade',
    recognise: readRecogniser(recognise, options),
    reason,
    reasonApi,
    speak: readSpeaker(speak, options),
    unheardMs,
  };
  const english = [cascade.recognise, cascade.speak].find(
    ({ kind }) => kind === 'pocketsphinx' || kind === 'flite',
  );
  if (english !== undefined && language !== undefined && !/^en\b/.test(language))
    throw new ConfigError(
      `voice.language: expected en with ${english.title}, which knows no other language, got ${language}`,
    );
  if (cascade.speak.kind === 'flite' && voice !== undefined && !fliteVoices.includes(voice))
    throw new ConfigError(
      `voice.voice: expected ${fliteVoices.join(', ')} with flite, got ${JSON.stringify(voice)}`,
    );
  if (cascade.speak.kind === 'elevenlabs' && !/^[\w-]{1,128}$/.test(cascade.speak.name))
    throw new ConfigError(
      `voice.cascade.speak: expected the id of a voice behind elevenlabs/, got ${JSON.stringify(cascade.speak.name)}`,
    );
  if (cascade.speak.kind === 'elevenlabs' && voice !== undefined)
    throw new ConfigError(
      `voice.voice: expected none beside ${cascade.speak.title}, which names the voice, got ${JSON.stringify(voice)}`,
    );
  return cascade;
}

/**
 * The API by which a model of text is asked: one by which all of its targets are, which may be of several providers.
 *
 * @throws {ConfigError} for a model that this gateway does not serve, or by no such API.
 */
function readReason(reason: string, { models, providers }: CascadeOptions): ReasonApi {
  const setting = 'voice.cascade.reason';
  const alias = models.find(({ name }) => name === reason);
  const owner = reason.slice(0, Math.max(0, reason.indexOf('/')));
  if (alias === undefined && providers.length === 0) {
    if (owner === 'simulated') return 'openai';
    throw new ConfigError(
      `${setting}: expected simulated/sim, because there is no provider: set OPENAI_API_KEY or upstream, got ${JSON.stringify(reason)}`,
    );
  }
  if (alias === undefined)
    namedProvider(
      setting,
      owner,
      reason,
      reasonApis,
      providers,
      models.map(({ name }) => name),
    );
  const asked =
    alias?.targets.map(({ provider }) => provider) ?? providers.filter(({ name }) => name === owner);
  const names = new Set(asked.map(({ name }) => name));
  // A provider may have several APIs, each as a provider of the same name.
  const common = reasonApis.find((one) =>
    [...names].every((name) => asked.some((each) => each.name === name && each.api === one)),
  );
  if (common === undefined)
    throw new ConfigError(
      `${setting}: expected a model whose targets have one of the APIs ${reasonApis.join(', ')} in common, got ${reason}, which has ${[...new Set(asked.map(({ api }) => api))].join(', ')}`,
    );
  checkOwnKeys(asked.filter(({ api }) => api === common));
  return common;
}

/** Nobody who calls has a key for a provider. */
function checkOwnKeys(providers: readonly Provider[]): void {
  const needy = providers.find(({ apiKey, url }) => apiKey === undefined && url.startsWith('https:'));
  if (needy !== undefined)
    throw new ConfigError(
      `voice.cascade.reason: expected a provider with a key of its own (apiKeyEnv or apiKeyFile), because callers have none, got ${needy.name}`,
    );
}

/** The provider with that name and one of these APIs. `names`: other names that may have been meant. */
function namedProvider(
  setting: string,
  owner: string,
  written: string,
  apis: readonly ReasonApi[],
  providers: readonly Provider[],
  names: readonly string[] = [],
): Provider {
  const fitting = providers.filter(({ api }) => apis.some((one) => one === api));
  const found = fitting.find(({ name }) => name === owner);
  if (found !== undefined) return found;
  const known = [...new Set(fitting.map(({ name }) => name))];
  const near = nearest(owner === '' ? written : owner, [...known, ...names]);
  throw new ConfigError(
    `${setting}: expected the name of a provider with the API ${apis.join(', ').replace(/, (\w+)$/, ' or $1')} before the slash ` +
      `(${known.length === 0 ? 'there is none: set OPENAI_API_KEY or upstream' : known.join(', ')})` +
      `${names.length === 0 ? '' : ', or a name of model'}, got ${JSON.stringify(written)}` +
      (near === undefined ? '' : `; did you mean ${near}?`),
  );
}

function readRecogniser(config: RecogniseConfig, options: CascadeOptions): RecogniseStage {
  const { grammarFile, model } = config;
  const setting = 'voice.cascade.recognise';
  if (model === 'pocketsphinx') {
    refuseService(setting, config);
    const grammar =
      grammarFile === undefined ? undefined : readSettingFile(`${setting}.grammarFile`, grammarFile);
    return { kind: 'pocketsphinx', title: model, grammar };
  }
  if (grammarFile !== undefined)
    throw new ConfigError(`${setting}.grammarFile: expected none with ${model}: it is for pocketsphinx`);
  const [owner, name] = partsOf(model);
  if (owner === 'deepgram')
    return { kind: 'deepgram', ...ownService(setting, config, name, 'DEEPGRAM_API_KEY', options.env) };
  return { kind: 'openai', ...providerService(setting, config, [owner, name], options) };
}

function readSpeaker(config: SpeakConfig, options: CascadeOptions): SpeakStage {
  const { model, voiceModel } = config;
  const setting = 'voice.cascade.speak';
  const [owner, name] = partsOf(model);
  if (owner === 'elevenlabs')
    return {
      kind: 'elevenlabs',
      voiceModel,
      ...ownService(setting, config, name, 'ELEVENLABS_API_KEY', options.env),
    };
  if (voiceModel !== undefined)
    throw new ConfigError(`${setting}.voiceModel: expected none with ${model}: it is for elevenlabs`);
  if (model === 'flite') {
    refuseService(setting, config);
    return { kind: 'flite', title: model };
  }
  return { kind: 'openai', ...providerService(setting, config, [owner, name], options) };
}

function partsOf(model: string): readonly [owner: string, name: string] {
  const at = model.indexOf('/');
  return at === -1 ? ['', model] : [model.slice(0, at), model.slice(at + 1)];
}

type ServiceConfig = Pick<RecogniseConfig, 'apiKeyEnv' | 'apiKeyFile' | 'model' | 'url'>;

/** @throws {ConfigError} for a service of a program of this machine. */
function refuseService(setting: string, { model, ...service }: ServiceConfig): void {
  for (const key of ['url', 'apiKeyEnv', 'apiKeyFile'] as const)
    if (service[key] !== undefined)
      throw new ConfigError(`${setting}.${key}: expected none with ${model}, a program of this machine`);
}

/** A service that is no provider of this gateway. */
function ownService(
  setting: string,
  config: ServiceConfig,
  name: string,
  variable: string,
  env: Environment,
): StageService {
  checkUrl(setting, config, /^wss?:/, 'a ws:// or wss://');
  const own = readApiKey(setting, config, env);
  const apiKey = own ?? defaultSecret(variable, 'key', setting, env);
  if (apiKey === undefined)
    throw new ConfigError(
      `${setting}: expected the key of ${config.model} in the environment variable ${variable}, or in the one or the file that apiKeyEnv or apiKeyFile names, got none`,
    );
  return { title: config.model, name, url: config.url, apiKey };
}

/** A provider of this gateway, by its API for speech. */
function providerService(
  setting: string,
  config: ServiceConfig,
  [owner, name]: readonly [string, string],
  { env, providers }: CascadeOptions,
): StageService {
  checkUrl(setting, config, /^https?:/, 'an http:// or https://');
  const provider = namedProvider(setting, owner, config.model, ['openai'], providers);
  const { apiKey, keyHeader, query, transport, url } = provider;
  if (config.url === undefined && (transport?.proxy !== undefined || transport?.secureContext !== undefined))
    throw new ConfigError(
      `${setting}: expected a provider without proxy, caFile and certFile, which calls do not obey, got ${owner}`,
    );
  if (config.url === undefined && (keyHeader !== undefined || query !== undefined))
    throw new ConfigError(
      `${setting}: expected a provider without keyHeader and without a query in its URL, which speech is not sent with, got ${owner}`,
    );
  // A provider's key goes to no other URL.
  const key = readApiKey(setting, config, env) ?? (config.url === undefined ? apiKey : undefined);
  return { title: config.model, name, url: (config.url ?? url).replace(/\/v1$/, ''), apiKey: key };
}

/** @throws {ConfigError} for a URL of another kind than the service speaks. */
function checkUrl(setting: string, { model, url }: ServiceConfig, scheme: RegExp, what: string): void {
  if (url === undefined || scheme.test(url)) return;
  throw new ConfigError(
    `${setting}.url: expected ${what} URL with ${model}, got ${JSON.stringify(shownUrl(url))}`,
  );
}
