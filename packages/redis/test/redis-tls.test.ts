import { openRedisLimits, readRedisFacts, type RedisLimits, type RedisLimitsOptions } from '@spillway/redis';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { startTlsRedis, type TlsRedis } from './support/tls-redis.ts';
import { until } from '../../core/test/support/until.ts';
import { hasRedis, needsRedis } from './support/redis-server.ts';

const { signal } = new AbortController();
const tokens = { kind: 'budget', key: 'tokens', limit: 1000, window: 'day' } as const;
let redis: TlsRedis | undefined;

beforeAll(async () => {
  if (hasRedis) redis = await startTlsRedis('gateway', 's3cret!');
});

afterAll(async () => {
  await redis?.remove();
});

function open(options: Partial<RedisLimitsOptions>): RedisLimits {
  const store = openRedisLimits({ url: urlOf('localhost'), deadlineMs: 5000, ...options });
  onTestFinished(() => store.close());
  return store;
}

/** Resolves when that is what is wrong. It is tried again and again: a busy machine is late at first. */
async function expectProblem(options: Partial<RedisLimitsOptions>, words: string): Promise<void> {
  const store = open(options);
  await until(() => store.problem?.includes(words) === true, `${words} instead of ${store.problem}`);
}

function urlOf(host: string, password = 's3cret!'): string {
  return `rediss://gateway:${encodeURIComponent(password)}@${host}:${redis?.port}`;
}

test.for(['localhost', '127.0.0.1'])(
  'by TLS at %s, with a user, a password and an authority of its own',
  async (host, context) => {
    needsRedis(context);
    const url = urlOf(host);
    const tls = { ca: redis?.certificates.authority.cert };
    const store = open({ url, tls });
    await until(() => store.read([tokens], signal).then(isThere, isNot), 'it answers');
    expect(store.problem).toBeUndefined();
    await expect(readRedisFacts({ url, tls })).resolves.toMatchObject({
      address: `rediss://${host}:${redis?.port}`,
    });
    await expectProblem({ url: urlOf(host, 'wrong'), tls }, 'WRONGPASS');
  },
);

test('a certificate that nobody vouches for, or of another name, is refused and said', async (context) => {
  needsRedis(context);
  const hint =
    'expected a certificate by an authority that is known here; one of your own goes into NODE_EXTRA_CA_CERTS';
  await expectProblem({}, `self-signed certificate in certificate chain: ${hint}`);
  await expectProblem({ tls: { ca: redis?.certificates.stranger.cert } }, hint);
  const ca = redis?.certificates.authority.cert;
  await expectProblem({ tls: { ca, servername: 'redis.example' } }, 'redis.example. is not in the cert');
});

const isThere = (): boolean => true;
const isNot = (): boolean => false;
