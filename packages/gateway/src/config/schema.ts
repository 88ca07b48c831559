import { z } from 'zod';
import { apiNames } from '../api.ts';
import { isConnectionHeader } from '../http/headers.ts';
import { isNetwork } from '../http/trusted-proxies.ts';

/**
 * All settings, in one place. Each has three spellings that mean the same: `windowBytes` in `spillway.yaml`,
 * `SPILLWAY_WINDOW_BYTES` in the environment, `--window-bytes` on the command line. The later in this list
 * wins.
 */

const port = z.int().min(0).max(65_535);
const durationMs = z.int().min(1).max(86_400_000);
const detach = z.enum(['cancel', 'grace', 'finish']);
/** A list of texts, or one text with commas or spaces between them. */
const list = z.union([
  z.string().transform((text) => text.split(/[\s,]+/).filter((part) => part !== '')),
  z.array(z.string()),
]);
const bytes = z.int().min(1).max(1_073_741_824);

/** Reads a number of a provider that was written as text. */
function numberIn(value: unknown): unknown {
  return typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : value;
}

/** Reads a boolean of a provider that was written as text. */
function booleanIn(value: unknown): unknown {
  return value === 'true' || (value === 'false' ? false : value);
}

function isBareUrl(text: string): boolean {
  // A text that is no URL was refused already, by another check.
  if (!URL.canParse(text)) return true;
  const { username, password, hash } = new URL(text);
  return username === '' && password === '' && hash === '';
}

function isProxy(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { pathname, protocol, search } = new URL(text);
  return /^https?:$/.test(protocol) && isBareUrl(text) && pathname === '/' && search === '';
}

/** A provider: its URL, its API, and the environment variable that holds its key. */
const upstreamSchema = z
  .strictObject({
    /**
     * The prefix of the provider's models, `name/model`: letters, digits, `-`, `_`, `.`. Default: `upstream`.
     * Providers of different APIs may have the same name.
     */
    name: z
      .string()
      .regex(/^[\w.-]+$/, 'expected letters, digits, "-", "_" or "."')
      .max(64)
      .default('upstream'),
    /** The provider's API. Default: `openai`, also for every compatible provider. */
    api: z.enum(apiNames).default('openai'),
    /**
     * The base URL, as its SDK expects it. For `openai`: with `/v1` at the end. For `anthropic` and `gemini`:
     * without a version, or with the one that the AI SDK expects (`/v1`, `/v1beta`). For `azure` and
     * `ollama`: the endpoint. A query is sent with each request, such as Azure's `?api-version=…`. A client
     * cannot override its parameters.
     */
    url: z.url({ protocol: /^https?$/, error: 'expected an http:// or https:// URL' }).refine(isBareUrl, {
      error: 'expected a URL without user, password and fragment (a key goes into apiKeyEnv)',
    }),
    /**
     * The name of the environment variable that holds the provider's key. Without it, the client's own key is
     * forwarded: `Authorization`, for `openai` and `azure` also `api-key`, for `anthropic` also `x-api-key`,
     * for `gemini` also `x-goog-api-key` and `key` in the query.
     */
    apiKeyEnv: z.string().min(1).optional(),
    /** The header that carries this key, if not the API's own: `api-key`, for Azure with the API `openai`. */
    keyHeader: z
      .string()
      .regex(/^[\w!#$%&'*+.^`|~-]+$/, "expected a header's name")
      .toLowerCase()
      .refine((name) => !isConnectionHeader(name), 'expected a header that is no part of the HTTP itself')
      .optional(),
    /**
     * What happens when the last reader of one of its streams has detached. Default: the gateway's `detach`.
     */
    detach: detach.optional(),
    /**
     * How long comments alone (`: processing`) keep a stream alive, if longer than `idleTimeoutMs`. Some
     * providers send them while a request waits in their queue. Default: comments do not count.
     */
    queueTimeoutMs: z.preprocess(numberIn, durationMs).optional(),
    /**
     * Offers HTTP/2 (over TLS). With this or any option below, undici connects to the provider instead of the
     * built-in reader. Default: HTTP/1.1 alone.
     */
    http2: z.preprocess(booleanIn, z.boolean()).optional(),
    /**
     * The proxy that opens a tunnel to the provider. `env` obeys `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
     * Default: none, and these variables are ignored.
     */
    proxy: z
      .string()
      .refine((text) => text === 'env' || isProxy(text), {
        error:
          'expected "env" or the http:// or https:// URL of a proxy, without path, user and password (they go into proxyAuthEnv)',
      })
      .optional(),
    /** The name of the environment variable that holds `USER:PASSWORD` for the proxy. */
    proxyAuthEnv: z.string().min(1).optional(),
    /**
     * A file with the certificate authorities to trust for the provider, in PEM. No others are trusted then.
     * Default: those of Node.
     */
    caFile: z.string().min(1).optional(),
    /** Files with the gateway's certificate (and its intermediate ones) and its private key, in PEM. */
    certFile: z.string().min(1).optional(),
    keyFile: z.string().min(1).optional(),
  })
  .refine(({ certFile, keyFile }) => (certFile === undefined) === (keyFile === undefined), {
    path: ['certFile'],
    error: 'expected certFile and keyFile together',
  })
  .refine(
    ({ proxy, proxyAuthEnv }) => proxyAuthEnv === undefined || (proxy !== undefined && proxy !== 'env'),
    {
      path: ['proxyAuthEnv'],
      error: 'expected the URL of a proxy beside it (with proxy: env, they are in HTTPS_PROXY)',
    },
  )
  .refine(({ caFile, certFile, http2, url }) => url.startsWith('https:') || !(http2 || caFile || certFile), {
    path: ['url'],
    error: 'expected an https:// URL for http2, caFile and certFile',
  })
  .refine(({ apiKeyEnv, keyHeader }) => keyHeader === undefined || apiKeyEnv !== undefined, {
    path: ['keyHeader'],
    error: 'expected apiKeyEnv beside it, whose key it takes',
  });

/** A provider that the gateway serves. */
export type Upstream = z.infer<typeof upstreamSchema>;

/**
 * A provider as text: a URL, or `name=groq,url=https://…,apiKeyEnv=GROQ_API_KEY`. Spaces separate several
 * providers.
 */
const upstreamText = z.string().transform((text) =>
  text
    .split(/\s+/)
    .filter((part) => part !== '')
    .map((part) => {
      if (!/^\w+=/.test(part)) return { url: part };
      return Object.fromEntries(
        part.split(',').map((pair) => {
          const at = pair.indexOf('=');
          return at === -1 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
        }),
      ) as unknown;
    }),
);

const upstreams = z
  .union([upstreamText, z.array(z.unknown())])
  .transform((value) =>
    value.flatMap((entry) => (typeof entry === 'string' ? upstreamText.parse(entry) : [entry])),
  )
  .pipe(z.array(upstreamSchema))
  .refine((value) => new Set(value.map(({ api, name }) => `${api} ${name}`)).size === value.length, {
    error: 'expected a different name for each of the same api',
  });

export const configSchema = z.strictObject({
  host: z
    .string()
    .min(1)
    .default('127.0.0.1')
    .describe('address to listen on; beyond loopback only with API keys'),
  port: port.default(8080).describe('port to listen on; 0 takes a free one'),
  adminHost: z
    .string()
    .min(1)
    .default('127.0.0.1')
    .describe('address of the admin listener (console, metrics); beyond loopback only with its keys'),
  adminPort: port.default(8081).describe('port of the admin listener; 0 takes a free one'),
  upstream: upstreams
    .default([])
    .describe(
      'providers: a URL, or name=…,api=openai|anthropic|gemini|azure|ollama,url=https://…,apiKeyEnv=…,keyHeader=…,detach=…,queueTimeoutMs=…,http2=true,proxy=env|http://…,proxyAuthEnv=…,caFile=…,certFile=…,keyFile=…; the first of an API is its default',
    ),
  apiKeysEnv: z
    .string()
    .min(1)
    .default('SPILLWAY_API_KEYS')
    .describe(
      'environment variable with the keys clients must send, KEY, NAME=KEY or TENANT/NAME=KEY, separated by commas or spaces',
    ),
  apiKeysFile: z
    .string()
    .min(1)
    .optional()
    .describe('file with more of these keys, as digests: lines of NAME sha256:DIGEST'),
  adminKeysEnv: z
    .string()
    .min(1)
    .default('SPILLWAY_ADMIN_KEYS')
    .describe('environment variable with the keys that the admin listener asks for beyond loopback'),
  trustedProxies: list
    .pipe(z.array(z.string().refine(isNetwork, 'expected addresses and networks, as 10.0.0.0/8')))
    .default([])
    .describe(
      "proxies whose word for a client's address counts (Forwarded, X-Forwarded-For), separated by commas",
    ),
  proxyProtocol: z
    .boolean()
    .default(false)
    .describe('connections of trustedProxies begin with the header of the PROXY protocol, and must'),
  tlsCertFile: z
    .string()
    .min(1)
    .optional()
    .describe(
      'file with the certificate of the listener for clients and its intermediate ones, PEM; with it, clients must use https',
    ),
  tlsKeyFile: z.string().min(1).optional().describe('file with the key of tlsCertFile, PEM'),
  adminTlsCertFile: z
    .string()
    .min(1)
    .optional()
    .describe('file with the certificate of the admin listener, PEM; with it, operators must use https'),
  adminTlsKeyFile: z.string().min(1).optional().describe('file with the key of adminTlsCertFile, PEM'),
  maxConnectionsPerAddress: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(512)
    .describe(
      'connections of one address that have shown no key, for longer than a second; of more, the oldest are closed',
    ),
  allowedOrigins: list
    .pipe(z.array(z.string().regex(/^https?:\/\/[^/\s]+$/, 'expected origins as https://app.example')))
    .default([])
    .describe('origins of web pages that may use this gateway, separated by commas; its own always may'),
  logLevel: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .describe('structured logs on stderr, this level and above'),

  windowBytes: bytes
    .min(1024)
    .default(65_536)
    .describe('bytes that may wait for one reader; then the provider waits'),
  maxEventBytes: bytes
    .min(1024)
    .default(16_777_216)
    .describe('largest event from a provider; a larger one fails the stream'),
  maxEventMemoryBytes: z
    .int()
    .min(1024)
    .default(67_108_864)
    .describe(
      'all events that are too large for a window, beside the windows; a key has about half, then its providers wait',
    ),
  maxStreamBytes: z
    .int()
    .min(1024)
    .default(268_435_456)
    .describe('bytes of one reply; then the stream fails'),
  maxStreams: z
    .int()
    .min(1)
    .max(1_000_000)
    .default(2000)
    .describe(
      'requests with a provider, and answers that readers still take and maxRetainedBytes has no room for; then they wait',
    ),
  maxWaiting: z
    .int()
    .min(0)
    .max(1_000_000)
    .default(200)
    .describe('requests that may wait for a free place; then the answer is 503'),
  waitTimeoutMs: durationMs
    .default(10_000)
    .describe('how long a request waits for a free place; then the answer is 503'),
  maxRequestBytes: bytes.default(33_554_432).describe('largest request body; a larger one is answered 413'),
  maxRequestMemoryBytes: z
    .int()
    .min(1)
    .default(268_435_456)
    .describe(
      'all request bodies that have come and wait for their answer to begin; a key, or without keys an address, has at most two thirds; then the answer is 503',
    ),
  maxHeaderBytes: z.int().min(1024).max(1_048_576).default(16_384).describe('request and response headers'),
  requestTimeoutMs: durationMs
    .default(60_000)
    .describe(
      'time to receive the head of a request, and so much of its body as minBytesPerSecond asks for; then the answer is 408',
    ),

  retries: z
    .int()
    .min(0)
    .max(10)
    .default(0)
    .describe(
      'tries after the first where the provider answered 429 or 503; then clients are told not to try again themselves',
    ),
  connectTimeoutMs: durationMs
    .default(10_000)
    .describe('time to connect to a provider; then the answer is 504'),
  responseTimeoutMs: durationMs
    .default(300_000)
    .describe("time to a provider's response headers; then the answer is 504"),
  idleTimeoutMs: durationMs
    .default(300_000)
    .describe('time without an event from a provider (comments do not count); then the stream fails'),
  maxDurationMs: durationMs.default(3_600_000).describe('duration of one stream; then it fails'),
  keepAliveMs: durationMs.default(15_000).describe('silence after which a ": ping" comment is sent'),
  stallTimeoutMs: durationMs
    .default(30_000)
    .describe('time without progress after which a reader that has something to read is let go'),
  minBytesPerSecond: z
    .int()
    .min(0)
    .default(100)
    .describe(
      'slowest reader that is kept, measured over 60 s, and slowest upload; 0 keeps all that make any progress',
    ),
  pauseMs: durationMs
    .default(600_000)
    .describe(
      'how long a session that answers pings may hold back the credit of a reader; a key, or without keys an address, may do so for a third of maxStreams, and beyond that for stallTimeoutMs',
    ),
  detach: detach
    .default('grace')
    .describe(
      'when the last reader has detached: cancel the model, wait for detachGraceMs, or let it finish',
    ),
  detachGraceMs: durationMs
    .default(30_000)
    .describe(
      'how long a reader whose connection was lost, or that was let go after pauseMs, may take to come back',
    ),
  finishMs: durationMs
    .default(600_000)
    .describe('detach: finish: how long a model may go on without a reader'),
  finishEvents: z
    .int()
    .min(0)
    .default(100_000)
    .describe('detach: finish: how many events a model may go on without a reader'),
  retainMs: durationMs.default(60_000).describe('how long a stream can be read from its URL after its end'),
  maxRetainedBytes: z
    .int()
    .min(0)
    .default(134_217_728)
    .describe(
      'all streams whose model is done: a quarter for those that are not delivered yet (beyond it they keep their places), the rest for history; a key, or without keys an address, has at most two thirds of each, and then its oldest history is let go',
    ),
  maxSessionStreams: z
    .int()
    .min(1)
    .max(10_000)
    .default(100)
    .describe('streams at once on one WebSocket; one more ends it'),
  maxMessageBytes: bytes
    .min(1024)
    .default(1_048_576)
    .describe('largest message on a WebSocket; a larger one ends it'),
  canaryMs: z
    .int()
    .min(0)
    .max(60_000)
    .default(0)
    .describe(
      'time between two small streams that the gateway asks itself for, to see that it still serves; simulated, no provider is asked; 0: none',
    ),
  shutdownMs: durationMs.default(30_000).describe('time that running streams have to finish after SIGTERM'),
});

/** A complete configuration, checked. */
export type Config = z.infer<typeof configSchema>;

/** What happens when the last reader of a stream has detached. */
export type DetachPolicy = Config['detach'];

type ConfigKey = keyof Config;

/** A setting's names on the command line and in the environment, and its default. */
export interface ConfigOption {
  readonly key: ConfigKey;
  readonly flag: string;
  readonly variable: string;
  readonly description: string;
  readonly defaultValue: unknown;
}

export const configOptions: readonly ConfigOption[] = (Object.keys(configSchema.shape) as ConfigKey[]).map(
  (key) => {
    const words = key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    const field = configSchema.shape[key];
    return {
      key,
      flag: `--${words}`,
      variable: `SPILLWAY_${words.replaceAll('-', '_').toUpperCase()}`,
      description: field.description ?? '',
      defaultValue: field.parse(undefined),
    };
  },
);
