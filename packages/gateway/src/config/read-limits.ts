import type { ApiKey } from './api-key.ts';
import { readDay, readMoney, readNameSource, readRate, type WrittenLimits } from './limit-values.ts';
import type { LimitSettings, NameSource, Price, ScopeLimits, SpeechPrice, TenantLimits } from './limits.ts';
import type { PriceSettings } from './price.ts';
import type { Config } from './schema.ts';
import { readSecret } from './secret.ts';
import type { ConfigSources } from './sources.ts';
import type { TenantSettings } from './tenant.ts';

/**
 * The password of the store of limits; `undefined`: none is named.
 *
 * @throws {ConfigError} for one that is named and not there.
 */
export function readStorePassword(config: Config, env: ConfigSources['env']): string | undefined {
  return readSecret(
    {
      owner: 'limitStore',
      kind: 'word',
      variable: config.limitStorePasswordEnv,
      variableSetting: 'limitStorePasswordEnv',
      path: config.limitStorePasswordFile,
      fileSetting: 'limitStorePasswordFile',
    },
    env,
  );
}

/** What the settings say of limits; `undefined`: no tenant, no key and no model has a word of them. */
export function readLimits(
  config: Config,
  apiKeys: readonly ApiKey[],
  storePassword: string | undefined,
): LimitSettings | undefined {
  const { currency, limitStore, maxUsers, minAnswerTokens, price, tenant, whenLimitStoreFails } = config;
  const keys = new Map(apiKeys.flatMap(({ limits, name }) => (limits === undefined ? [] : [[name, limits]])));
  if (tenant.length === 0 && price.length === 0 && keys.size === 0) return undefined;
  const tenants = new Map(tenant.map((entry) => [entry.name, tenantLimits(entry)]));
  const others = tenants.get('*');
  tenants.delete('*');
  return {
    tenants,
    others,
    keys,
    callers: [...new Set(apiKeys.map((key) => key.tenant))],
    minAnswerTokens,
    userFrom: sourcesOf(config.userFrom),
    sessionFrom: sourcesOf(config.sessionFrom),
    maxUsers,
    prices: inOrder(price.flatMap(tokenPrice)),
    speechPrices: inOrder(price.flatMap(speechPrice)),
    currency,
    store: limitStore,
    storePassword,
    whenStoreFails: whenLimitStoreFails,
  };
}

/** The limits of a scope, with their texts read. Absent ones are left out. */
export function scopeLimits(written: WrittenLimits): ScopeLimits {
  const { costPerDay, costPerMonth, requests, streams } = written;
  const { tokensPerDay, tokensPerMinute, tokensPerMonth, tokensPerSecond } = written;
  return present({
    requests: requests === undefined ? undefined : readRate(requests),
    streams,
    tokensPerMinute,
    tokensPerDay,
    tokensPerMonth,
    costPerDay: costPerDay === undefined ? undefined : readMoney(costPerDay),
    costPerMonth: costPerMonth === undefined ? undefined : readMoney(costPerMonth),
    tokensPerSecond,
  });
}

function tenantLimits(entry: TenantSettings): TenantLimits {
  const { userRequests, userStreams, userTokensPerDay, userTokensPerSecond } = entry;
  return {
    ...scopeLimits(entry),
    models: entry.models,
    priority: entry.priority,
    answer: present({
      tokens: entry.answerTokens,
      ms: entry.answerMs,
      tokensPerSecond: entry.answerTokensPerSecond,
    }),
    user: present({
      requests: userRequests === undefined ? undefined : readRate(userRequests),
      streams: userStreams,
      tokensPerDay: userTokensPerDay,
      tokensPerSecond: userTokensPerSecond,
    }),
    session: present({ tokens: entry.sessionTokens }),
  };
}

function sourcesOf(texts: readonly string[]): NameSource[] {
  return texts.flatMap((text) => readNameSource(text) ?? []);
}

/** As they were written, but the rows of one model stand where its first one does, the newest before the others. */
function inOrder<Row extends Pick<Price, 'model' | 'sinceMs'>>(rows: readonly Row[]): Row[] {
  const models = [...new Set(rows.map(({ model }) => model))];
  return models.flatMap((model) =>
    rows.filter((price) => price.model === model).toSorted((one, other) => other.sinceMs - one.sinceMs),
  );
}

/** A row's price of tokens, if it has one. */
function tokenPrice({ input, model, output, since }: PriceSettings): Price[] {
  if (input === undefined || output === undefined) return [];
  return [{ model, sinceMs: sinceOf(since), input: readMoney(input) ?? 0, output: readMoney(output) ?? 0 }];
}

/** A row's price of speech, if it has one. */
function speechPrice({ characters, minute, model, since }: PriceSettings): SpeechPrice[] {
  if (characters === undefined && minute === undefined) return [];
  const read = (amount: string | undefined): number | undefined =>
    amount === undefined ? undefined : readMoney(amount);
  return [{ model, sinceMs: sinceOf(since), characters: read(characters), minute: read(minute) }];
}

function sinceOf(since: string | undefined): number {
  return (since === undefined ? undefined : readDay(since)) ?? 0;
}

/** An object without the members that are `undefined`. */
function present<Limits extends object>(limits: Limits): Limits {
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined)) as Limits;
}
