import { nearest } from '@spillway/core/nearest';
import { ConfigError } from './config-error.ts';
import type { PressureRule } from './pressure-rule.ts';
import type { Provider } from './provider.ts';
import type { ModelAlias, ModelTarget } from './read-models.ts';

/** The APIs whose bodies name the model, so that another one can be put there. */
const apisOfRules = ['openai', 'anthropic'] as const;

/** The name of the providers that serve simulated models, where there is no other. */
const simulated = 'simulated';

/** What a rule's model may be. */
interface Known {
  readonly models: readonly ModelAlias[];
  readonly providers: readonly Provider[];
}

/**
 * The models that a rule's `model` names, with their providers: all that one of them may answer with. Without a provider's
 * name it is a model of the first one of each API. Empty: there is no such model.
 */
export function pressureTargets(model: string, { models, providers }: Known): readonly ModelTarget[] {
  return apisOfRules.flatMap((api): readonly ModelTarget[] => {
    const own = models
      .find(({ name }) => name === model)
      ?.targets.filter(({ provider }) => provider.api === api);
    if (own !== undefined && own.length > 0) return own;
    const candidates = providers.filter((provider) => provider.api === api);
    const slash = model.indexOf('/');
    const provider =
      slash === -1 ? candidates[0] : candidates.find(({ name }) => name === model.slice(0, slash));
    return provider === undefined ? [] : [{ provider, model: model.slice(slash + 1), weight: 1 }];
  });
}

/**
 * Checks which models answer instead of others. `needsKey`: whether clients have keys of the gateway, which no provider gets.
 *
 * @throws {ConfigError} for a model of no provider, and for one whose provider would be sent another one's key.
 */
export function checkPressure(rules: readonly PressureRule[], known: Known, needsKey: boolean): void {
  for (const { level, model, models } of rules) {
    if (model === undefined) continue;
    const key = `pressure.${level}.model`;
    const targets = pressureTargets(model, known);
    if (targets.length === 0 && !isSimulated(model, known)) throw noSuchModel(key, model, known);
    const needy = targets.find(({ provider }) => needsOther(provider, known));
    if (needy === undefined || needsKey) continue;
    const { name } = needy.provider;
    if (models?.every((pattern) => pattern.startsWith(`${name}/`)) === true) continue;
    throw new ConfigError(
      `${key}: expected a key (apiKeyEnv or apiKeyFile) of the provider ${name}, keys for clients, or "models" of that ` +
        `provider alone (${name}/…), got none of them; the key that a client sends to another provider would go to it`,
    );
  }
}

/** Whether a provider gets the keys of clients, who may have meant them for another one of its API. */
function needsOther(provider: Provider, { providers }: Known): boolean {
  return (
    provider.apiKey === undefined &&
    providers.some((other) => other !== provider && other.api === provider.api)
  );
}

function isSimulated(model: string, { providers }: Known): boolean {
  return providers.length === 0 && (!model.includes('/') || model.startsWith(`${simulated}/`));
}

function noSuchModel(key: string, model: string, { models, providers }: Known): ConfigError {
  const names = models.map(({ name }) => name);
  const able = providers.filter(({ api }) => apisOfRules.some((known) => known === api));
  const prefixes = [...new Set(able.map(({ name }) => name))];
  const [before = '', ...rest] = model.split('/');
  const near =
    nearest(model, names) ??
    (rest.length === 0 ? undefined : nearest(before, prefixes)?.concat('/', rest.join('/')));
  return new ConfigError(
    `${key}: expected a name of your own (model), or a model of a provider with OpenAI's or Anthropic's API ` +
      `(${prefixes.length === 0 ? 'there is none' : prefixes.join(', ')}), got ${JSON.stringify(model)}` +
      (near === undefined ? '' : `; did you mean ${near}?`),
  );
}
