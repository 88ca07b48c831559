import { ConfigError } from './config-error.ts';
import { defaultSecret, type Provider } from './provider.ts';
import { type Cascade, isOffline, readCascade } from './read-cascade.ts';
import type { ModelAlias } from './read-models.ts';
import type { Config } from './schema.ts';
import { readApiKey, readSecret } from './secret.ts';
import { readSettingBytes, readSettingFile } from './setting-file.ts';
import { wants } from './wants.ts';
import { maxInstructionChars, simulatedVoice, type ToolConfig, type VoiceConfig } from './voice.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** The APIs of providers that have a realtime model for calls. */
const realtimeApis = ['openai', 'gemini'] as const;

/** How the gateway and a carrier know each other. */
export interface SignedLine {
  /** The auth token of the account, with which the carrier signs: a secret. */
  readonly authToken: string;
  /** The gateway's URL as the carrier reaches it, without a slash at the end. */
  readonly publicUrl: string;
}

/** A provider's realtime model. */
export interface RealtimeModel {
  readonly api: (typeof realtimeApis)[number];
  readonly provider: Provider;
  readonly name: string;
}

/** A tool with its key. */
export interface VoiceTool extends Pick<
  ToolConfig,
  'deadlineMs' | 'description' | 'fallback' | 'name' | 'parameters' | 'url'
> {
  readonly headers: Readonly<Record<string, string>>;
}

/** What calls are answered with. */
export interface VoiceSettings extends Pick<
  VoiceConfig,
  | 'failureDial'
  | 'failureSay'
  | 'greeting'
  | 'instructions'
  | 'language'
  | 'maxAnswerMs'
  | 'maxCalls'
  | 'maxDurationMs'
  | 'onShortNoise'
  | 'tenant'
  | 'voice'
  | 'windowMs'
> {
  /** `undefined`: the simulated realtime model. */
  readonly model: Cascade | RealtimeModel | undefined;
  /** `undefined`: nothing is signed, and only a carrier's double on this machine calls. */
  readonly line: SignedLine | undefined;
  readonly tools: readonly VoiceTool[];
  /** A file that is heard while a tool works. */
  readonly filler: { readonly bytes: Uint8Array; readonly isWav: boolean } | undefined;
}

/** Each call of an offline cascade is a process of 100 MB that takes a fifth of a core while its caller speaks. */
const maxOfflineCalls = 8;

/** The variable of Twilio's own tools. */
export const defaultTokenVariable = 'TWILIO_AUTH_TOKEN';

/**
 * The settings of calls, with their secrets; `undefined`: none are configured.
 *
 * @throws {ConfigError}
 */
export function readVoice(
  { tap: taps, voice }: Pick<Config, 'tap' | 'voice'>,
  {
    env,
    models,
    needsKey,
    providers,
  }: {
    /** Whether clients need a key. */
    readonly needsKey: boolean;
    readonly env: Environment;
    /** Empty: simulated models are served. */
    readonly providers: readonly Provider[];
    readonly models: readonly ModelAlias[];
  },
): VoiceSettings | undefined {
  if (voice === undefined) return undefined;
  const model =
    voice.cascade === undefined
      ? readModel(voice, providers)
      : readCascade(voice.cascade, voice, { env, models, providers });
  const line = readLine(voice, env);
  const isFree = model === undefined || (model.api === 'cascade' && isOffline(model, providers));
  // A gateway beyond loopback has keys of clients.
  if (line === undefined && (!isFree || needsKey)) {
    throw new ConfigError(
      `voice.authTokenEnv: expected the auth token of the account in the environment variable ${defaultTokenVariable}, or in the one or the file ` +
        'that authTokenEnv or authTokenFile names, got none; calls are unsigned only with model: simulated, or with a cascade of this machine alone, on loopback and without keys of clients',
    );
  }
  if (line === undefined && voice.tenant !== undefined) {
    throw new ConfigError(
      `voice.tenant: expected publicUrl and the auth token of the account beside it, because only a call that its webhook has announced is held against limits, got calls that are unsigned`,
    );
  }
  refuseGate(taps, model, voice.tenant);
  return {
    ...ofConfig(voice),
    model,
    line,
    instructions: readInstructions(voice),
    tools: readTools(voice, env),
    filler: readFiller(voice),
  };
}

/** What taps and the console call the model of calls. Of a cascade it is the model of text. */
export function namesOf(model: VoiceSettings['model']): {
  readonly model: string;
  readonly provider: string;
} {
  if (model === undefined) return { provider: 'simulated', model: 'simulated' };
  if (model.api !== 'cascade') return { provider: model.provider.name, model: model.name };
  const at = model.reason.indexOf('/');
  // A name of the operator's own has no provider.
  return { provider: at === -1 ? 'cascade' : model.reason.slice(0, at), model: model.reason.slice(at + 1) };
}

/** Speech cannot wait until it is kept, so that a tap with a gate would end each call. */
function refuseGate(taps: Config['tap'], model: VoiceSettings['model'], tenant = ''): void {
  const names = namesOf(model);
  const gate = taps.find((tap) => tap.gate && wants(tap, { ...names, caller: '', tenant }));
  if (gate === undefined) return;
  throw new ConfigError(
    `tap.${gate.name}: expected providers, models, tenants or callers that leave out the calls of voice (${names.provider}/${names.model}, without a caller) beside gate: true, ` +
      'because speech cannot wait until it is kept, got filters that let them in; a tap of their own without a gate writes calls down',
  );
}

/** The settings of calls where none are configured: with the simulated model or an offline cascade, unsigned. */
export function unconfiguredVoice(model?: Cascade): VoiceSettings {
  const { maxCalls, ...settings } = ofConfig(simulatedVoice());
  return {
    ...settings,
    maxCalls: model === undefined ? maxCalls : maxOfflineCalls,
    model,
    line: undefined,
    tools: [],
    filler: undefined,
  };
}

function ofConfig({
  failureDial,
  failureSay,
  greeting,
  instructions,
  language,
  maxAnswerMs,
  maxCalls,
  maxDurationMs,
  onShortNoise,
  tenant,
  voice,
  windowMs,
}: VoiceConfig): Omit<VoiceSettings, 'filler' | 'line' | 'model' | 'tools'> {
  return {
    failureDial,
    failureSay,
    greeting,
    instructions,
    language,
    maxAnswerMs,
    maxCalls,
    maxDurationMs,
    onShortNoise,
    tenant,
    voice,
    windowMs,
  };
}

function readModel(
  { model = 'simulated', onShortNoise }: VoiceConfig,
  providers: readonly Provider[],
): RealtimeModel | undefined {
  if (model === 'simulated') return undefined;
  const at = model.indexOf('/');
  const [owner, name] = [model.slice(0, at), model.slice(at + 1)];
  const named = providers.filter((provider) => provider.name === owner);
  for (const api of realtimeApis) {
    const provider = named.find((each) => each.api === api);
    if (provider === undefined) continue;
    const { transport } = provider;
    if (transport?.proxy !== undefined || transport?.secureContext !== undefined)
      throw new ConfigError(
        `voice.model: expected a provider without proxy, caFile and certFile, which calls do not obey, got ${owner}`,
      );
    if (api === 'gemini') checkGemini(name, onShortNoise);
    return { api, provider, name };
  }
  const known = providers
    .filter(({ api }) => realtimeApis.some((each) => each === api))
    .map((provider) => provider.name);
  throw new ConfigError(
    `voice.model: expected simulated, or the name of a provider with the API ${realtimeApis.join(' or ')} before the slash ` +
      `(${known.length === 0 ? 'there is none: set OPENAI_API_KEY, GEMINI_API_KEY or upstream' : [...new Set(known)].join(', ')}), got ${JSON.stringify(owner)}`,
  );
}

/** @throws {ConfigError} for what Gemini's API has not. */
function checkGemini(name: string, onShortNoise: VoiceConfig['onShortNoise']): void {
  if (!/^(?:models\/)?[\w.-]+$/.test(name))
    throw new ConfigError(
      `voice.model: expected the name of a model behind the slash, as gemini/gemini-3.1-flash-live-preview, got ${JSON.stringify(name)}`,
    );
  if (onShortNoise === 'resume')
    throw new ConfigError(
      'voice.onShortNoise: expected drop with a model of Gemini, which answers a noise by itself, got resume',
    );
}

function readLine(
  { authTokenEnv, authTokenFile, publicUrl }: VoiceConfig,
  env: Environment,
): SignedLine | undefined {
  const isDefault = (authTokenEnv ?? authTokenFile) === undefined;
  const authToken = isDefault
    ? defaultSecret(defaultTokenVariable, 'token', 'voice', env)
    : readSecret(
        {
          owner: 'voice',
          kind: 'token',
          variable: authTokenEnv,
          variableSetting: 'authTokenEnv',
          path: authTokenFile,
          fileSetting: 'authTokenFile',
        },
        env,
      );
  if (authToken !== undefined && publicUrl !== undefined) return { authToken, publicUrl };
  if (authToken !== undefined)
    throw new ConfigError(
      'voice.publicUrl: expected the URL at which the carrier reaches the gateway, because it signs its requests for it, got nothing',
    );
  if (publicUrl !== undefined)
    throw new ConfigError(
      `voice.publicUrl: expected the auth token of the account beside it (${defaultTokenVariable}, authTokenEnv or authTokenFile), got none: ` +
        'whoever knows the URL could call',
    );
  return undefined;
}

function readInstructions({ instructions, instructionsFile }: VoiceConfig): string | undefined {
  if (instructionsFile === undefined) return instructions;
  const text = readSettingFile('voice.instructionsFile', instructionsFile).trim();
  if (text === '' || text.length > maxInstructionChars)
    throw new ConfigError(
      `voice.instructionsFile: expected a file with a text of at most ${maxInstructionChars} characters, got ${text === '' ? 'nothing' : text.length}`,
    );
  return text;
}

function readFiller({ fillerFile }: VoiceConfig): VoiceSettings['filler'] {
  if (fillerFile === undefined) return undefined;
  const bytes = readSettingBytes('voice.fillerFile', fillerFile);
  return { bytes, isWav: /\.wav$/i.test(fillerFile) };
}

function readTools({ tools }: VoiceConfig, env: Environment): VoiceTool[] {
  return tools.map(
    ({
      apiKeyEnv,
      apiKeyFile,
      deadlineMs,
      description,
      fallback,
      headers,
      keyHeader,
      name,
      parameters,
      url,
    }) => {
      const key = readApiKey(`voice.tools ${name}`, { apiKeyEnv, apiKeyFile }, env);
      const own: Readonly<Record<string, string>> =
        key === undefined ? {} : { [keyHeader]: keyHeader === 'authorization' ? `Bearer ${key}` : key };
      return { deadlineMs, description, fallback, name, parameters, url, headers: { ...headers, ...own } };
    },
  );
}
