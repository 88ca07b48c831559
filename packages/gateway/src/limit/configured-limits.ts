import type { LimitScope } from '@spillway/server/limit/limit-error';
import type { LimitSettings, ScopeLimits, TenantLimits } from '../config/limits.ts';
import { keysOf } from './configured-scopes.ts';
import { rateText } from './rate-words.ts';

/** A limit of which nothing is used up over time, or not by the tenant as a whole: it is shown as it is configured. */
export interface ConfiguredLimit {
  /** Whose it is: of each answer, each end user, each conversation, or the tenant or key (its pace, models, priority). */
  readonly scope: LimitScope;
  /** The key that it belongs to; empty: it is one of the tenant. */
  readonly key: string;
  /** Its setting, such as `answerTokens`. */
  readonly name: string;
  /** In the unit of its setting; as text where the setting is one. */
  readonly value: number | string;
}

/** What a tenant, and one of its keys or all of them, may use beside what is counted for them. */
export function configuredLimits(
  settings: LimitSettings,
  tenant: string,
  key: string | undefined,
): ConfiguredLimit[] {
  const limits = settings.tenants.get(tenant) ?? settings.others;
  const ofKeys = keysOf(settings, tenant, key).flatMap(([name, own]) =>
    present('key', name, { tokensPerSecond: own.tokensPerSecond }),
  );
  return [...(limits === undefined ? [] : ofTenant(limits)), ...ofKeys];
}

function ofTenant({
  answer,
  models,
  priority,
  session,
  tokensPerSecond,
  user,
}: TenantLimits): ConfiguredLimit[] {
  return [
    ...present('tenant', '', {
      models: models?.join(', '),
      priority: priority === 'normal' ? undefined : priority,
      tokensPerSecond,
    }),
    ...present('answer', '', {
      answerTokens: answer.tokens,
      answerMs: answer.ms,
      answerTokensPerSecond: answer.tokensPerSecond,
    }),
    ...present('user', '', ofUser(user)),
    ...present('session', '', { sessionTokens: session.tokens }),
  ];
}

function ofUser({ requests, streams, tokensPerDay, tokensPerSecond }: ScopeLimits): Values {
  return {
    userRequests: requests && rateText(requests),
    userStreams: streams,
    userTokensPerDay: tokensPerDay,
    userTokensPerSecond: tokensPerSecond,
  };
}

type Values = Readonly<Record<string, number | string | undefined>>;

function present(scope: LimitScope, key: string, values: Values): ConfiguredLimit[] {
  return Object.entries(values).flatMap(([name, value]) =>
    value === undefined ? [] : [{ scope, key, name, value }],
  );
}
