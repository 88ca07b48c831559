import type { Provider } from './config/load.ts';
import { GatewayError } from './errors.ts';
import { HeldBody } from './held-body.ts';
import { ReceivedBody } from './http/received-body.ts';
import { readRequestBody, type RequestBody, tryRequestBody } from './request-body.ts';
import type { Route } from './route.ts';
import type { Method } from './source/reply.ts';

/** A request as it goes to a provider. */
export interface RelayRequest {
  readonly route: Route;
  readonly method: Method;
  readonly provider: Provider;
  /** The model as the client named it, for logs. */
  readonly model: string | undefined;
  readonly wantsEvents: boolean;
  /** The client's path, unless a model's prefix had to go. */
  readonly path: string;
  /** The client's own bytes, less a model's prefix that had to go. */
  readonly body: HeldBody;
}

/**
 * A model in a path: `models/provider/model`, with the slash percent-encoded or not. The AI SDK leaves
 * `models/` out for names with a slash: those are told by the action behind them.
 */
const modelPath =
  /^(?<version>\/v1\w*)\/(?:models(?:\/|%2F)(?<name>[\w.-]+)|(?<bareName>[\w.-]+)(?=.*:\w+$))(?:\/|%2F)(?<rest>.+)$/i;

/**
 * Reads a request as far as it is needed: which provider, and whether events are wanted.
 *
 * @throws {GatewayError} `not_found`, `invalid_request` or `unsupported_media_type`
 */
export function readRelayRequest(
  route: Route,
  method: Method,
  contentType: string | undefined,
  bytes: Buffer | ReceivedBody | null,
  providers: readonly Provider[],
): RelayRequest {
  const received = Buffer.isBuffer(bytes) ? ReceivedBody.whole(bytes) : bytes;
  const candidates = providers.filter(({ api }) => api === route.api);
  const [fallback] = candidates;
  if (fallback === undefined) {
    throw new GatewayError(
      'not_found',
      `No provider with the API of ${route.path} (${route.api}) is configured.`,
    );
  }
  const named = readPath(route.path, candidates);
  const body = readBody(route, contentType, received);
  const slash = body?.model.indexOf('/') ?? -1;
  const prefixed = candidates.find(({ name }) => slash !== -1 && name === body?.model.slice(0, slash));
  return {
    route,
    method,
    provider: named?.provider ?? prefixed ?? fallback,
    model: body?.model ?? modelIn(route),
    wantsEvents: route.wantsEvents ?? body?.stream === true,
    path: named?.path ?? route.path,
    body: new HeldBody(
      body === undefined || prefixed === undefined
        ? (received?.parts() ?? [])
        : body.withModel(body.model.slice(slash + 1)),
    ),
  };
}

/** The body, where it may name a model: Gemini's paths do. */
function readBody(
  { api, format }: Route,
  contentType: string | undefined,
  body: ReceivedBody | null,
): RequestBody | undefined {
  if (api === 'gemini') return undefined;
  const isJson = /^application\/json\s*(?:;|$)/i.test(contentType ?? '');
  if (format === undefined) return isJson ? tryRequestBody(body) : undefined;
  if (body !== null && !isJson) {
    throw new GatewayError('unsupported_media_type', 'The content type: expected application/json.');
  }
  return readRequestBody(body);
}

/** The provider that a path names, and the path without its name. */
function readPath(
  path: string,
  candidates: readonly Provider[],
): { readonly provider: Provider; readonly path: string } | undefined {
  const { version = '', name, bareName, rest = '' } = modelPath.exec(path)?.groups ?? {};
  const provider = candidates.find((candidate) => candidate.name === (name ?? bareName));
  if (provider === undefined) return undefined;
  // Gemini's names may bring a folder of their own, as tunedModels/….
  const folder = provider.api === 'gemini' && /^\w+\//.test(rest) ? '' : 'models/';
  return { provider, path: `${version}/${folder}${rest}` };
}

/** The model in a path, for logs. */
function modelIn({ path }: Route): string | undefined {
  return /^\/v1\w*\/(?:models\/)?(.+):\w+$/.exec(path)?.[1];
}
