/** What requests of one scope may use together: of a tenant, of a key, of an end user. Absent: no limit. */
export interface ScopeLimits {
  /** Requests: a token bucket. */
  readonly requests?: { readonly perSecond: number; readonly burst: number } | undefined;
  /** Streams at once. */
  readonly streams?: number | undefined;
  /** Tokens of prompts and answers together, by UTC. */
  readonly tokensPerMinute?: number | undefined;
  readonly tokensPerDay?: number | undefined;
  readonly tokensPerMonth?: number | undefined;
  /** What tokens cost by the table of prices, in millionths of its currency, by UTC. */
  readonly costPerDay?: number | undefined;
  readonly costPerMonth?: number | undefined;
  /** The pace of all streams of the scope together, in tokens of answers: they are slowed, and none is refused. */
  readonly tokensPerSecond?: number | undefined;
}

/** What one answer may have. Absent: no limit. */
interface AnswerLimits {
  readonly tokens?: number | undefined;
  /** From the request on, in milliseconds. */
  readonly ms?: number | undefined;
  /** The pace of each stream, in tokens of the answer. */
  readonly tokensPerSecond?: number | undefined;
}

/** What one conversation may use, as long as it goes on. Absent: no limit. */
export interface SessionLimits {
  /** Tokens of prompts and answers together. */
  readonly tokens?: number | undefined;
}

/** A tenant's limits, and those of whoever is below it. */
export interface TenantLimits extends ScopeLimits {
  /** The models that it may use, as clients name them; `*` stands for any text. Absent: all. */
  readonly models?: readonly string[] | undefined;
  /** Who gets the next free place of maxStreams: of those that wait, the one with the highest priority. */
  readonly priority: 'high' | 'low' | 'normal';
  readonly answer: AnswerLimits;
  readonly user: ScopeLimits;
  readonly session: SessionLimits;
}

/** What a model costs from a day on, in millionths of the currency for a million tokens. */
export interface Price {
  /** The model as clients name it; `*` stands for any text. */
  readonly model: string;
  /** Since when, in milliseconds since 1970; 0: always. */
  readonly sinceMs: number;
  readonly input: number;
  readonly output: number;
}

/** What a stage of a cascade costs from a day on, in millionths of the currency. */
export interface SpeechPrice extends Pick<Price, 'model' | 'sinceMs'> {
  /** A minute of what callers say, of a recogniser; `undefined`: the row says nothing of that. */
  readonly minute: number | undefined;
  /** A million characters that are spoken, of a speaker. */
  readonly characters: number | undefined;
}

/** Where a request may name somebody. */
export type NameSource =
  /** A header, in lower case. */
  | { readonly kind: 'header'; readonly name: string }
  /** A member of the JSON body, by the names on the way to it. */
  | { readonly kind: 'body'; readonly path: readonly string[] };

/** All limits, and what they are counted with. `undefined` in the settings: nobody has any. */
export interface LimitSettings {
  /** By the tenant's name. */
  readonly tenants: ReadonlyMap<string, TenantLimits>;
  /** The limits of whoever has no entry of its own (`name=*`); `undefined`: none. */
  readonly others: TenantLimits | undefined;
  /** The limits of single keys, beside those of their tenant, by the key's name (`TENANT/NAME`). */
  readonly keys: ReadonlyMap<string, ScopeLimits>;
  /** The tenants that keys of clients belong to. */
  readonly callers: readonly string[];
  /** A request starts when at least so many tokens are left. */
  readonly minAnswerTokens: number;
  /** Where an end user and a conversation are named: the first that has a name counts. */
  readonly userFrom: readonly NameSource[];
  readonly sessionFrom: readonly NameSource[];
  /** The end users and conversations that are known at once; beyond that the least recent is forgotten. */
  readonly maxUsers: number;
  /** The first that fits a model and has begun counts. Rows of one `model` stand the newest first. */
  readonly prices: readonly Price[];
  /** The same for the stages of cascades. */
  readonly speechPrices: readonly SpeechPrice[];
  /** The currency of the prices, such as `USD`; only shown. */
  readonly currency: string;
  /** Where limits are kept: `file:PATH`, or the URL of a Redis without a password; `undefined`: in this process. */
  readonly store: string | undefined;
  /** The password of the Redis; `undefined`: it needs none. A secret. */
  readonly storePassword: string | undefined;
  /** What happens to requests while the store is away: `closed` refuses them, `open` lets them run uncounted. */
  readonly whenStoreFails: 'closed' | 'open';
}
