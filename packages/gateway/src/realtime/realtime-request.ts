import type { IncomingHttpHeaders } from 'node:http';
import { GatewayError } from '@spillway/server/errors';
import { listed } from '@spillway/server/http/listed';
import type { Provider } from '../config/provider.ts';
import type { ModelTarget } from '../config/read-models.ts';
import { findRoute, type Route } from '../http/route.ts';
import type { Served } from '../config/read-models.ts';

/** What a client asks for with its upgrade request. */
export interface RealtimeRequest {
  readonly route: Route;
  readonly provider: Provider;
  /** Whether models without a provider's name belong to that provider. */
  readonly isFirstProvider: boolean;
  /** The query for the provider: the client's, without a provider's name before the model. */
  readonly query: string;
  /** The model as the client named it. */
  readonly model: string | undefined;
  /** The model as `provider` names it. */
  readonly providerModel: string | undefined;
  /** The one place where it goes, if its model is a name of the operator's own. Default: `model` at `provider`. */
  readonly targets: readonly [ModelTarget] | undefined;
  /** Whether the model begins as one with a provider's name does, and no provider has that name. */
  readonly hasUnknownPrefix: boolean;
}

/** The paths of conversations: OpenAI's, and Azure's with and without OpenAI's own below it. */
export const realtimePaths: readonly string[] = ['/v1/realtime', '/openai/realtime', '/openai/v1/realtime'];
/** How browsers send what else is in headers: they cannot set any. */
const inProtocols = {
  'openai-insecure-api-key.': (value: string) => ['authorization', `Bearer ${value}`],
  'openai-organization.': (value: string) => ['openai-organization', value],
  'openai-project.': (value: string) => ['openai-project', value],
  'openai-beta.': (value: string) => ['openai-beta', value.replace('-', '=')],
} as const satisfies Readonly<Record<string, (value: string) => readonly [string, string]>>;

/** Whether a canonical path is one of conversations. */
export function isRealtimePath(path: string): boolean {
  return realtimePaths.includes(path);
}

/**
 * The headers of an upgrade request, as a client that can set headers would have sent them: what a browser puts into
 * subprotocols is in headers, and nothing of its WebSocket is left. A header that came wins.
 */
export function plainHeaders(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const plain: IncomingHttpHeaders = {};
  for (const [name, value] of Object.entries(headers))
    if (!name.startsWith('sec-websocket-')) plain[name] = value;
  for (const protocol of listed(headers['sec-websocket-protocol'] ?? '')) {
    for (const [prefix, read] of Object.entries(inProtocols)) {
      if (!protocol.startsWith(prefix)) continue;
      const [name, value] = read(protocol.slice(prefix.length));
      if (name !== undefined) plain[name] ??= value;
    }
  }
  return plain;
}

/**
 * Reads which provider a conversation is for: the one whose name is before the model's, or the first one of the path's
 * API. Of a name of the operator's own it is one of its targets with this API, which `choose` chooses: no other one is asked
 * if that one fails.
 *
 * @throws {GatewayError} `not_found` without such a provider; `invalid_request` for several models.
 */
export function readRealtimeRequest(
  target: string,
  headers: IncomingHttpHeaders,
  { models, providers }: Served,
  choose: (targets: readonly ModelTarget[]) => ModelTarget | undefined,
): RealtimeRequest {
  const route = findRoute('GET', target, headers);
  const candidates = providers.filter(({ api }) => api === route.api);
  const [fallback] = candidates;
  if (fallback === undefined)
    throw new GatewayError(
      'not_found',
      `No provider with the API of ${route.path} (${route.api}) is configured.`,
    );
  const name = route.api === 'azure' && !route.path.startsWith('/openai/v1/') ? 'deployment' : 'model';
  const query = new URLSearchParams(route.query);
  const [model, ...others] = query.getAll(name);
  if (others.length > 0)
    throw new GatewayError('invalid_request', `${name}: expected one in the query, got several.`);
  const own = models.find((alias) => alias.name === model)?.targets;
  const chosen = own && choose(own.filter((one) => one.provider.api === route.api));
  if (chosen !== undefined) {
    query.set(name, chosen.model);
    return {
      route,
      provider: chosen.provider,
      isFirstProvider: true,
      query: query.toString(),
      model,
      providerModel: chosen.model,
      targets: [chosen],
      hasUnknownPrefix: false,
    };
  }
  const slash = model?.indexOf('/') ?? -1;
  const prefixed = candidates.find((one) => slash > 0 && one.name === model?.slice(0, slash));
  const providerModel = prefixed === undefined ? model : model?.slice(slash + 1);
  // Without a change, the client's own spelling goes on.
  if (prefixed !== undefined) query.set(name, providerModel ?? '');
  return {
    route,
    provider: prefixed ?? fallback,
    isFirstProvider: (prefixed ?? fallback) === fallback,
    query: prefixed === undefined ? route.query : query.toString(),
    model,
    providerModel,
    targets: undefined,
    hasUnknownPrefix: prefixed === undefined && candidates.length > 1 && slash > 0,
  };
}
