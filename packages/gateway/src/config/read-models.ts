import { ConfigError } from './config-error.ts';
import { type ModelSettings, readTarget } from './model.ts';
import { nearest } from '@spillway/core/nearest';
import type { Provider } from './provider.ts';

/** A model at a provider. */
export interface ModelTarget {
  readonly provider: Provider;
  /** As the provider names it. */
  readonly model: string;
  /** How often it is the first one, beside the others of the same model. 0: only where all those before it failed. */
  readonly weight: number;
}

/** What a name of a model stands for. */
export interface ModelAlias {
  readonly name: string;
  /** Those with a weight, and behind them those that are tried in turn. All of them may be of different APIs. */
  readonly targets: readonly ModelTarget[];
  /** How long an answer may take, from its request to its end; `undefined`: as long as it takes. */
  readonly budgetMs: number | undefined;
}

/** What requests may be for. */
export interface Served {
  readonly providers: readonly Provider[];
  /** Models by names of the operator's own. */
  readonly models: readonly ModelAlias[];
}

/**
 * The models that the settings name. `needsKey`: whether clients have keys of the gateway, which no provider gets.
 *
 * @throws {ConfigError} for a target whose provider is not configured, and for one that would be sent another provider's key.
 */
export function readModels(
  settings: readonly ModelSettings[],
  providers: readonly Provider[],
  needsKey: boolean,
): ModelAlias[] {
  return settings.map(({ budgetMs, fallback = [], name, targets }) => {
    const places = [
      ...targets.map((text) => ({ key: 'targets', ...readTarget(text) })),
      ...fallback.map((text) => ({ key: 'fallback', ...readTarget(text), weight: 0 })),
    ];
    const alias = {
      name,
      budgetMs,
      targets: places.flatMap(({ key, model, provider, weight }) => {
        const found = providers.filter((each) => each.name === provider);
        if (found.length === 0) throw noSuchProvider(`model.${name}.${key}`, provider, providers);
        return found.map((each) => ({ model, provider: each, weight }));
      }),
    };
    if (!needsKey) checkKeys(alias);
    return alias;
  });
}

function noSuchProvider(key: string, name: string, providers: readonly Provider[]): ConfigError {
  const known = [...new Set(providers.map((provider) => provider.name))];
  const near = nearest(name, known);
  const there = known.length === 0 ? 'there is none' : `there are ${known.join(', ')}`;
  return new ConfigError(
    `${key}: expected the name of a provider (upstream) before the slash; ${there}, got ${JSON.stringify(name)}` +
      (near === undefined ? '' : `; did you mean ${near}?`),
  );
}

/**
 * A client without a key of the gateway sends its provider's own. No other provider may get that one.
 *
 * @throws {ConfigError}
 */
function checkKeys({ name, targets }: Pick<ModelAlias, 'name' | 'targets'>): void {
  const needy = targets.find(({ provider }) => provider.apiKey === undefined);
  if (needy === undefined || targets.every(({ provider }) => provider === needy.provider)) return;
  throw new ConfigError(
    `model.${name}: expected a key (apiKeyEnv or apiKeyFile) of each provider where there are several, or keys for clients, ` +
      `got none of ${needy.provider.name}; the key that a client sends would go to another provider`,
  );
}
