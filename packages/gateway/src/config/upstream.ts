import { z } from 'zod';
import { apiNames } from '../api.ts';
import { isConnectionHeader } from '../http/headers.ts';
import { entries } from './entries.ts';
import { count, duration, flag, text, variableName } from './values.ts';

export const detachPolicy = z.enum(['cancel', 'grace', 'finish']);

/** What happens when the last reader of a stream has detached. */
export type DetachPolicy = z.infer<typeof detachPolicy>;

/** Whether a URL has no user, no password and no fragment. */
export function isBareUrl(value: string): boolean {
  // A text that is no URL was refused already, by another check.
  if (!URL.canParse(value)) return true;
  const { username, password, hash } = new URL(value);
  return username === '' && password === '' && hash === '';
}

function isProxy(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const { pathname, protocol, search } = new URL(value);
  return /^https?:$/.test(protocol) && isBareUrl(value) && pathname === '/' && search === '';
}

/** A provider: its URL, its API, and the environment variable or the file that holds its key. */
const upstreamSchema = z
  .strictObject({
    name: z
      .string()
      .regex(/^[\w.-]+$/, 'expected letters, digits, "-", "_" or "."')
      .max(64, 'expected at most 64 characters')
      .default('upstream')
      .describe(
        'the prefix of its models, name/model: letters, digits, "-", "_", "."; providers of different APIs may have the same name',
      ),
    api: z
      .enum(apiNames)
      .default('openai')
      .describe('the API that it has; openai for every compatible provider'),
    url: z
      .url({ protocol: /^https?$/, error: 'expected an http:// or https:// URL' })
      .refine(isBareUrl, {
        error: 'expected a URL without user, password and fragment (a key goes into apiKeyEnv or apiKeyFile)',
      })
      .describe(
        "the base URL, as the API's official SDK expects it: for openai with /v1 at the end, for the others without a version; a query is sent with each request, and no client can override it",
      ),
    apiKeyEnv: variableName
      .optional()
      .describe(
        "the environment variable with its key; without a key, the client's own is forwarded, unless the gateway has keys itself",
      ),
    apiKeyFile: text.optional().describe('the file with its key, instead of apiKeyEnv'),
    keyHeader: z
      .string()
      .regex(/^[\w!#$%&'*+.^`|~-]+$/, "expected a header's name")
      .toLowerCase()
      .refine((name) => !isConnectionHeader(name), 'expected a header that is no part of the HTTP itself')
      .optional()
      .describe("the header that carries this key, if it is not the API's own"),
    detach: detachPolicy.optional().describe("this provider's own detach, instead of the gateway's"),
    queueTimeoutMs: duration()
      .optional()
      .describe(
        'how long comments alone (": processing") keep a stream alive, if that is longer than idleTimeoutMs; for providers that send comments while a request waits in their queue',
      ),
    maxStreams: count(1, 1_000_000)
      .optional()
      .describe(
        'the most streams at once of each of its models; with it, as many run as it answers without delay, found by the time to the first token, and the others wait their turn or are refused; default: no bound of its own',
      ),
    minStreams: count(1, 1_000_000)
      .optional()
      .describe('the fewest that its limit falls to; as maxStreams, the limit is fixed; default 1'),
    maxWaiting: count(0, 100_000)
      .optional()
      .describe('the most requests that wait for a place of maxStreams, of each model; default 100'),
    waitMs: duration()
      .optional()
      .describe('how long one may wait; what would wait longer is refused at once; default 5 s'),
    firstTokenMs: duration()
      .optional()
      .describe(
        'how long the first token of an answer may take; after it, the request goes to the next target of its model, or fails (504); default: responseTimeoutMs for its headers',
      ),
    breakMs: duration(100, 3_600_000)
      .optional()
      .describe(
        'how long nothing is sent to a model of it that fails too often, before a few requests try it again; default: 10 s where a model has other targets, otherwise it is always asked',
      ),
    http2: flag.optional().describe('true offers HTTP/2, over TLS'),
    proxy: z
      .string()
      .refine((value) => value === 'env' || isProxy(value), {
        error:
          'expected "env" or the http:// or https:// URL of a proxy, without path, user and password (they go into proxyAuthEnv or proxyAuthFile)',
      })
      .optional()
      .describe(
        'the http:// or https:// URL of the proxy that tunnels to it, or env to obey HTTPS_PROXY, HTTP_PROXY and NO_PROXY, which are ignored otherwise',
      ),
    proxyAuthEnv: variableName
      .optional()
      .describe('the environment variable with USER:PASSWORD for the proxy'),
    proxyAuthFile: text.optional().describe('the file with USER:PASSWORD, instead of proxyAuthEnv'),
    caFile: text
      .optional()
      .describe("the file with the certificate authorities to trust for it, in PEM, instead of Node's"),
    certFile: text
      .optional()
      .describe("the file with the gateway's certificate for it, in PEM; needs keyFile"),
    keyFile: text.optional().describe('the file with the private key of certFile, in PEM'),
  })
  .refine(({ apiKeyEnv, apiKeyFile }) => apiKeyEnv === undefined || apiKeyFile === undefined, {
    path: ['apiKeyFile'],
    error: 'expected apiKeyEnv or apiKeyFile, got both',
  })
  .refine(({ proxyAuthEnv, proxyAuthFile }) => proxyAuthEnv === undefined || proxyAuthFile === undefined, {
    path: ['proxyAuthFile'],
    error: 'expected proxyAuthEnv or proxyAuthFile, got both',
  })
  .refine(({ certFile, keyFile }) => (certFile === undefined) === (keyFile === undefined), {
    path: ['certFile'],
    error: 'expected certFile and keyFile together, got one of them',
  })
  .refine(
    ({ proxy, proxyAuthEnv, proxyAuthFile }) =>
      (proxyAuthEnv ?? proxyAuthFile) === undefined || (proxy !== undefined && proxy !== 'env'),
    {
      path: ['proxyAuthEnv'],
      error: 'expected the URL of a proxy beside it (with proxy: env, they are in HTTPS_PROXY), got none',
    },
  )
  .refine(({ caFile, certFile, http2, url }) => url.startsWith('https:') || !(http2 || caFile || certFile), {
    path: ['url'],
    error: 'expected an https:// URL for http2, caFile and certFile, got http://',
  })
  .refine(
    ({ maxStreams, maxWaiting, minStreams, waitMs }) =>
      maxStreams !== undefined || (minStreams ?? maxWaiting ?? waitMs) === undefined,
    { path: ['maxStreams'], error: 'expected it beside minStreams, maxWaiting and waitMs, got nothing' },
  )
  .refine(({ maxStreams = Infinity, minStreams = 1 }) => minStreams <= maxStreams, {
    path: ['minStreams'],
    error: 'expected at most maxStreams, got more',
  })
  .refine(
    ({ apiKeyEnv, apiKeyFile, keyHeader }) =>
      keyHeader === undefined || (apiKeyEnv ?? apiKeyFile) !== undefined,
    {
      path: ['keyHeader'],
      error: 'expected apiKeyEnv or apiKeyFile beside it, whose key it carries, got none',
    },
  );

/** A provider that the gateway serves. */
export type Upstream = z.infer<typeof upstreamSchema>;

/** The keys of a provider, with their descriptions. */
export const upstreamOptions = Object.entries(upstreamSchema.shape).map(([key, field]) => ({
  key,
  description: field.description ?? '',
}));

/** Providers as text, `name=groq,url=https://…,apiKeyEnv=GROQ_API_KEY` or a URL, or a list of them as texts or objects. */
export const upstreams = entries(
  upstreamSchema,
  'url',
  'expected a URL, name=…,url=…, or a list of providers',
).refine((value) => new Set(value.map(({ api, name }) => `${api} ${name}`)).size === value.length, {
  error: 'expected a different name for each of the same api, got one twice',
});
