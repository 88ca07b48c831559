import { z } from 'zod';
import { isNetwork } from '../http/trusted-proxies.ts';
import { models } from './model.ts';
import { pressureRules } from './pressure-rule.ts';
import { prices } from './price.ts';
import { keyStoreUrl, nameSources, storeUrl } from './limit-values.ts';
import { taps } from './tap.ts';
import { tenants } from './tenant.ts';
import type { Range } from './units.ts';
import { detachPolicy, upstreams } from './upstream.ts';
import { count, duration, flag, list, size, text, unbounded, variableName } from './values.ts';
import { voice } from './voice.ts';

const address = text.regex(/^[^\s/@]+$/, 'expected an address or the name of a host');

/**
 * All settings, in one place. Each has three spellings that mean the same: `windowBytes` in `spillway.yaml`,
 * `SPILLWAY_WINDOW_BYTES` in the environment, `--window-bytes` on the command line. The later in this list
 * wins. The descriptions are what `--help` and docs/configuration.md say.
 */
export const configSchema = z.strictObject({
  host: address
    .default('127.0.0.1')
    .describe('address to listen on; an address beyond loopback needs API keys and a provider'),
  port: count(0, 65_535).default(8080).describe('port to listen on; 0 takes a free one'),
  adminHost: address
    .default('127.0.0.1')
    .describe(
      'address of the admin listener (console, metrics); an address beyond loopback needs admin keys',
    ),
  adminPort: count(0, 65_535).default(8081).describe('port of the admin listener; 0 takes a free one'),
  upstream: upstreams
    .default([])
    .describe(
      'providers, each a URL or name=…,api=…,url=…,apiKeyEnv=… (docs/configuration.md lists the keys); the first provider of an API is its default; without any, the variables OPENAI_API_KEY, ANTHROPIC_API_KEY and GEMINI_API_KEY decide',
    ),
  model: models
    .default([])
    .describe(
      "models by names of your own, each name=…,targets=PROVIDER/MODEL…,fallback=…: where a model's requests go, in which shares, and where when that fails; there are none by default",
    ),
  simulated: flag
    .default(false)
    .describe('serve simulated models instead of providers; without it they are served only on loopback'),
  apiKeysEnv: variableName
    .default('SPILLWAY_API_KEYS')
    .describe(
      "environment variable with the clients' keys: KEY, NAME=KEY or TENANT/NAME=KEY, separated by commas or spaces",
    ),
  apiKeysFile: text
    .optional()
    .describe(
      "file with more of the clients' keys, one a line: KEY, NAME=KEY, TENANT/NAME=KEY or NAME sha256:DIGEST",
    ),
  apiKeysStore: keyStoreUrl
    .optional()
    .describe(
      "a Redis with more of the clients' keys, for several gateways, which take changes within seconds: redis://HOST:PORT, rediss:// with TLS, redis+sentinel://HOST:PORT,HOST:PORT/NAME, or the word limitStore for that Redis",
    ),
  apiKeysStorePasswordEnv: variableName
    .optional()
    .describe('environment variable with the password of the Redis of apiKeysStore'),
  apiKeysStorePasswordFile: text
    .optional()
    .describe('file with this password, instead of apiKeysStorePasswordEnv'),
  adminKeysEnv: variableName
    .default('SPILLWAY_ADMIN_KEYS')
    .describe('environment variable with the keys of the admin listener, as apiKeysEnv'),
  adminKeysFile: text.optional().describe('file with more of the keys of the admin listener, as apiKeysFile'),
  trustedProxies: list
    .pipe(z.array(z.string().refine(isNetwork, 'expected addresses and networks, as 10.0.0.0/8')))
    .default([])
    .describe(
      "proxies that are believed when they name a client's address (Forwarded, X-Forwarded-For): addresses and networks, separated by commas",
    ),
  proxyProtocol: flag
    .default(false)
    .describe('whether each connection of trustedProxies must begin with a header of the PROXY protocol'),
  tlsCertFile: text
    .optional()
    .describe(
      'file with the certificate of the listener for clients, and its intermediate ones, in PEM; with it, clients must use https; needs tlsKeyFile',
    ),
  tlsKeyFile: text.optional().describe('file with the private key of tlsCertFile, in PEM'),
  adminTlsCertFile: text
    .optional()
    .describe(
      'file with the certificate of the admin listener, as tlsCertFile; with it, operators must use https',
    ),
  adminTlsKeyFile: text.optional().describe('file with the private key of adminTlsCertFile, in PEM'),
  maxConnectionsPerAddress: count(1, 1_000_000)
    .default(512)
    .describe(
      'connections of one address that have sent no accepted key within a second; beyond it, the oldest one is closed',
    ),
  allowedOrigins: list
    .pipe(z.array(z.string().regex(/^https?:\/\/[^/\s]+$/, 'expected origins as https://app.example')))
    .default([])
    .describe(
      'origins of web pages that may use the gateway, separated by commas; pages of the gateway itself always may',
    ),
  logLevel: z
    .enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'])
    .default('info')
    .describe('least level of the log lines on stderr'),

  tap: taps
    .default([])
    .describe(
      'where streams are written down beside their readers, each as name=…,to=…,gate=… (docs/configuration.md lists the keys)',
    ),
  voice: voice
    .optional()
    .describe(
      'who answers telephone calls, as model=…,publicUrl=… (docs/configuration.md lists the keys); without it, a gateway with simulated models on loopback answers those of this machine',
    ),
  tenant: tenants
    .default([])
    .describe(
      'what tenants may use, each as name=…,tokensPerDay=…,streams=… (docs/configuration.md lists the keys); name=* for all others',
    ),
  price: prices
    .default([])
    .describe(
      'what models cost, each as model=…,input=…,output=…,since=… (docs/configuration.md lists the keys); none are built in',
    ),
  pressure: pressureRules
    .default([])
    .describe(
      'what gives way while the process is under pressure, each as level=1,maxTokens=1000,models=… (docs/configuration.md lists the keys); none: nothing does, and nothing is measured for it',
    ),
  currency: text
    .regex(/^[A-Z]{3}$/, 'expected three capital letters, as USD')
    .default('USD')
    .describe('the currency of all prices and costs; nothing is converted'),
  minAnswerTokens: count(1, 1_000_000)
    .default(256)
    .describe('a request starts when at least so many tokens of each of its limits are left'),
  userFrom: nameSources
    .default(['header:spillway-user', 'body:safety_identifier', 'body:user', 'body:metadata.user_id'])
    .describe(
      'where a request names its end user, for the limits of users: header:NAME, or body:NAME.NAME for a member of its JSON, separated by commas; the first that has a name counts',
    ),
  sessionFrom: nameSources
    .default(['header:spillway-session', 'body:metadata.session_id'])
    .describe('where a request names its conversation, for sessionTokens, as userFrom'),
  maxUsers: count(1, 1_000_000)
    .default(10_000)
    .describe(
      'end users and conversations with limits that are known at once; beyond it, the one that is not seen for longest is forgotten',
    ),
  limitStore: storeUrl
    .optional()
    .describe(
      'where limits are counted: file:PATH, or redis://HOST:PORT, rediss:// with TLS, redis+sentinel://HOST:PORT,HOST:PORT/NAME for several gateways; default: in the memory of this process',
    ),
  limitStorePasswordEnv: variableName
    .optional()
    .describe('environment variable with the password of the Redis of limitStore'),
  limitStorePasswordFile: text
    .optional()
    .describe('file with this password, instead of limitStorePasswordEnv'),
  whenLimitStoreFails: z
    .enum(['closed', 'open'])
    .default('closed')
    .describe(
      'what happens to requests with limits while limitStore is away: closed refuses them with 503, open lets them run uncounted',
    ),
  windowBytes: size(1024)
    .default(65_536)
    .describe('bytes that may wait for one reader; when they are full, the provider has to wait'),
  maxEventBytes: size(1024)
    .default(16_777_216)
    .describe('largest event of a provider; a larger one fails its stream'),
  maxEventMemoryBytes: size(1024, unbounded)
    .default(67_108_864)
    .describe(
      'memory for all events that are too large for a window; one key may use about half of it; when it is full, providers with large events have to wait',
    ),
  maxStreamBytes: size(1024, unbounded)
    .default(268_435_456)
    .describe('bytes of one reply; a larger one fails its stream'),
  maxStreams: count(1, 1_000_000)
    .default(2000)
    .describe(
      'requests that run at a provider, together with answers that readers still take and maxRetainedBytes has no room for; beyond it, requests wait',
    ),
  maxWaiting: count(0, 1_000_000)
    .default(200)
    .describe('requests that may wait for one of maxStreams; beyond it, the answer is 503'),
  waitTimeoutMs: duration()
    .default(10_000)
    .describe('how long a request may wait for one of maxStreams; after it, the answer is 503'),
  maxRequestBytes: size(1)
    .default(33_554_432)
    .describe('largest body of a request; for a larger one the answer is 413'),
  maxRequestMemoryBytes: size(1, unbounded)
    .default(268_435_456)
    .describe(
      'memory for all bodies of requests, until their answers begin; one key, or one address where there are no keys, may use two thirds of it; beyond it, the answer is 503',
    ),
  maxHeaderBytes: size(1024, 1_048_576)
    .default(16_384)
    .describe('largest head of a request and of a response of a provider'),
  requestTimeoutMs: duration()
    .default(60_000)
    .describe(
      'how long the head of a request may take, and each part of its body of as many bytes as minBytesPerSecond asks for in that time; after it, the answer is 408',
    ),

  retries: count(0, 10)
    .default(0)
    .describe(
      'tries after the first when a provider answers 429 or 503; with any, clients are told not to try again themselves',
    ),
  connectTimeoutMs: duration()
    .default(10_000)
    .describe('how long connecting to a provider may take; after it, the answer is 504'),
  responseTimeoutMs: duration()
    .default(300_000)
    .describe("how long a provider's response headers may take; after it, the answer is 504"),
  idleTimeoutMs: duration()
    .default(300_000)
    .describe('how long a provider may send no event; after it, the stream fails; comments are no events'),
  maxDurationMs: duration().default(3_600_000).describe('how long a stream may run; after it, it fails'),
  keepAliveMs: duration()
    .default(15_000)
    .describe('how long nothing is sent to a client before a ": ping" comment is'),
  stallTimeoutMs: duration()
    .default(30_000)
    .describe('how long a reader that has something to read may make no progress; after it, it is detached'),
  minBytesPerSecond: size(0, unbounded)
    .default(100)
    .describe(
      'least bytes a second of a reader, measured over 60 s, and of a request; a slower one is ended; 0 ends only those without any progress',
    ),
  pauseMs: duration()
    .default(600_000)
    .describe(
      'how long a session that answers pings may hold back the credit of a reader; one key, or one address where there are no keys, may do so for a third of maxStreams, and beyond that for stallTimeoutMs',
    ),
  detach: detachPolicy
    .default('grace')
    .describe(
      'what happens when the last reader has detached: cancel stops the model, grace stops it after detachGraceMs, finish lets it go on for finishMs and finishEvents',
    ),
  detachGraceMs: duration()
    .default(30_000)
    .describe(
      'how long the place of a reader is kept after it lost its connection, or was detached because of pauseMs',
    ),
  finishMs: duration()
    .default(600_000)
    .describe('how long a model may go on without a reader, with detach: finish'),
  finishEvents: count(0, unbounded)
    .default(100_000)
    .describe('how many events a model may send without a reader, with detach: finish'),
  retainMs: duration().default(60_000).describe('how long a stream can be read from its URL after its end'),
  maxRetainedBytes: size(0, unbounded)
    .default(134_217_728)
    .describe(
      'memory for all streams whose model is done: a quarter for answers that are not delivered yet, the rest for history; one key, or one address where there are no keys, may use two thirds of each; when it is full, the oldest history of that key is dropped',
    ),
  maxSessionStreams: count(1, 10_000)
    .default(100)
    .describe('streams that run at once on one WebSocket; one more ends it'),
  maxMessageBytes: size(1024)
    .default(1_048_576)
    .describe('largest message on a WebSocket; a larger one ends it'),
  canaryMs: duration(0, 60_000)
    .default(0)
    .describe(
      'time between two small streams that the gateway asks itself for, to see that it still serves; they are simulated, and no provider is asked; 0 is none',
    ),
  shutdownMs: duration()
    .default(30_000)
    .describe('how long running streams may go on after SIGTERM; after it, they are ended'),
});

/** A complete configuration, checked. */
export type Config = z.infer<typeof configSchema>;

type ConfigKey = keyof Config;

/** A setting's names on the command line and in the environment, and what it takes. */
export interface ConfigOption {
  readonly key: ConfigKey;
  readonly flag: string;
  readonly variable: string;
  readonly description: string;
  readonly defaultValue: unknown;
  /** The numbers that it takes; `undefined`: it is no number. */
  readonly range: Range | undefined;
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
      range: (field.unwrap() as z.ZodType).meta()?.['range'] as Range | undefined,
    };
  },
);
