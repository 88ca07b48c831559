import type { IncomingHttpHeaders } from 'node:http';
import { anthropicMessages } from '@spillway/core/format/anthropic-messages';
import type { Format } from '@spillway/core/format/format';
import { gemini } from '@spillway/core/format/gemini';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { openaiCompletions } from '@spillway/core/format/openai-completions';
import { openaiResponses } from '@spillway/core/format/openai-responses';
import { type Api, apis } from '../api.ts';
import { GatewayError } from '@spillway/server/errors';
import { redactionRules, redactText } from '@spillway/server/tap/content/redactor';

/** The route of a request, as far as its request line and headers tell. */
export interface Route {
  readonly api: Api;
  /** The format of the answer; `undefined`: unknown, and the bytes pass through. */
  readonly format: Format | undefined;
  /** The format of the gateway's own errors. */
  readonly errors: Format;
  readonly path: string;
  /** The query without its question mark and without a key; empty if there is none. */
  readonly query: string;
  /** The client's key in the query, for an API that allows it there. */
  readonly queryKey: string | undefined;
  /** Whether the client asks for an event stream; `undefined`: `stream` in the body decides. */
  readonly wantsEvents: boolean | undefined;
}

/**
 * The paths whose answers have a known format. All other paths with a prefix of `pathPrefixes` pass through.
 */
const endpoints: readonly { readonly path: RegExp; readonly api: Api; readonly format: Format }[] = [
  { path: /^\/v1\/chat\/completions$/, api: 'openai', format: openaiChat },
  { path: /^\/v1\/responses$/, api: 'openai', format: openaiResponses },
  { path: /^\/v1\/completions$/, api: 'openai', format: openaiCompletions },
  { path: /^\/v1\/messages$/, api: 'anthropic', format: anthropicMessages },
  { path: /^\/v1(?:alpha|beta)?\/.+:(?:streamG|g)enerateContent$/, api: 'gemini', format: gemini },
  { path: azurePath('chat/completions'), api: 'azure', format: openaiChat },
  { path: azurePath('responses'), api: 'azure', format: openaiResponses },
  { path: azurePath('completions'), api: 'azure', format: openaiCompletions },
];

/** A path of Azure: of a deployment, without one, or of Azure's API with OpenAI's own paths. */
function azurePath(tail: string): RegExp {
  return new RegExp(`^/openai/(?:deployments/[^/]+/|v1/)?${tail}$`);
}

/** The prefixes of providers' paths. */
export const pathPrefixes = ['/v1/', '/v1alpha/', '/v1beta/', '/openai/', '/api/'] as const;

/**
 * A path for the program's log, without what looks like a key. A path that is no provider's may contain a stream's token,
 * or whatever somebody put there by mistake, so only its first segment is kept.
 */
export function loggedPath(asked: string): string {
  const path = withoutKeys(asked.slice(0, maxRedactedChars));
  if (pathPrefixes.some((prefix) => path.startsWith(prefix))) return path.slice(0, maxLoggedChars);
  const [, first = ''] = path.split('/', 2);
  return `/${first.slice(0, maxFirstChars)}${path.length > first.length + 1 ? '/…' : ''}`;
}

/** A path in which `[key]` stands for what looks like a key. */
export function withoutKeys(path: string): string {
  return redactText(path, keyRules).text;
}

const keyRules = [redactionRules.key];
/** More than is logged, with a key behind it. */
const maxRedactedChars = 1024;
const maxLoggedChars = 200;
const maxFirstChars = 32;

/** The error for a path that the gateway does not have. */
export function noSuchPath(what: string): GatewayError {
  const begins = pathPrefixes.join(', ');
  return new GatewayError(
    'not_found',
    `Spillway has no ${what}: the paths of providers begin with ${begins}; those of streams with /streams/.`,
  );
}

/** Matches a pair of a query whose name is `key`, also percent-encoded. */
const keyPair = /^(?:k|%6[bB])(?:e|%65)(?:y|%79)(?:=|$)/;

/**
 * Finds out what a request asks for. A path that the gateway does not have gets a route, too, for the format
 * of its error.
 */
export function findRoute(method: string, url: string, headers: IncomingHttpHeaders): Route {
  const [path = '', ...rest] = url.split('?');
  const endpoint = method === 'POST' ? endpoints.find((known) => known.path.test(path)) : undefined;
  const api = endpoint?.api ?? apiOf(path, headers);
  const pairs = rest.join('?').split('&');
  const hasKey = (pair: string): boolean => api === 'gemini' && keyPair.test(pair);
  const query = pairs.filter((pair) => !hasKey(pair)).join('&');
  return {
    api,
    format: endpoint?.format,
    errors: endpoint?.format ?? apis[api].errors,
    path,
    query,
    queryKey: new URLSearchParams(pairs.find(hasKey)).get('key') ?? undefined,
    wantsEvents: wantsEvents(endpoint?.format, path, query),
  };
}

/** The API of a path that is no known endpoint. */
function apiOf(path: string, headers: IncomingHttpHeaders): Api {
  if (path.startsWith('/openai/')) return 'azure';
  if (path.startsWith('/api/')) return 'ollama';
  if (/^\/v1(?:alpha|beta)\//.test(path) || headers['x-goog-api-key'] !== undefined) return 'gemini';
  if (/^\/v1\/messages(?:\/|$)/.test(path) || headers['anthropic-version'] !== undefined) return 'anthropic';
  return 'openai';
}

function wantsEvents(format: Format | undefined, path: string, query: string): boolean | undefined {
  if (format === undefined) return false;
  if (format !== gemini) return undefined;
  // Without alt=sse, Gemini streams one JSON array, which cannot contain comments.
  return path.endsWith(':streamGenerateContent') && new URLSearchParams(query).get('alt') === 'sse';
}

/** {@link findRoute} for a request of an HTTP server. */
export function routeOf({
  headers,
  method,
  url,
}: {
  readonly headers: IncomingHttpHeaders;
  readonly method: string;
  readonly url: string;
}): Route {
  return findRoute(method, url, headers);
}
