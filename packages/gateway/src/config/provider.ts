import { type Api, apiNames, apis } from '../api.ts';
import { ConfigError } from './config-error.ts';
import { readTarget } from './model.ts';
import type { Config } from './schema.ts';
import { readApiKey, readSecret } from './secret.ts';
import { readTransport, type Transport } from './transport.ts';
import type { DetachPolicy, Upstream } from './upstream.ts';

/** A configured provider, with its key. */
export interface Provider {
  readonly name: string;
  readonly api: Api;
  /**
   * The base URL without a slash at the end, without a query, and without the part that its API's paths
   * contain.
   */
  readonly url: string;
  /** The start of every query to the provider, without a question mark. Default: nothing. */
  readonly query?: string | undefined;
  /** `undefined`: the client's own key for this API passes through. */
  readonly apiKey: string | undefined;
  /** The header that carries the configured key. Default: the first of `keyHeaders` of its API. */
  readonly keyHeader?: string | undefined;
  /**
   * What happens when the last reader of one of its streams has detached; `undefined`: the gateway's `detach`
   * applies.
   */
  readonly detach: DetachPolicy | undefined;
  /**
   * How long comments alone keep a stream alive, if longer than `idleTimeoutMs`; `undefined`: they do not.
   */
  readonly queueTimeoutMs?: number | undefined;
  /** The bounds of the streams that run there at once, of each model; `undefined`: there is none. */
  readonly streams?: StreamBounds | undefined;
  /** How long the first token of an answer may take; `undefined`: as long as the answer may. */
  readonly firstTokenMs?: number | undefined;
  /** How long a model of it that fails too often is not asked; `undefined`: it is always asked. */
  readonly breakMs?: number | undefined;
  /** How to connect to the provider; `undefined`: by the built-in reader of replies. */
  readonly transport?: Transport | undefined;
  /** Whether it is the gateway's own, whose streams are no client's. Default: false. */
  readonly isOwn?: boolean | undefined;
}

/** How many streams may run at a provider at once, of each model, and how many wait. */
interface StreamBounds {
  readonly max: number;
  /** The limit finds itself between this and `max`. */
  readonly min: number;
  readonly maxWaiting: number;
  readonly waitMs: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The configured providers. Without any, the default ones whose keys the environment has, as `OPENAI_API_KEY`
 * or, for a file with the key, `OPENAI_API_KEY_FILE`. None with `simulated`.
 */
export function providersOf(config: Config, env: Environment): Provider[] {
  const { simulated, upstream: upstreams } = config;
  if (simulated) return [];
  if (upstreams.length > 0) {
    const shared = sharedProviders(config);
    return upstreams.map((upstream) => ({
      name: upstream.name,
      api: upstream.api,
      url: baseUrl(upstream),
      query: new URL(upstream.url).search.slice(1) || undefined,
      keyHeader: upstream.keyHeader,
      detach: upstream.detach,
      queueTimeoutMs: upstream.queueTimeoutMs,
      transport: readTransport(upstream, env),
      streams: streamBounds(upstream),
      firstTokenMs: upstream.firstTokenMs,
      breakMs: upstream.breakMs ?? (shared.has(upstream.name) ? defaultBreakMs : undefined),
      apiKey: readApiKey(`upstream ${upstream.name}`, upstream, env),
    }));
  }
  return apiNames.flatMap((api) => {
    const { byDefault } = apis[api];
    if (byDefault === undefined) return [];
    const { keyVariable, url } = byDefault;
    const apiKey = defaultSecret(keyVariable, 'key', 'a default provider', env);
    return apiKey === undefined ? [] : [{ name: api, api, url, apiKey, detach: undefined }];
  });
}

const defaultBreakMs = 10_000;

/** The providers of models that have other targets, too: those do without one that fails. */
function sharedProviders({ model }: Config): Set<string> {
  const several = model.filter(({ fallback = [], targets }) => targets.length + fallback.length > 1);
  return new Set(
    several.flatMap(({ fallback = [], targets }) =>
      [...targets, ...fallback].map((target) => readTarget(target).provider),
    ),
  );
}

function streamBounds({ maxStreams, maxWaiting, minStreams, waitMs }: Upstream): StreamBounds | undefined {
  if (maxStreams === undefined) return undefined;
  return { max: maxStreams, min: minStreams ?? 1, maxWaiting: maxWaiting ?? 100, waitMs: waitMs ?? 5000 };
}

/** The variable with the path of a file that holds what `variable` would. Docker's images use this name. */
export function fileVariable(variable: string): string {
  return `${variable}_FILE`;
}

/**
 * A secret that is looked for where nothing says where it is: in a variable of the usual name, or in the file that the
 * variable with `_FILE` behind that name has. `user`: what needs it, for messages.
 */
export function defaultSecret(
  variable: string,
  kind: 'key' | 'token',
  user: string,
  env: Environment,
): string | undefined {
  const secret = env[variable] || undefined;
  const path = env[fileVariable(variable)] || undefined;
  if (secret !== undefined && path !== undefined) {
    throw new ConfigError(`${variable}: expected it or ${fileVariable(variable)}, got both`);
  }
  return readSecret(
    {
      owner: variable,
      kind,
      variable: secret && variable,
      variableSetting: user,
      path,
      fileSetting: fileVariable(variable),
    },
    env,
  );
}

function baseUrl({ api, url }: Upstream): string {
  const { urlTail } = apis[api];
  const { origin, pathname } = new URL(url);
  const bare = `${origin}${pathname}`.replace(/\/+$/, '');
  return urlTail !== '' && bare.endsWith(urlTail) ? bare.slice(0, -urlTail.length) : bare;
}
