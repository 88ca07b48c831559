import { APIError } from 'openai';
import { expect, onTestFinished, test } from 'vitest';
import { startTlsRedis } from '../../redis/test/support/tls-redis.ts';
import { until } from '../../core/test/support/until.ts';
import { needsRedis, RedisServer } from '../../redis/test/support/redis-server.ts';
import { openaiSdk } from './support/sdks.ts';
import { run } from './support/processes.ts';
import { type Command, printed, spawnSpillway } from './support/spawn.ts';

const messages = [{ role: 'user' as const, content: 'Hello' }];
const longName = 'a-tenant-whose-name-is-as-long-as-a-name-of-a-tenant-can-be-64-ch';

interface Served {
  readonly command: Command;
  readonly url: string;
  readonly adminUrl: string;
}

async function serve(
  redis: Pick<RedisServer, 'url'>,
  whenItFails: string,
  password = '',
  env: Readonly<Record<string, string>> = {},
): Promise<Served> {
  const args = `serve --port 0 --admin-port 0 --limit-store ${redis.url} --when-limit-store-fails ${whenItFails}`;
  const command = spawnSpillway(
    [
      ...args.split(' '),
      '--tenant',
      'name=rated,requests=3/min',
      '--tenant',
      'name=daily,tokensPerDay=4000',
      '--tenant',
      `name=${longName.slice(0, 64)},tokensPerDay=400000,streams=2`,
      ...(password === '' ? [] : ['--limit-store-password-env', 'STORE_PASSWORD']),
    ],
    {
      env: {
        SPILLWAY_API_KEYS: `rated=rated-secret,daily=daily-secret,${longName.slice(0, 64)}=long-secret`,
        STORE_PASSWORD: password,
        ...env,
      },
    },
  );
  onTestFinished(async () => {
    command.process.kill('SIGKILL');
    await command.exited;
  });
  const url = await printed(command, /Spillway on (\S+)/);
  return { command, url, adminUrl: await printed(command, /(http:\S+)\/metrics/) };
}

test('a gateway with rediss://, a user, a password and an authority of its own', async (context) => {
  needsRedis(context);
  const redis = await startTlsRedis('gateway', 'hunter2');
  onTestFinished(() => redis.remove());
  const trusts = { NODE_EXTRA_CA_CERTS: redis.certificates.authority.certFile };
  const served = await serve(redis, 'closed', 'hunter2', trusts);
  await expect(ask(served, 'rated')).resolves.toBe('stop');
  // Without the authority the gateway starts, and says what it needs.
  const lost = await serve(redis, 'closed', 'hunter2');
  await expect(ask(lost, 'rated')).resolves.toBe('503 limits_unavailable');
  await until(() => lost.command.stderr().includes('NODE_EXTRA_CA_CERTS'), 'the log says what is wrong');
  expect(lost.command.stderr()).not.toContain('hunter2');
});

async function ask({ url }: Served, key: string, tokens = 10): Promise<string> {
  try {
    const model = `sim:tokens=${tokens},tps=0,ttft=0`;
    const answer = await openaiSdk({ url, apiKey: `${key}-secret` }).chat.completions.create({
      model,
      messages,
    });
    return answer.choices[0]?.finish_reason ?? 'nothing';
  } catch (error) {
    if (!(error instanceof APIError)) throw error;
    return `${error.status} ${error.code}`;
  }
}

test('promise 16: two gateways on one Redis give out one limit, and what they know of it is one', async (context) => {
  needsRedis(context);
  const redis = await RedisServer.start(['--requirepass', 'hunter2']);
  onTestFinished(() => redis.remove());
  const both = [await serve(redis, 'closed', 'hunter2'), await serve(redis, 'closed', 'hunter2')];
  const [one, other] = both as [Served, Served];
  const answers = await Promise.all([one, other, one, other, one, other].map((each) => ask(each, 'rated')));
  expect(answers.filter((answer) => answer === 'stop')).toHaveLength(3);
  expect(answers.filter((answer) => answer === '429 limit_reached')).toHaveLength(3);
  // Each alone has spent less than the day has. An answer that does not stream is counted when it is there.
  await expect(ask(one, 'daily', 3000)).resolves.toBe('stop');
  await expect(ask(other, 'daily', 3000)).resolves.toBe('stop');
  await expect(ask(one, 'daily')).resolves.toBe('429 limit_reached');
  // A name that does not fit into braces as a whole.
  await expect(ask(one, 'long')).resolves.toBe('stop');
  for (const { adminUrl, command } of both) {
    const metrics = await (await fetch(`${adminUrl}/metrics`)).text();
    expect(metrics).toMatch(/^spillway_limit_store_up(?:\{.*\})? 1$/m);
    expect(metrics).toMatch(/^spillway_limit_store_duration_seconds_count\{.*failed="false".*\} [1-9]/m);
    expect(command.stdout() + command.stderr() + metrics).not.toContain('hunter2');
  }
});

test.for(['open', 'closed'])(
  'promise 16: without its Redis a gateway is %s, and says so',
  async (how, context) => {
    needsRedis(context);
    const redis = await RedisServer.start();
    onTestFinished(() => redis.remove());
    const served = await serve(redis, how);
    await expect(ask(served, 'daily')).resolves.toBe('stop');
    await redis.kill();
    await until(() => served.command.stderr().includes('the store of limits fails'), 'a line of the log');
    await expect(ask(served, 'daily')).resolves.toBe(how === 'open' ? 'stop' : '503 limits_unavailable');
    const metrics = await (await fetch(`${served.adminUrl}/metrics`)).text();
    expect(metrics).toMatch(/^spillway_limit_store_up(?:\{.*\})? 0$/m);
    await redis.start();
    await until(
      () => served.command.stderr().includes('the store of limits works again'),
      'a line of the log',
    );
    await expect(ask(served, 'daily')).resolves.toBe('stop');
    expect(served.command.stderr().match(/the store of limits fails/g)).toHaveLength(1);
  },
);

test('spillway check tries the Redis of limitStore', async (context) => {
  needsRedis(context);
  const redis = await RedisServer.start(['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru']);
  onTestFinished(() => redis.remove());
  const args = ['check', '--json', '--port', '0', '--admin-port', '0', '--tenant', 'name=a,streams=1'];
  const check = async (url: string): Promise<readonly string[]> => {
    const command = run([...args, '--limit-store', url]);
    await command.exited;
    const findings = JSON.parse(command.stdout()) as { check: string; status: string; message: string }[];
    return findings
      .filter(({ check: name }) => name === 'limit store')
      .map(({ message, status }) => `${status} ${message}`);
  };
  expect(await check(redis.url)).toEqual([
    expect.stringMatching(/^ok redis:\/\/127\.0\.0\.1:\d+ answers: Redis \d+\./),
    expect.stringMatching(/^warn Its maxmemory-policy is allkeys-lru/),
    expect.stringMatching(/^warn It keeps no changes on a disk/),
  ]);
  const full = await RedisServer.start(['--maxmemory', '100kb', '--maxmemory-policy', 'noeviction']);
  onTestFinished(() => full.remove());
  expect(await check(full.url)).toEqual([
    expect.stringMatching(/^fail Limits cannot be counted there: .*OOM/),
  ]);
  await redis.kill();
  expect(await check(redis.url)).toEqual([
    expect.stringMatching(/^fail Limits cannot be counted there: redis:.*ECONNREFUSED/),
  ]);
});
