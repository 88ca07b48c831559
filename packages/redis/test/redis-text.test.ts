import { openRedisText, type RedisText, type RedisTextOptions } from '@spillway/redis';
import { expect, onTestFinished, test, type TestContext } from 'vitest';
import { replaceScript } from '../src/text/replace-script.ts';
import { needsRedis, RedisServer } from './support/redis-server.ts';

const { signal } = new AbortController();
const bytes = (text: string): Buffer => Buffer.from(text);

async function startRedis(context: TestContext, options: readonly string[] = []): Promise<RedisServer> {
  needsRedis(context);
  const server = await RedisServer.start(options);
  onTestFinished(() => server.remove());
  return server;
}

function open({ url }: Pick<RedisServer, 'url'>, options: Partial<RedisTextOptions> = {}): RedisText {
  const text = openRedisText({ url, key: 'text', ...options });
  onTestFinished(() => text.close());
  return text;
}

test('a text is replaced only by who has read it', async (context) => {
  const server = await startRedis(context);
  const [one, other] = [open(server), open(server)];
  await expect(one.read(signal)).resolves.toBeUndefined();
  await expect(one.version(signal)).resolves.toBeUndefined();
  await expect(one.replace('first', '', signal)).resolves.toBe(true);
  const kept = await other.read(signal);
  expect(kept?.text).toEqual(bytes('first'));
  await expect(other.version(signal)).resolves.toBe(kept?.version);
  await expect(other.replace('second', kept?.version ?? '', signal)).resolves.toBe(true);
  await expect(one.replace('third', kept?.version ?? '', signal)).resolves.toBe(false);
  await expect(one.replace('third', '', signal)).resolves.toBe(false);
  const last = await one.read(signal);
  expect(last?.text).toEqual(bytes('second'));
  expect(last?.version).not.toBe(kept?.version);
});

test('a text that was written by hand has no version, and is replaced all the same', async (context) => {
  const server = await startRedis(context);
  const text = open(server);
  await server.command('HSET', 'text', 'text', 'by hand');
  await expect(text.version(signal)).resolves.toBeUndefined();
  await expect(text.read(signal)).resolves.toEqual({ text: bytes('by hand'), version: '' });
  await expect(text.replace('by this', '', signal)).resolves.toBe(true);
  await expect(text.read(signal)).resolves.toMatchObject({ text: bytes('by this') });
});

test('who asks again, because its answer was lost, has made its change once', async (context) => {
  const server = await startRedis(context);
  const text = open(server);
  const replace = (version: string, next: string, value: string): Promise<unknown> =>
    server.command('EVAL', replaceScript.text, '1', 'text', version, next, value);
  await expect(replace('', 'mine-------------', 'mine')).resolves.toBe(1);
  const kept = await text.read(signal);
  await expect(text.replace('of others', kept?.version ?? '', signal)).resolves.toBe(true);
  await expect(replace('', 'mine-------------', 'mine')).resolves.toBe(1);
  await expect(text.read(signal)).resolves.toMatchObject({ text: bytes('of others') });
  // The versions that are remembered are bounded.
  for (let round = 0; round < 150; round += 1) {
    const version = await text.version(signal);
    await text.replace(String(round), version ?? '', signal);
  }
  const length = await server.command('HSTRLEN', 'text', 'made');
  expect(Number(length)).toBeLessThanOrEqual(100 * 17);
});

test('a Redis that does not answer leaves it open whether the text was replaced', async (context) => {
  const server = await startRedis(context);
  const text = open(server, { deadlineMs: 100 });
  await text.replace('first', '', signal);
  const version = await text.version(signal);
  server.stop();
  await expect(text.version(signal)).rejects.toMatchObject({ code: 'text_failed' });
  await expect(text.replace('second', version ?? '', AbortSignal.timeout(600))).rejects.toMatchObject({
    code: 'text_unknown',
    message: expect.stringContaining(`redis://127.0.0.1:${server.port}: the text was sent`),
  });
  server.continue();
  await expect.poll(async () => String((await text.read(signal))?.text)).toBe('second');
  await server.kill();
  // Nothing was sent: it is known that nothing was replaced.
  await expect(open(server).replace('third', '', AbortSignal.timeout(600))).rejects.toMatchObject({
    code: 'text_failed',
  });
});

test('a text that is too large is neither kept nor read', async (context) => {
  const server = await startRedis(context);
  const text = open(server, { maxBytes: 10 });
  await expect(text.replace('12345678901', '', signal)).rejects.toThrow('at most 10 bytes, got 11');
  await server.command('HSET', 'text', 'text', '12345678901');
  await expect(text.read(signal)).rejects.toMatchObject({
    code: 'text_failed',
    message: expect.stringContaining('at most 10 bytes, got 11'),
  });
});

test('who may only read needs no more than three commands', async (context) => {
  const only = ['on', '>secret', '~text', '-@all', '+hget', '+hmget', '+hstrlen'];
  const server = await startRedis(context, ['--user', 'reader', ...only]);
  await open(server).replace('a text', '', signal);
  const text = open({ url: server.url.replace('//', '//reader@') }, { password: 'secret' });
  await expect(text.version(signal)).resolves.toEqual(expect.any(String));
  await expect(text.read(signal)).resolves.toMatchObject({ text: bytes('a text') });
  await expect(text.replace('another', '', signal)).rejects.toThrow('NOPERM');
});

test.for([
  [{ key: '' }, 'key: expected 1 to 512 characters, got 0.'],
  [{ deadlineMs: 1 }, 'deadlineMs: expected 10 to 60,000, got 1.'],
  [{ maxBytes: 0.5 }, 'maxBytes: expected a whole number from 1 to 67108864, got 0.5.'],
  [{ url: 'http://a' }, 'expected redis://HOST:PORT'],
] as const)('%o is refused', ([options, words]) => {
  const all = { url: 'redis://127.0.0.1:1', key: 'text', ...options };
  expect(() => openRedisText(all)).toThrow(words);
});
