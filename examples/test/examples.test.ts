import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseRecord, type TapRecord } from '@spillway/server/tap/tap-record';
import { describe, expect, onTestFinished, test } from 'vitest';
import { fliteMissing, pocketsphinxMissing } from '@spillway/voice';
import { stringify } from 'yaml';
import { needs } from '../../packages/core/test/support/needs.ts';
import { awsEnv } from '../../packages/aws/test/support/aws-emulator.ts';
import { S3Engine } from '../../packages/aws/test/support/s3-engine.ts';
import { StrictS3 } from '../../packages/aws/test/support/strict-s3.ts';
import { temporaryFolder } from '../../packages/gateway/test/support/prometheus.ts';
import { eventually, startGateway } from '../../packages/gateway/test/support/processes.ts';
import { postChat } from '../../packages/gateway/test/support/requests.ts';
import { type Command, type SpawnOptions, spawnNode } from '../../packages/gateway/test/support/spawn.ts';
import { tappedEngines } from '../../packages/gateway/test/support/tapped-engine.ts';
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

test('09: a spoken conversation without any service', async (context) => {
  const missing = (await fliteMissing()) ?? (await pocketsphinxMissing());
  needs(context, missing === undefined, missing ?? '');
  const command = example('09-a-spoken-conversation.ts');
  await eventually(() => command.process.exitCode !== null, 'its end', 50_000);
  expect(command.stderr()).toBe('');
  expect(command.process.exitCode).toBe(0);
  // What PocketSphinx hears of a telephone is right to a word or two.
  expect(command.stdout()).toMatch(/^caller: .*\bopen$/m);
  expect(command.stdout()).toMatch(/^caller: .*\bevents\b/m);
  expect(command.stdout()).toContain('\nmodel: There are three events this month.\n');
  expect(command.stdout()).not.toContain('\nmodel: And on the last Sunday, a concert.\n');
  expect(command.stdout()).toMatch(/\nmodel: Good bye\.\n$/);
});

test('07: a slow reader of a stream of Redis, S3 with half a second a write, and what MAXLEN dropped', async (context) => {
  needsRedis(context);
  const server = await RedisServer.start();
  onTestFinished(() => server.remove());
  const store = await StrictS3.start();
  onTestFinished(() => store.close());
  const s3 = await S3Engine.create(store.port);
  onTestFinished(() => s3.remove());
  s3.front.delayMs = 500;
  const command = example('07-a-slow-reader-of-redis.ts', { env: awsEnv }, [server.url, s3.url, '10']);
  // It takes 15 s where nobody else wants anything.
  await eventually(() => command.process.exitCode !== null, 'its end', 50_000);
  expect(command.process.exitCode).toBe(0);
  expect(command.stderr()).toBe('');
  expect(command.stdout()).toMatch(
    /^200 transcripts are missing, from \d\d:\d\d:\d\d\.\d{3} to \d\d:\d\d:\d\d\.\d{3}: removed\n/m,
  );
  expect(command.stdout()).toMatch(/^1000 that were left are written, in \d+ writes$/m);
  const depth = Number(/a naive queue is (\d+) deep/.exec(command.stdout())?.[1]);
  const behind = Number(/never more than (\d+) behind/.exec(command.stdout())?.[1]);
  // Half of the 40 that came; this reader has what came during two writes, more of it on a machine that is busy.
  expect(depth).toBeGreaterThanOrEqual(15);
  expect(behind).toBeLessThan(depth);
  const texts = (await s3.records())
    .filter(({ stream }) => stream !== 'naive')
    .map(({ value }) => (JSON.parse(Buffer.from(value).toString()) as { text: string }).text);
  expect(texts).toEqual(Array.from({ length: 1040 }, (_, index) => `transcript ${201 + index}`));
});

const read = new Map([
  ['NATS', 'nats.ts'],
  ['Kafka', 'kafka.ts'],
  ['SQS', 'sqs.ts'],
]);

describe.each(tappedEngines.filter(({ name }) => read.has(name)))('08: $name', (kind) => {
  test('a reader of what a tap has written, stopped and started again', async (context) => {
    kind.needs(context);
    const engine = await kind.start();
    onTestFinished(() => engine.remove());
    const cwd = temporaryFolder();
    const tap = { name: 'bus', to: engine.url, lossless: true, durability: 'memory' };
    writeFileSync(join(cwd, 'spillway.yaml'), stringify({ tap: [tap] }));
    const options = { cwd, env: kind.env ?? {} };
    const gateway = await startGateway([], options);
    const file = join(cwd, 'answers.jsonl');
    const start = (): Command =>
      example(`08-readers/${read.get(kind.name)}`, options, [engine.url.replace('?create=1', ''), file]);
    const answer = async (count: number): Promise<readonly TapRecord[][]> => {
      await (await postChat(gateway.url, 'sim:tokens=15,tps=0,ttft=0')).text();
      return await eventually(() => {
        const streams = [...streamsIn(file).values()];
        const whole = streams.filter((records) => records.some((record) => record.kind === 'reader'));
        return whole.length === count && streams;
      }, `${count} streams in the file`);
    };
    const first = start();
    await answer(1);
    // It is read when those before it are acknowledged.
    await answer(2);
    first.process.kill('SIGTERM');
    expect(await first.exited).toBe(0);
    expect(first.stdout()).toMatch(/^\d+ records\n$/);
    start();
    const [one = [], ...others] = await answer(3);
    expect(one.map(({ seq }) => seq)).toEqual(one.map((_, index) => index));
    for (const records of others) {
      const seqs = [...new Set(records.map(({ seq }) => seq))];
      expect(seqs).toEqual(seqs.map((_, index) => index));
    }
  });
});

/** The records of each stream in a file of lines. */
function streamsIn(file: string): Map<string, TapRecord[]> {
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(0, -1) : [];
  return Map.groupBy(
    lines.map((line) => parseRecord(Buffer.from(line))),
    ({ stream }) => stream,
  );
}
