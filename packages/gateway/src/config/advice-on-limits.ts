import { fitsAny } from './glob.ts';
import { modelNames } from '../limit/model-names.ts';
import type { Price, TenantLimits } from './limits.ts';
import type { Settings } from './load.ts';
import type { ModelAlias } from './read-models.ts';

/** What {@link adviceOnLimits} gives: a part of `Advice`. */
interface LimitAdvice {
  readonly code: 'limit_never_met' | 'limit_uncounted' | 'limit_unpriced' | 'limit_unused';
  readonly message: string;
}

/** Everything about limits that is valid and may not be meant. */
export function adviceOnLimits(settings: Settings): LimitAdvice[] {
  return [
    ...uncounted(settings),
    ...unpriced(settings),
    ...unusedTenants(settings),
    ...unknownCaller(settings),
    ...unusedPrices(settings),
    ...unnamedUsers(settings),
    ...starvedKeys(settings),
    ...starvedCosts(settings),
    ...unusedStore(settings),
  ];
}

/** Providers whose answers have no format that the gateway knows, where somebody has limits of what is in them. */
function uncounted({ limits, providers }: Settings): LimitAdvice[] {
  const names = providers.filter(({ api }) => api === 'ollama').map(({ name }) => name);
  const { keys, others, tenants } = limits ?? {};
  const all = [
    ...(tenants?.values() ?? []),
    ...(keys?.values() ?? []),
    ...(others === undefined ? [] : [others]),
  ];
  if (names.length === 0 || !all.some(countsAnswers)) return [];
  const message = `Tokens of answers of Ollama's own API are not counted (${names.join(', ')}): limits of tokens and money count its prompts alone there, answerTokens and paces do not hold, and requests, streams and answerMs do. Ollama's /v1 is counted: an upstream with api openai.`;
  return [{ code: 'limit_uncounted', message }];
}

function countsAnswers(limits: Partial<TenantLimits>): boolean {
  const { answer = {}, session = {}, user = {} } = limits;
  return (
    [limits, user].some(
      ({ costPerDay, costPerMonth, tokensPerDay, tokensPerMinute, tokensPerMonth, tokensPerSecond }) =>
        (costPerDay ??
          costPerMonth ??
          tokensPerDay ??
          tokensPerMinute ??
          tokensPerMonth ??
          tokensPerSecond) !== undefined,
    ) || (answer.tokens ?? answer.tokensPerSecond ?? session.tokens) !== undefined
  );
}

/** Costs that nobody can count, so that the models are refused. */
function unpriced({ config: { price, tenant }, limits, models: own }: Settings): LimitAdvice[] {
  const costly = [
    ...tenant.map((entry) => ({ ...entry, what: `the tenant ${entry.name}` })),
    ...[...(limits?.keys ?? [])].map(([name, entry]) => ({
      ...entry,
      models: undefined,
      what: `the key ${name}`,
    })),
  ].filter(({ costPerDay, costPerMonth }) => (costPerDay ?? costPerMonth) !== undefined);
  return costly.flatMap(({ models, what }): LimitAdvice[] => {
    if (price.length === 0) {
      return [
        {
          code: 'limit_unpriced',
          message: `The limit of cost of ${what} refuses every model: there is no price (price).`,
        },
      ];
    }
    const names = own.filter(({ name }) => models === undefined || fitsAny(models, name));
    const targets = names.flatMap((alias) => unpricedTargets(alias, price));
    // Of patterns, only that a price is written alike can be told.
    const others = models?.filter((model) => !own.some(({ name }) => name === model)) ?? [];
    const without = [
      ...others.filter((model) => !price.some((row) => fitsAny([row.model], model))),
      ...targets,
    ];
    if (without.length === 0) return [];
    const message = `Of the models of ${what}, ${without.join(', ')} may have no price (price): such models are refused.`;
    return [{ code: 'limit_unpriced', message }];
  });
}

/** The targets of a name of the operator's own that have no price, where it has none itself, in words. */
function unpricedTargets(
  { name, targets }: ModelAlias,
  price: readonly Pick<Price, 'model'>[],
): readonly string[] {
  const hasPrice = (names: readonly string[]): boolean =>
    price.some(({ model }) => names.some((each) => fitsAny([model], each)));
  if (hasPrice([name])) return [];
  const without = targets.filter(({ model, provider }) => !hasPrice(modelNames(model, provider.name)));
  return [...new Set(without.map(({ model, provider }) => `${name} (by ${provider.name}/${model})`))];
}

/** Entries of tenants that no key belongs to: most are misspelt. */
function unusedTenants({ apiKeys, config: { tenant, voice }, keyStore }: Settings): LimitAdvice[] {
  // Whose keys are in the store is not known here.
  if (keyStore !== undefined) return [];
  const names = tenant.map(({ name }) => name).filter((name) => name !== '*');
  const unused = names.filter(
    (name) => voice?.tenant !== name && !apiKeys.some((key) => key.tenant === name),
  );
  if (unused.length === 0) return [];
  const shown =
    unused.length > 5 ? `${unused.slice(0, 5).join(', ')} and ${unused.length - 5} more` : unused.join(', ');
  const why =
    apiKeys.length === 0
      ? 'without keys of clients all of them are one, which the limits of * are for'
      : 'no key of a client belongs to them';
  return [{ code: 'limit_unused', message: `Limits of tenants are not used (${shown}): ${why}.` }];
}

/** A tenant of calls that nothing else names: it is most likely misspelt, and other limits hold for calls than were meant. */
function unknownCaller({ apiKeys, config: { tenant, voice }, keyStore }: Settings): LimitAdvice[] {
  const name = voice?.tenant;
  if (name === undefined || keyStore !== undefined || tenant.length === 0) return [];
  if (tenant.some((entry) => entry.name === name) || apiKeys.some((key) => key.tenant === name)) return [];
  const limits = tenant.some((entry) => entry.name === '*') ? 'the limits of *' : 'no limits';
  const message = `Calls are of the tenant ${name} (voice.tenant), which has no limits of its own and no key, so they have ${limits}: a tenant of that name is expected, or another name.`;
  return [{ code: 'limit_unused', message }];
}

/** Prices behind one that fits all that they fit. */
function unusedPrices({ limits }: Settings): LimitAdvice[] {
  const prices = limits?.prices ?? [];
  return prices.flatMap((price, index): LimitAdvice[] => {
    const first = prices
      .slice(0, index)
      .find(({ model, sinceMs }) => model !== price.model && sinceMs === 0 && fitsAny([model], price.model));
    if (first === undefined) return [];
    const message = `The price of ${price.model} is not used: that of ${first.model} stands before it, and the first that fits counts.`;
    return [{ code: 'limit_unused', message }];
  });
}

/** Limits of users and conversations that no request can name. */
function unnamedUsers({ config: { sessionFrom, tenant, userFrom } }: Settings): LimitAdvice[] {
  const hasUsers = tenant.some(
    ({ userRequests, userStreams, userTokensPerDay, userTokensPerSecond }) =>
      (userRequests ?? userStreams ?? userTokensPerDay ?? userTokensPerSecond) !== undefined,
  );
  const hasSessions = tenant.some(({ sessionTokens }) => sessionTokens !== undefined);
  const cases = [
    { has: hasUsers, from: userFrom, what: 'end users', key: 'userFrom' },
    { has: hasSessions, from: sessionFrom, what: 'conversations', key: 'sessionFrom' },
  ];
  return cases
    .filter(({ from, has }) => has && from.length === 0)
    .map(({ key, what }) => ({
      code: 'limit_unused',
      message: `Limits of ${what} are not used: ${key} says nowhere that a request names them.`,
    }));
}

/** Keys under whose limits no request ever starts. A key is no reason to refuse the settings of all others. */
function starvedKeys({ limits }: Settings): LimitAdvice[] {
  if (limits === undefined) return [];
  const least = limits.minAnswerTokens;
  return [...limits.keys].flatMap(
    ([name, { tokensPerDay, tokensPerMinute, tokensPerMonth }]): LimitAdvice[] => {
      const tokens = Math.min(tokensPerDay ?? least, tokensPerMinute ?? least, tokensPerMonth ?? least);
      if (tokens >= least) return [];
      const message = `No request of the key ${name} starts: it may use ${tokens} tokens, which is less than minAnswerTokens (${least}).`;
      return [{ code: 'limit_never_met', message }];
    },
  );
}

/** Limits of cost that are less than the cheapest answer of any model that has a price. */
function starvedCosts({ limits }: Settings): LimitAdvice[] {
  if (limits === undefined) return [];
  const { currency, keys, minAnswerTokens, others, prices, tenants } = limits;
  const all = [
    ...[...tenants].map(([name, entry]) => ({ ...entry, what: `the tenant ${name}` })),
    ...(others === undefined ? [] : [{ ...others, what: 'tenants without an entry' }]),
    ...[...keys].map(([name, entry]) => ({
      ...entry,
      models: undefined,
      answer: undefined,
      what: `the key ${name}`,
    })),
  ];
  return all.flatMap(({ answer, costPerDay, costPerMonth, models, what }): LimitAdvice[] => {
    const most = Math.min(costPerDay ?? Infinity, costPerMonth ?? Infinity);
    const tokens = Math.min(minAnswerTokens, answer?.tokens ?? Infinity);
    const costs = prices
      .filter(({ model }) => models?.some((own) => fitsAny([model], own) || fitsAny([own], model)) ?? true)
      .map(({ output }) => Math.ceil((tokens * output) / millionth));
    const least = Math.min(...costs);
    if (costs.length === 0 || most >= least) return [];
    const write = (amount: number): string => `${amount / millionth} ${currency}`.trim();
    const message = `No request of ${what} for a model with a price starts: it may use ${write(most)}, and ${tokens} tokens of an answer (minAnswerTokens) cost at least ${write(least)}.`;
    return [{ code: 'limit_never_met', message }];
  });
}

/** Money is counted in millionths, and prices are for a million tokens. */
const millionth = 1_000_000;

function unusedStore({ config: { limitStore }, keyStore, limits }: Settings): LimitAdvice[] {
  // Keys in a store may have limits, and that store may be this one.
  if (limitStore === undefined || limits !== undefined || keyStore !== undefined) return [];
  const message = 'limitStore is not used: no tenant, no key and no price is configured.';
  return [{ code: 'limit_unused', message }];
}
