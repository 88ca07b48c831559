import type { Provider } from '../config/load.ts';
import { GatewayError } from '@spillway/server/errors';
import { HeldBody } from '../memory/held-body.ts';
import type { ReceivedBody } from '../http/received-body.ts';
import { isJson, readRequestBody, type RequestBody, tryRequestBody } from '../http/request-body.ts';
import type { Route } from '../http/route.ts';
import type { Method } from '../source/reply.ts';

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
  /** Whether what is sent is free of the content coding in which it came, because a model's prefix had to go. */
  readonly isDecoded: boolean;
  /** The client's own bytes, less a model's prefix that had to go. */
  readonly body: HeldBody;
}

/** A request as it came. */
export interface IncomingRequest {
  readonly route: Route;
  readonly method: Method;
  readonly contentType: string | undefined;
  /** As it came, and as it is sent on if nothing has to change; `null`: none. */
  readonly body: ReceivedBody | null;
  /** The same without its content coding, to be read; `undefined`: it has none that can be read. */
  readonly decoded?: ReceivedBody | undefined;
}

/**
 * A model in a path: `models/provider/model`, with the slash percent-encoded or not. The AI SDK leaves
 * `models/` out for names with a slash: those are told by the action behind them.
 */
const modelPath =
  /^(?<version>\/v1\w*)\/(?:models(?:\/|%2F)(?<name>[\w.-]+)|(?<bareName>[\w.-]+)(?=.*:\w+$))(?:\/|%2F)(?<rest>.+)$/i;

/** A deployment in a path, with its provider's name in front: its SDK encodes the slash, and a bare one would begin the operation. */
const deploymentPath = /^(?<start>\/openai\/deployments\/)(?<name>[\w.-]+)%2F(?<rest>.+)$/i;

/**
 * Reads a request as far as it is needed: which provider, and whether events are wanted. What names no model is for the
 * first provider, which says what is wrong with it, if anything is.
 *
 * @throws {GatewayError} `not_found`; `invalid_request` if it cannot be known which model is meant, or if it should be JSON and is not.
 */
export function readRelayRequest(request: IncomingRequest, providers: readonly Provider[]): RelayRequest {
  const { body, decoded, method, route } = request;
  const candidates = providers.filter(({ api }) => api === route.api);
  const [fallback] = candidates;
  if (fallback === undefined) {
    throw new GatewayError(
      'not_found',
      `No provider with the API of ${route.path} (${route.api}) is configured.`,
    );
  }
  const named = readPath(route.path, candidates);
  const read = readBody(request);
  const model = read?.model ?? '';
  const slash = model.indexOf('/');
  const prefixed = candidates.find(({ name }) => slash !== -1 && name === model.slice(0, slash));
  const provider = named?.provider ?? prefixed ?? fallback;
  const hasPrefix = prefixed === provider;
  return {
    route,
    method,
    provider,
    model: read?.model ?? modelIn(route),
    wantsEvents: route.wantsEvents ?? read?.stream === true,
    path: named?.path ?? route.path,
    isDecoded: hasPrefix && decoded !== undefined,
    body: new HeldBody(
      read === undefined || !hasPrefix ? (body?.parts() ?? []) : read.withoutPrefix(slash + 1),
    ),
  };
}

/** What the body says. On a path with a format, JSON has to be JSON: a provider that reads more than that could read another model. */
function readBody({ body, contentType, decoded, route }: IncomingRequest): RequestBody | undefined {
  const readable = decoded ?? body;
  if (readable === null || readable.byteLength === 0) return undefined;
  const isStrict = route.format !== undefined && isJson(contentType);
  return isStrict ? readRequestBody(readable) : tryRequestBody(readable);
}

/** The provider that a path names, and the path without its name. */
function readPath(
  path: string,
  candidates: readonly Provider[],
): { readonly provider: Provider; readonly path: string } | undefined {
  const deployment = deploymentPath.exec(path)?.groups;
  if (deployment !== undefined) {
    const provider = candidates.find((candidate) => candidate.name === deployment['name']);
    return provider && { provider, path: `${deployment['start']}${deployment['rest']}` };
  }
  const { version = '', name, bareName, rest = '' } = modelPath.exec(path)?.groups ?? {};
  const provider = candidates.find((candidate) => candidate.name === (name ?? bareName));
  if (provider === undefined) return undefined;
  // Gemini's names may bring a folder of their own, as tunedModels/….
  const folder = provider.api === 'gemini' && /^\w+\//.test(rest) ? '' : 'models/';
  return { provider, path: `${version}/${folder}${rest}` };
}

/** The model in a path, for logs. */
function modelIn({ path }: Route): string | undefined {
  return (
    /^\/v1\w*\/(?:models\/)?(.+):\w+$/.exec(path) ?? /^\/openai\/deployments\/([^/]+)\//.exec(path)
  )?.[1];
}
