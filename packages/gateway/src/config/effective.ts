import type { Setting } from '@spillway/server/console/snapshot';
import { apis } from '../api.ts';
import { needsClientKey, type Settings } from './load.ts';
import { shownPlace } from './engine-url.ts';
import { fileVariable } from './provider.ts';
import { type Config, configOptions } from './schema.ts';
import { voicePath } from '../voice/voice-path.ts';
import type { ModelSettings } from './model.ts';
import type { PressureRule } from './pressure-rule.ts';
import type { PriceSettings } from './price.ts';
import type { TapSettings } from './tap.ts';
import type { TenantSettings } from './tenant.ts';
import { writeQuantity, writeValue } from './units.ts';
import { shownUrl } from './shown-url.ts';
import { shownVariable } from './values.ts';
import type { VoiceConfig } from './voice.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** The settings that are in force, for people. No secret is in them. */
export function effectiveSettings(settings: Settings, env: Environment): readonly Setting[] {
  const { config, origins } = settings;
  return configOptions.map(({ description, key, range }) => {
    const value = textOf(settings, env, key) ?? shownValue(config, key);
    const text = Array.isArray(value) ? value.join(', ') : writeValue(value ?? '', range);
    return { key, value: text, from: origins.get(key) ?? 'default', description };
  });
}

/** The text of a setting whose entries are objects. */
function textOf(settings: Settings, env: Environment, key: keyof Config): string | undefined {
  if (key === 'upstream') return providersText(settings, env);
  if (key === 'tap') return settings.config.tap.map(tapText).join('\n');
  if (key === 'tenant') return settings.config.tenant.map(tenantText).join('\n');
  if (key === 'model') return settings.config.model.map(modelText).join('\n');
  if (key === 'price') return settings.config.price.map(priceText).join('\n');
  if (key === 'pressure') return settings.config.pressure.map(ruleText).join('\n');
  const { voice } = settings.config;
  return key === 'voice' && voice !== undefined ? voiceText(voice) : undefined;
}

/** Calls in a line: who answers, and where a carrier asks. */
export function voiceText({ cascade, maxCalls, model, publicUrl, tools }: VoiceConfig): string {
  const answers =
    cascade === undefined ? model : `${cascade.recognise.model}, ${cascade.reason}, ${cascade.speak.model}`;
  const where = publicUrl === undefined ? 'unsigned, for this machine' : `${publicUrl}${voicePath}`;
  const named = tools.length === 0 ? [] : [`tools: ${tools.map(({ name }) => name).join(', ')}`];
  return `${answers ?? ''}   ${where}   ${[`at most ${maxCalls} calls`, ...named].join(', ')}`;
}

/** A tap in a line: where it writes, and the keys that say what clients and auditors may expect of it. */
export function tapText({ content, gate, lossless, name, request, spill, to }: TapSettings): string {
  const flags = Object.entries({ request, gate, lossless }).flatMap(([key, isSet]) => (isSet ? [key] : []));
  const spilled = spill === undefined ? [] : [`spill: ${spill}`];
  return `${name}   ${shownPlace(to)}   ${[`content: ${content}`, ...flags, ...spilled].join(', ')}`;
}

/** A tenant in a line, with all that its entry says. */
export function tenantText({ name, ...limits }: TenantSettings): string {
  const words = Object.entries(limits).flatMap(([key, value]) => {
    if (value === undefined || (key === 'priority' && value === 'normal')) return [];
    const text = key === 'answerMs' ? writeQuantity(Number(value), 'ms') : [value].flat().join('+');
    return [`${key}: ${text}`];
  });
  return `${name}   ${words.join(', ') || 'no limits'}`;
}

function modelText({ budgetMs, fallback = [], name, targets }: ModelSettings): string {
  const others = fallback.length === 0 ? '' : `, then ${fallback.join(' ')}`;
  const budget = budgetMs === undefined ? '' : `, within ${writeQuantity(budgetMs, 'ms')}`;
  return `${name}   ${targets.join(' ')}${others}${budget}`;
}

function priceText({ characters, input, minute, model, output, since }: PriceSettings): string {
  const amounts = [
    input === undefined ? [] : `${input} in, ${output ?? ''} out`,
    minute === undefined ? [] : `${minute} a minute`,
    characters === undefined ? [] : `${characters} a million characters`,
  ].flat();
  return `${model}   ${amounts.join(', ')}${since === undefined ? '' : ` since ${since}`}`;
}

/** A rule of what gives way in a line. */
function ruleText({ level, ...rule }: PressureRule): string {
  const words = Object.entries(rule).map(([key, value]) => `${key}: ${[value].flat().join('+')}`);
  return `level ${level}   ${words.join(', ')}`;
}

function providersText(settings: Settings, env: Environment): string {
  const providers = shownProviders(settings, env);
  if (providers.length === 0) return 'none: simulated models';
  return providers.map(({ api, key, name, url }) => `${name} (${api}) ${url}, ${key}`).join('\n');
}

/** A provider as it is shown, with the place of its key and not the key. */
export interface ShownProvider {
  readonly name: string;
  readonly api: string;
  readonly url: string;
  readonly key: string;
}

/** The providers in force, also those that are there by a key in the environment. */
export function shownProviders(settings: Settings, env: Environment): ShownProvider[] {
  const { config, providers } = settings;
  return providers.map(({ api, name, url }, index) => {
    const { apiKeyEnv, apiKeyFile } = config.upstream[index] ?? defaultKeyOf(api, env);
    const own = needsClientKey(settings) ? 'no key' : "the client's own key";
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

/** A setting's value without what is a secret, or may be one that was put into the wrong setting. */
export function shownValue(config: Config, key: keyof Config): unknown {
  if (key === 'apiKeysEnv' || key === 'adminKeysEnv') return shownVariable(config[key]);
  if (key === 'apiKeysStorePasswordEnv' || key === 'limitStorePasswordEnv')
    return config[key] && shownVariable(config[key]);
  if (key === 'voice') return shownVoice(config);
  if (key === 'tap') return config.tap.map(shownTap);
  if (key !== 'upstream') return config[key];
  // A query may have a secret. The variables of providers' keys are set, so that their names are names.
  return config.upstream.map((upstream) => ({ ...upstream, url: shownUrl(upstream.url) }));
}

function shownTap(tap: TapSettings): TapSettings {
  const { passwordEnv, to } = tap;
  return { ...tap, to: shownPlace(to), passwordEnv: passwordEnv && shownVariable(passwordEnv) };
}

/** The query of a tool's URL may have a secret, too. */
function shownVoice({ voice }: Config): unknown {
  if (voice === undefined) return undefined;
  const { cascade, tools } = voice;
  const shown = { ...voice, tools: tools.map((tool) => ({ ...tool, url: shownUrl(tool.url) })) };
  if (cascade === undefined) return shown;
  const { recognise, speak } = cascade;
  return { ...shown, cascade: { ...cascade, recognise: shownStage(recognise), speak: shownStage(speak) } };
}

function shownStage<Stage extends { readonly url?: string | undefined }>(stage: Stage): Stage {
  return stage.url === undefined ? stage : { ...stage, url: shownUrl(stage.url) };
}
