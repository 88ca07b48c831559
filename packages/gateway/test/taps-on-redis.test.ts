import { expect, onTestFinished, test } from 'vitest';
import { needsRedis, RedisServer } from '../../redis/test/support/redis-server.ts';
import type { Finding } from '../src/cli/check/finding.ts';
import { lineWith, linesOf } from './support/log-lines.ts';
import { eventually, run, type RunningGateway, startGateway } from './support/processes.ts';
import { metric, payloads, postChat } from './support/requests.ts';
import { temporaryFolder } from './support/prometheus.ts';

const onDisk = ['--appendonly', 'yes', '--appendfsync', 'always'];

async function startRedis(options: readonly string[]): Promise<RedisServer> {
  const redis = await RedisServer.start(options);
  onTestFinished(() => redis.remove());
  return redis;
}

async function ask(gateway: RunningGateway): Promise<string> {
  const answer = await postChat(gateway.url, 'sim:tokens=5,tps=0,ttft=0');
  const text = await answer.text();
  return answer.status === 200 ? (payloads(text).at(-1) ?? '') : `${answer.status} ${text}`;
}

test('a gate on a Redis that keeps what it has: killed, it refuses streams, and serves again by itself', async (context) => {
  needsRedis(context);
  const redis = await startRedis([...onDisk, '--user', 'writer', 'on', '>hush-hush', '~*', '+@all']);
  const tap = `name=bus,to=${redis.url.replace('//', '//writer@')}?stream=llm,gate=true,passwordEnv=BUS,groups=indexer,deadlineMs=1s`;
  const options = { env: { BUS: 'hush-hush' }, cwd: temporaryFolder() };
  const gateway = await startGateway(['--tap', tap], options);
  expect(await ask(gateway)).toBe('[DONE]');
  const { engine } = await lineWith(gateway, 'what a tap writes to', { durability: 'fsync' });
  expect(engine).toMatch(/^Redis \d/);
  await redis.kill();
  expect(await ask(gateway)).toContain('tap_unavailable');
  expect(await ask(gateway)).toMatch(/^503 .*tap_unavailable/s);
  await redis.start();
  await lineWith(gateway, 'a tap is up again', { tap: 'bus' });
  expect(await ask(gateway)).toBe('[DONE]');
  const kept = Number(await redis.command('XLEN', 'llm'));
  // What a stream is at least: its beginning, its answer, its events, its end and its reader.
  expect(kept).toBeGreaterThanOrEqual(10);
  await redis.command('XGROUP', 'CREATE', 'llm', 'indexer', '0');
  const lag = 'spillway_tap_group_lag_records{tap="bus",group="indexer"}';
  await eventually(() => metric(gateway.adminUrl, lag).then(Boolean, () => false), 'the lag of the group');
  expect(await metric(gateway.adminUrl, lag)).toBeGreaterThanOrEqual(10);
  const check = run(['check', '--json', '--port', '0', '--admin-port', '0', '--tap', tap], options);
  expect(await check.exited).toBe(0);
  const found = (JSON.parse(check.stdout()) as Finding[]).filter((finding) => finding.check === 'tap bus');
  expect(found.map(({ message }) => message).join('\n')).toMatch(
    /answers: Redis \d.* worth fsync: .*\n(?:.*\n)*The group indexer is behind: \d+ entries/,
  );
  expect(gateway.stderr() + gateway.stdout() + check.stdout()).not.toContain('hush-hush');
});

test('promise 15: a Redis that keeps less while it is used is not written to by a gate, until that is mended', async (context) => {
  needsRedis(context);
  const redis = await startRedis(onDisk);
  const tap = `name=bus,to=${redis.url}?stream=llm,gate=true,deadlineMs=1s`;
  const gateway = await startGateway(['--tap', tap], { cwd: temporaryFolder() });
  expect(await ask(gateway)).toBe('[DONE]');
  await redis.command('CONFIG', 'SET', 'appendonly', 'no');
  await eventually(async () => (await ask(gateway)).includes('tap_unavailable'), 'the gate is shut');
  const { reason } = await lineWith(gateway, 'a tap is down: its sink does not keep what is written', {
    tap: 'bus',
  });
  expect(reason).toContain('expected durability fsync, got memory (appendonly is no');
  const kept = Number(await redis.command('XLEN', 'llm'));
  expect(await ask(gateway)).toMatch(/^503 .*tap_unavailable/s);
  expect(Number(await redis.command('XLEN', 'llm'))).toBe(kept);
  await redis.command('CONFIG', 'SET', 'appendonly', 'yes');
  await lineWith(gateway, 'a tap is up again', { tap: 'bus' });
  expect(await ask(gateway)).toBe('[DONE]');
});

test('promise 15: a Redis that came back without what it had is told by the tap that wrote there', async (context) => {
  needsRedis(context);
  const redis = await startRedis([]);
  const tap = `name=bus,to=${redis.url}?stream=llm,gate=true,durability=memory,deadlineMs=1s`;
  const gateway = await startGateway(['--tap', tap], { cwd: temporaryFolder() });
  expect(await ask(gateway)).toBe('[DONE]');
  await redis.kill();
  await redis.start();
  // The end of the first stream's reader may have come in between, and the tap is down for a moment.
  await eventually(async () => (await ask(gateway)) === '[DONE]', 'the gate to open');
  const { why } = await lineWith(
    gateway,
    'what a tap writes to came back without records that it had acknowledged',
    { tap: 'bus' },
  );
  expect(why).toContain('The stream llm was not there any more');
  expect(await metric(gateway.adminUrl, 'spillway_tap_forgotten_total{tap="bus"}')).toBe(1);
});

test('what an engine begins to warn of while it is used is in the log', async (context) => {
  needsRedis(context);
  const redis = await startRedis(onDisk);
  const gateway = await startGateway(['--tap', `name=bus,to=${redis.url}?stream=llm`], {
    cwd: temporaryFolder(),
  });
  expect(await ask(gateway)).toBe('[DONE]');
  await redis.command('CONFIG', 'SET', 'maxmemory', '100mb');
  await redis.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
  const isWarned = async (): Promise<boolean> => {
    expect(await ask(gateway)).toBe('[DONE]');
    const lines = linesOf(gateway, 'what a tap writes to');
    return lines.some((line) => JSON.stringify(line).includes('maxmemory-policy is allkeys-lru'));
  };
  await eventually(isWarned, 'the warning');
  expect(linesOf(gateway, 'what a tap writes to')).toHaveLength(2);
});

test('a gate does not start on a Redis that may lose what it said it has, or removes what is old', async (context) => {
  needsRedis(context);
  const [memory, disk] = [await startRedis([]), await startRedis(onDisk)];
  const cases = [
    [`to=${memory.url},gate=true`, 'expected durability fsync, got memory'],
    [
      `to=${disk.url}?maxlen=1000,lossless=true`,
      'expected an engine that keeps its records until they are read',
    ],
    [`to=${disk.url}?maxlem=1000`, 'maxlen'],
  ];
  for (const [tap = '', reason = ''] of cases) {
    const command = run(['serve', '--port', '0', '--admin-port', '0', '--tap', tap], {
      cwd: temporaryFolder(),
    });
    expect(await command.exited, tap).toBe(78);
    expect(command.stderr()).toContain(reason);
  }
});
