import { createHash } from 'node:crypto';
import { type AddressInfo, connect, createServer } from 'node:net';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test, type TestContext } from 'vitest';
import { startTlsRedis } from '../../redis/test/support/tls-redis.ts';
import { until } from '../../core/test/support/until.ts';
import { needsRedis, RedisServer } from '../../redis/test/support/redis-server.ts';
import { eventually, run, type RunningGateway, startGateway } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { metric, postChat } from './support/requests.ts';

const key = 'spillway:keys';
/** What a change may take until all gateways have it, and more where the machine is busy. */
const learnMs = 20_000;
const sha256 = (secret: string): string => createHash('sha256').update(secret).digest('hex');

interface Done {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function startRedis(context: TestContext, options: readonly string[] = []): Promise<RedisServer> {
  needsRedis(context);
  const redis = await RedisServer.start(options);
  onTestFinished(() => redis.remove());
  return redis;
}

async function keys(
  { url }: Pick<RedisServer, 'url'>,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<Done> {
  const password = env['STORE_PASSWORD'] === undefined ? [] : ['--store-password-env', 'STORE_PASSWORD'];
  const command = run(['keys', ...args, '--store', url, ...password], { cwd: temporaryFolder(), env });
  const code = await command.exited;
  return { code, stdout: command.stdout(), stderr: command.stderr() };
}

async function create(redis: Pick<RedisServer, 'url'>, ...args: readonly string[]): Promise<string> {
  const made = await keys(redis, ['create', '--tenant', 'clinic', ...args]);
  expect(made.code, made.stderr).toBe(0);
  return made.stdout.trim();
}

interface Answer {
  readonly status: number;
  readonly code: unknown;
  readonly message: string;
  readonly retryAfter: string | null;
}

async function ask({ url }: Pick<RunningGateway, 'url'>, secret?: string): Promise<Answer> {
  const headers: Record<string, string> = secret === undefined ? {} : { authorization: `Bearer ${secret}` };
  const answer = await postChat(url, 'sim:tokens=1,tps=0', { headers });
  const text = await answer.text();
  const { error } = (answer.ok ? {} : JSON.parse(text)) as { error?: { code?: string; message?: string } };
  const { code, message = '' } = error ?? {};
  return { status: answer.status, code, message, retryAfter: answer.headers.get('retry-after') };
}

async function untilStatus(gateway: RunningGateway, secret: string, status: number): Promise<void> {
  await until(async () => (await ask(gateway, secret)).status === status, `${status} for a key`, learnMs);
}

const lines = ({ stderr }: Pick<RunningGateway, 'stderr'>, message: string): number =>
  stderr().split(`"msg":"${message}"`).length - 1;

test('keys: gateways on one Redis take what a command makes, changes and revokes, without a reload', async (context) => {
  const redis = await startRedis(context, ['--requirepass', 'hunter2']);
  const env = { STORE_PASSWORD: 'hunter2' };
  const folder = temporaryFolder();
  // The word names the Redis of limits, and with it the password.
  writeFileSync(
    join(folder, 'spillway.yaml'),
    `limitStore: ${redis.url}\nlimitStorePasswordEnv: STORE_PASSWORD\napiKeysStore: limitStore\n`,
  );
  const args = ['--api-keys-store', redis.url, '--api-keys-store-password-env', 'STORE_PASSWORD'];
  const both = [await startGateway([], { cwd: folder, env }), await startGateway(args, { env })];
  const made = await keys(redis, ['create', '--tenant', 'clinic', '--requests', '2/min'], env);
  expect(made).toMatchObject({ code: 0, stdout: expect.stringMatching(/^sk-spillway-\w{49}\n$/) });
  const secret = made.stdout.trim();
  expect(made.stderr).toContain('Running gateways with this store learn of it within seconds.');
  await Promise.all(both.map((gateway) => untilStatus(gateway, secret, 200)));
  // By the configuration, without a flag.
  const change = run(['keys', 'change', 'clinic', '--requests', 'none'], { cwd: folder, env });
  expect(await change.exited, change.stderr()).toBe(0);
  for (const gateway of both) {
    // Three in a row: the limit that it came with is gone.
    await eventually(async () => {
      const answers = [await ask(gateway, secret), await ask(gateway, secret), await ask(gateway, secret)];
      return answers.every(({ status }) => status === 200);
    }, 'the limit of the key to go');
  }
  const id = `sha256:${sha256(secret).slice(0, 8)}`;
  await expect(keys(redis, ['revoke', id], env)).resolves.toMatchObject({ code: 0 });
  await Promise.all(both.map((gateway) => untilStatus(gateway, secret, 401)));
  for (const gateway of both) {
    await expect(ask(gateway, secret)).resolves.toMatchObject({
      code: 'invalid_api_key',
      message: expect.stringContaining('This API key was revoked on '),
    });
    const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
    expect(metrics).toMatch(/^spillway_key_store_up(?:\{.*\})? 1$/m);
    expect(metrics).toMatch(/^spillway_key_store_changes_total\{.*refused="false".*\} [1-9]/m);
    const said = gateway.stdout() + gateway.stderr() + metrics;
    expect(said).not.toContain('hunter2');
    expect(said).not.toContain(secret);
  }
  const list = await keys(redis, ['list'], env);
  expect(list.stdout).toContain(`clinic  ${id}  revoked`);
});

test('keys: limits of a key in the store are held, and go on beside those of the file after a reload', async (context) => {
  const redis = await startRedis(context);
  const folder = temporaryFolder();
  const file = (words: string): void =>
    writeFileSync(join(folder, 'keys'), `own sha256:${sha256('own')}${words}\n`);
  file('');
  const config = `apiKeysStore: ${redis.url}\napiKeysFile: keys\n`;
  writeFileSync(join(folder, 'spillway.yaml'), config);
  const secret = await create(redis, '--requests', '2/h');
  const gateway = await startGateway([], { cwd: folder });
  const answers = [await ask(gateway, secret), await ask(gateway, secret), await ask(gateway, secret)];
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 429]);
  file(' requests=1/h');
  gateway.process.kill('SIGHUP');
  await until(() => lines(gateway, 'the configuration was reloaded') === 1, 'the reload');
  await expect(ask(gateway, secret)).resolves.toMatchObject({ status: 429 });
  const own = [await ask(gateway, 'own'), await ask(gateway, 'own')];
  expect(own.map(({ status }) => status)).toEqual([200, 429]);
  // A key of the store under another name: the reload is refused, and nothing has changed.
  writeFileSync(join(folder, 'keys'), `other sha256:${sha256(secret)}\n`);
  gateway.process.kill('SIGHUP');
  await until(() => lines(gateway, 'the configuration was not reloaded, and the old one stays') === 1, 'it');
  expect(gateway.stderr()).toContain(
    'apiKeysStore: expected another key, got that of the configuration under another name',
  );
  await expect(ask(gateway, 'own')).resolves.toMatchObject({ status: 429 });
});

test.for(['killed', 'silent'])(
  'keys: while Redis is %s what was read last stays, and nobody is told that a key is none',
  async (how, context) => {
    const redis = await startRedis(context, ['--appendonly', 'yes']);
    const secret = await create(redis);
    const gateway = await startGateway(['--api-keys-store', redis.url]);
    await expect(ask(gateway, 'unknown')).resolves.toMatchObject({ status: 401, code: 'invalid_api_key' });
    if (how === 'killed') await redis.kill();
    else redis.stop();
    await until(() => lines(gateway, 'the store of keys fails') > 0, 'a line of the log', learnMs);
    await expect(ask(gateway, secret)).resolves.toMatchObject({ status: 200 });
    await expect(ask(gateway, 'unknown')).resolves.toMatchObject({
      status: 503,
      code: 'keys_unavailable',
      retryAfter: '2',
    });
    // Who has no key at all can be told so.
    await expect(ask(gateway)).resolves.toMatchObject({ status: 401 });
    await expect(metric(gateway.adminUrl, 'spillway_key_store_up')).resolves.toBe(0);
    // The store is looked at twice more.
    await sleep(4500);
    if (how === 'killed') await redis.start();
    else redis.continue();
    await until(() => lines(gateway, 'the store of keys works again') > 0, 'a line of the log', learnMs);
    const other = await create(redis, '--name', 'other');
    await untilStatus(gateway, other, 200);
    await expect(ask(gateway, 'unknown')).resolves.toMatchObject({ status: 401 });
    expect(lines(gateway, 'the store of keys fails')).toBe(lines(gateway, 'the store of keys works again'));
  },
);

test('keys: a gateway that starts without its Redis serves those that it knows, and the others when it comes', async (context) => {
  const redis = await startRedis(context, ['--appendonly', 'yes']);
  const secret = await create(redis);
  await redis.kill();
  const env = { SPILLWAY_API_KEYS: 'own=own-secret' };
  const gateway = await startGateway(['--api-keys-store', redis.url], { env });
  await expect(ask(gateway, 'own-secret')).resolves.toMatchObject({ status: 200 });
  await expect(ask(gateway, secret)).resolves.toMatchObject({ status: 503, code: 'keys_unavailable' });
  expect((await fetch(`${gateway.url}/health/ready`)).status).toBe(200);
  await redis.start();
  await untilStatus(gateway, secret, 200);
  await expect(ask(gateway, 'unknown')).resolves.toMatchObject({ status: 401 });
});

test('keys: a store that has none yet lets nobody in, and one that lost them takes nothing from anybody', async (context) => {
  const redis = await startRedis(context);
  const gateway = await startGateway(['--api-keys-store', redis.url]);
  await expect(ask(gateway)).resolves.toMatchObject({ status: 401 });
  await expect(ask(gateway, 'unknown')).resolves.toMatchObject({ status: 503, code: 'keys_unavailable' });
  const secret = await create(redis);
  await untilStatus(gateway, secret, 200);
  await redis.command('FLUSHALL');
  await until(() => lines(gateway, 'keys of the store are not in force') === 2, 'a line of the log', learnMs);
  await expect(ask(gateway, secret)).resolves.toMatchObject({ status: 200 });
  await expect(ask(gateway, 'unknown')).resolves.toMatchObject({ status: 503 });
});

test('keys: a text that somebody else has written is refused once, and what was there stays', async (context) => {
  const redis = await startRedis(context);
  const secret = await create(redis);
  const gateway = await startGateway(['--api-keys-store', redis.url]);
  const good = String(await redis.command('HGET', key, 'text'));
  await redis.command('HSET', key, 'text', `${good}somebody sk-secret-in-clear\n`, 'version', 'x');
  await until(() => lines(gateway, 'keys of the store are not in force') === 1, 'a line of the log', learnMs);
  expect(gateway.stderr()).toContain('apiKeysStore, line 2: expected KEY, NAME=KEY');
  expect(gateway.stderr()).not.toContain('sk-secret-in-clear');
  await expect(ask(gateway, secret)).resolves.toMatchObject({ status: 200 });
  await expect(metric(gateway.adminUrl, 'spillway_key_store_up')).resolves.toBe(0);
  // Without a version, it is noticed as well.
  const byHand = `by/hand sha256:${sha256('by-hand')}\n`;
  await redis.command('DEL', key);
  await redis.command('HSET', key, 'text', good + byHand);
  await untilStatus(gateway, 'by-hand', 200);
  const metrics = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  expect(metrics).toMatch(/^spillway_key_store_changes_total\{.*refused="true".*\} 1$/m);
  expect(lines(gateway, 'keys of the store are not in force')).toBe(1);
});

test('keys: one of which it is not known whether it was kept is not shown', async (context) => {
  const redis = await startRedis(context);
  // Passes on what a client says, and no answer to a change.
  let isMute = false;
  const proxy = createServer((client) => {
    const server = connect({ host: '127.0.0.1', port: redis.port });
    client.on('data', (bytes) => {
      isMute ||= bytes.includes('EVAL\r\n');
      server.write(bytes);
    });
    server.on('data', (bytes) => void (isMute || client.write(bytes)));
    for (const socket of [client, server]) socket.on('error', () => undefined);
    client.on('close', () => server.destroy());
    server.on('close', () => client.destroy());
  }).listen(0, '127.0.0.1');
  onTestFinished(() => void proxy.close());
  await once(proxy, 'listening');
  const url = `redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  const made = await keys({ url }, ['create', '--tenant', 'clinic']);
  const [, id = ''] = /"spillway keys revoke (sha256:[\da-f]{8})"/.exec(made.stderr) ?? [];
  expect(made).toMatchObject({
    code: 75,
    stdout: '',
    stderr: expect.stringContaining('whether it was replaced is not known'),
  });
  const list = await keys(redis, ['list']);
  expect(list.stdout).toContain(`clinic  ${id}  active`);
  expect(list.stdout.match(/sha256:/g)).toHaveLength(1);
  await expect(keys(redis, ['revoke', id])).resolves.toMatchObject({ code: 0 });
});

test('keys: the command says what is wrong with a store, and makes nothing', async (context) => {
  const redis = await startRedis(context);
  await redis.command('CONFIG', 'SET', 'maxmemory', '1');
  const refused = await keys(redis, ['create', '--tenant', 'a']);
  expect(refused).toMatchObject({ code: 75, stdout: '', stderr: expect.stringContaining('OOM') });
  const folder = temporaryFolder();
  const says = async (args: string, yaml = ''): Promise<string> => {
    writeFileSync(join(folder, 'spillway.yaml'), yaml);
    const command = run(['keys', ...args.split(' ')], { cwd: folder });
    return `${await command.exited} ${command.stderr()}`;
  };
  const url = 'redis://127.0.0.1:1';
  await expect(says(`list --store ${url} --file keys`)).resolves.toContain('2 spillway: --store: expected');
  await expect(says('list --store-password-env A')).resolves.toContain(
    '2 spillway: --store: expected the URL',
  );
  await expect(says('list --store file:keys')).resolves.toContain(
    '78 spillway: apiKeysStore (--store): expected',
  );
  await expect(says(`list --store redis://:secret@h:1`)).resolves.toEqual(
    expect.not.stringContaining('secret'),
  );
  await expect(says('list', `apiKeysStore: ${url}\napiKeysFile: keys\n`)).resolves.toContain(
    `2 spillway: expected --file keys or --store ${url}`,
  );
  await expect(says('list', 'apiKeysStore: limitStore\n')).resolves.toContain(
    '78 spillway: apiKeysStore (spillway.yaml): expected the URL of a Redis in limitStore, which it names, got none',
  );
  await expect(says('list', `apiKeysStore: ${url}\nhost: wrong host\n`)).resolves.toMatch(
    /^75 .*ECONNREFUSED.*Nothing was changed: do it again when it answers/s,
  );
});

test('keys: a store with rediss://, a user, a password and an authority of its own', async (context) => {
  needsRedis(context);
  const redis = await startTlsRedis('keys', 'hunter2');
  onTestFinished(() => redis.remove());
  const env = { STORE_PASSWORD: 'hunter2' };
  const lost = await keys(redis, ['create', '--tenant', 'clinic'], env);
  expect(lost).toMatchObject({
    code: 75,
    stdout: '',
    stderr: expect.stringContaining('NODE_EXTRA_CA_CERTS'),
  });
  const trusts = { ...env, NODE_EXTRA_CA_CERTS: redis.certificates.authority.certFile };
  const made = await keys(redis, ['create', '--tenant', 'clinic'], trusts);
  expect(made.code, made.stderr).toBe(0);
  const wrong = await keys(redis, ['list'], { ...trusts, STORE_PASSWORD: 'hunter3' });
  expect(wrong).toMatchObject({ code: 78, stderr: expect.stringContaining('WRONGPASS') });
  expect(lost.stderr + wrong.stderr).not.toContain('hunter');
});

test('spillway check reads the store of keys, and says how many there are', async (context) => {
  const redis = await startRedis(context, ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru']);
  const check = async (url: string): Promise<readonly string[]> => {
    const args = ['check', '--json', '--port', '0', '--admin-port', '0', '--api-keys-store', url];
    const command = run(args, { env: { SPILLWAY_API_KEYS: 'own=own-secret' } });
    await command.exited;
    const findings = JSON.parse(command.stdout()) as { check: string; status: string; message: string }[];
    return findings
      .filter(({ check: name }) => name === 'key store')
      .map(({ message, status }) => `${status} ${message}`);
  };
  expect(await check(redis.url)).toContainEqual(expect.stringMatching(/^warn It has no keys/));
  await create(redis);
  expect(await check(redis.url)).toEqual([
    expect.stringMatching(/^ok redis:\/\/127\.0\.0\.1:\d+ answers: Redis \d.*, 1 key\.$/),
    expect.stringMatching(/^warn Its maxmemory-policy is allkeys-lru/),
    expect.stringMatching(/^warn It keeps no changes on a disk/),
  ]);
  await redis.command('HSET', key, 'text', `other sha256:${sha256('own-secret')}\n`);
  expect(await check(redis.url)).toEqual([
    expect.stringMatching(
      /^fail Keys cannot be read there: .*got that of the configuration under another name/,
    ),
  ]);
  expect(await check('redis://127.0.0.1:1')).toEqual([
    expect.stringMatching(/^fail Keys cannot be read there: .*ECONNREFUSED/),
  ]);
});
