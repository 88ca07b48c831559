import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { type Command, type SpawnOptions, spawnNode } from '../../packages/gateway/test/support/spawn.ts';
import { startGateway } from '../../packages/gateway/test/support/processes.ts';
import { needsRedis, RedisServer } from '../../packages/redis/test/support/redis-server.ts';

function example(name: string, options?: SpawnOptions, args: readonly string[] = []): Command {
  const command = spawnNode(fileURLToPath(new URL(`../${name}`, import.meta.url)), args, options);
  onTestFinished(() => void command.process.kill('SIGKILL'));
  return command;
}

test('01: the official SDK through the gateway', async () => {
  const gateway = await startGateway();
  const command = example('01-stream-with-openai-sdk.ts', { env: { SPILLWAY_URL: `${gateway.url}/v1` } });
  expect(await command.exited).toBe(0);
  expect(command.stdout()).toContain('Water flows over the spillway');
});

test('02: one stream, many readers', async () => {
  const command = example('02-one-stream-many-readers.ts');
  expect(await command.exited).toBe(0);
  expect(command.stdout()).toContain(
    'audit:  the lake is full so the water flows over the spillway and the dam holds\n',
  );
  expect(command.stdout()).toMatch(/screen: .*words missed.*holds\n/);
});

test('03: a fetch that survives', async () => {
  const gateway = await startGateway();
  const command = example('03-a-fetch-that-survives.ts', { env: { SPILLWAY_URL: gateway.url } });
  expect(await command.exited).toBe(0);
  expect(command.stdout()).toMatch(/^Water flows over the spillway .*\n\/streams\/… has \d+ events\n$/s);
  expect(command.stderr()).toContain('[connected]');
});

test('04: a sink of your own', async () => {
  const command = example('04-a-sink-of-your-own.ts');
  expect(await command.exited).toBe(0);
  expect(command.stdout()).toContain('rule 9: a close can be repeated: kept\n');
  expect(command.stdout().match(/: kept\n/g)).toHaveLength(14);
  expect(command.stdout()).toContain('skipped: the engine of this test has no fail\n');
});

test('05: the audit log, read from a program of your own', async () => {
  const command = example('05-read-the-audit-log.ts');
  expect(await command.exited).toBe(0);
  expect(command.stderr()).toBe('');
  expect(command.stdout()).toMatch(/^stopped when \d+ were there/m);
  expect(command.stdout()).toMatch(/the write again in \d+ ms: expected the records to be taken, got 503\n/);
  expect(command.stdout()).toMatch(/^The endpoint has 300, each once: true\n$/m);
});

test('06: an answer that a limit ends, and a refusal', async () => {
  const gateway = await startGateway(['--tenant', 'name=*,tokensPerDay=500,answerTokens=40']);
  const command = example('06-limits.ts', { env: { SPILLWAY_URL: `${gateway.url}/v1` } });
  expect(await command.exited).toBe(0);
  expect(command.stdout()).toMatch(/^tokens left today: \d+$/m);
  expect(command.stdout()).toContain('ended with the reason: length\n');
  expect(command.stdout()).toMatch(/^429 limit_reached: .*of 500 tokens today.*\(tokensPerDay\)/m);
});

test('07: a slow reader of a stream of Redis, and what MAXLEN dropped', async (context) => {
  needsRedis(context);
  const server = await RedisServer.start();
  onTestFinished(() => server.remove());
  const command = example('07-a-slow-reader-of-redis.ts', {}, [server.url, '10']);
  expect(await command.exited).toBe(0);
  expect(command.stderr()).toBe('');
  expect(command.stdout()).toMatch(
    /^200 transcripts are missing, from \d\d:\d\d:\d\d\.\d{3} to \d\d:\d\d:\d\d\.\d{3}: removed\n/m,
  );
  expect(command.stdout()).toMatch(/^1000 that were left are written, in [23] writes$/m);
  const depth = Number(/a naive queue is (\d+) deep/.exec(command.stdout())?.[1]);
  const behind = Number(/never more than (\d+) behind/.exec(command.stdout())?.[1]);
  // Half of the 40 that came; this reader has what came during two writes, more of it on a machine that is busy.
  expect(depth).toBeGreaterThanOrEqual(15);
  expect(behind).toBeLessThan(depth);
});
