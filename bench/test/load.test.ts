import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { printed, spawnNode } from '../../packages/gateway/test/support/spawn.ts';
import type { ReplyStats } from '../load/provider.ts';
import { Reader, type ReaderOptions } from '../load/reader.ts';
import { ReplyScanner } from '../load/reply-scanner.ts';
import { end, fill, firstEvent, framesOf, head } from '../load/reply.ts';
import { nowUs, tokenAgeUs, tokenBytes, tokenNumber, writeToken } from '../load/token.ts';

const key = '"content":"';

describe('a token', () => {
  test('says its number and how old it is', () => {
    const bytes = Buffer.alloc(tokenBytes + 5);
    writeToken(bytes, 5, 123_456, 1000);
    const text = bytes.toString('latin1');
    expect(tokenNumber(text, 5)).toBe(123_456);
    expect(tokenAgeUs(text, 5, 1250)).toBe(250);
  });

  test('says how old it is when the clock has started again', () => {
    const bytes = Buffer.alloc(tokenBytes);
    writeToken(bytes, 0, 0, 1e10 - 100);
    expect(tokenAgeUs(bytes.toString('latin1'), 0, 1e10 + 50)).toBe(150);
  });

  test('has no number where its text is another one', () => {
    const bytes = Buffer.alloc(tokenBytes);
    writeToken(bytes, 0, 7, 0);
    const text = bytes.toString('latin1');
    for (let at = 0; at < 7; at += 1) {
      const broken = `${text.slice(0, at)}x${text.slice(at + 1)}`;
      expect(tokenNumber(broken, 0)).toBeNaN();
    }
  });
});

describe('the scanner', () => {
  test('finds every token wherever the bytes are cut', () => {
    const bytes = replyOf([0, 1, 2, 3, 4, 5, 6, 7]);
    for (let size = 1; size < 400; size += 1) {
      const { ages, isDone, scanner } = scan(8);
      for (let at = 0; at < bytes.length; at += size) scanner.push(bytes.subarray(at, at + size), nowUs());
      expect([size, scanner.tokens, ages.length, isDone()]).toEqual([size, 8, 8, true]);
    }
  });

  test('finds every token wherever a system cuts its chunks', () => {
    const body = events([0, 1, 2, 3]) + 'data: [DONE]\n\n';
    for (let size = 1; size < 400; size += 1) {
      const { isDone, scanner } = scan(4);
      scanner.push(Buffer.from(inChunks(body, size)), nowUs());
      expect([size, scanner.tokens, isDone()]).toEqual([size, 4, true]);
    }
  });

  test('finds tokens that were merged into one event', () => {
    const text = [0, 1, 2].map((number) => tokenText(number)).join('');
    const { isDone, scanner } = scan(3);
    scanner.push(
      Buffer.from(inChunks(`data: {"delta":{"content":"${text}"}}\n\ndata: [DONE]\n\n`, 50)),
      nowUs(),
    );
    expect([scanner.tokens, isDone()]).toEqual([3, true]);
  });

  test.each([
    { what: 'lost', numbers: [0, 2] },
    { what: 'repeated', numbers: [0, 1, 1, 2] },
    { what: 'in another order', numbers: [1, 0] },
  ])('fails when a token is $what', ({ numbers }) => {
    const { scanner } = scan(3);
    expect(() => scanner.push(replyOf(numbers), nowUs())).toThrow(/expected token/);
  });

  test('fails when a byte of a token is another one', () => {
    const bytes = replyOf([0, 1]);
    const at = bytes.indexOf(key, bytes.indexOf('000000')) + key.length;
    bytes[at + 2] = 0x31;
    expect(() => scan(2).scanner.push(bytes, nowUs())).toThrow(/expected token 1/);
  });

  test('fails when the reply ends too early', () => {
    expect(() => scan(3).scanner.push(replyOf([0, 1]), nowUs())).toThrow(/ended after 2 tokens of 3/);
  });

  test('fails when the end marker is missing', () => {
    const bytes = Buffer.from(inChunks(events([0, 1]), 1000));
    expect(() => scan(2).scanner.push(bytes, nowUs())).toThrow(/ended/);
  });

  test('fails when the answer is an error', () => {
    const bytes = Buffer.from('HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n');
    expect(() => scan(1).scanner.push(bytes, nowUs())).toThrow(/expected 200/);
  });
});

describe('the provider', () => {
  test.each(['tps=0', 'tps=0,batch=32', 'tps=500', 'tps=500,batch=4', 'headers=5,ttft=5'])(
    'sends every token once: %s',
    async (behaviour) => {
      const url = await startProvider();
      const ages: number[] = [];
      const tokens = 320;
      const model = `all:${behaviour},tokens=${tokens}`;
      const readers = Array.from({ length: 20 }, () =>
        open({ url, model, tokens, onToken: (age) => ages.push(age) }),
      );
      await Promise.all(readers.map(({ done }) => done));
      expect(ages).toHaveLength(20 * tokens);
      const replies = await statsOf(url);
      expect(replies).toHaveLength(20);
      for (const reply of replies) expect(reply).toMatchObject({ name: 'all', tokens, isComplete: true });
    },
  );

  test('makes no more than is taken, and the rest when it is', async () => {
    const url = await startProvider();
    const tokens = 320_000;
    const model = `stalled:batch=32,tokens=${tokens}`;
    const stalled = open({ url, model, reads: false });
    // With another one beside it, which uses the same bytes to write from.
    const live = open({ url, model: `live:batch=32,tokens=${tokens}`, tokens });
    await live.done;
    const [first] = await statsOf(url);
    expect(first).toMatchObject({ name: 'stalled', isComplete: false });
    expect(first?.tokens).toBeLessThan(tokens);
    stalled.leave();
    await expect.poll(async () => (await statsOf(url))[0]?.endedUs, { timeout: 10_000 }).toBeTypeOf('number');
  });

  test('sends every token to a reader that stops and goes on', async () => {
    const url = await startProvider();
    const tokens = 64_000;
    const reader = open({ url, model: `pausing:batch=32,tokens=${tokens}`, tokens });
    await reader.first;
    const pause = setInterval(() => {
      reader.socket.pause();
      setTimeout(() => reader.socket.resume(), 5);
    }, 10);
    await reader.done;
    clearInterval(pause);
    expect(reader.tokens).toBe(tokens);
  });

  test('says when a reader has left, and what was written after that', async () => {
    const url = await startProvider();
    const reader = open({ url, model: 'leaving:tps=100,tokens=100000' });
    await reader.first;
    const leftUs = reader.leave();
    await expect.poll(async () => (await statsOf(url))[0]?.endedUs, { timeout: 10_000 }).toBeTypeOf('number');
    const [reply] = await statsOf(url, '?times');
    expect(reply?.endedUs).toBeGreaterThan(leftUs);
    expect(reply?.writtenUs).toHaveLength(reply?.tokens ?? 0);
  });
});

function scan(expected: number): { ages: number[]; isDone: () => boolean; scanner: ReplyScanner } {
  const ages: number[] = [];
  let isDone = false;
  const scanner = new ReplyScanner(key, expected, {
    onToken: (ageUs) => ages.push(ageUs),
    onDone: () => (isDone = true),
  });
  return { ages, isDone: () => isDone, scanner };
}

/** What the provider would write, with these tokens. */
function replyOf(numbers: readonly number[]): Buffer {
  return Buffer.concat([head, firstEvent, ...numbers.map((number) => frame(number)), end]);
}

function frame(number: number): Buffer {
  const [template] = framesOf(1);
  if (template === undefined) throw new Error('there is no frame');
  fill(template, number, nowUs());
  return template.bytes;
}

function tokenText(number: number): string {
  const bytes = Buffer.alloc(tokenBytes);
  writeToken(bytes, 0, number, nowUs());
  return bytes.toString('latin1');
}

function events(numbers: readonly number[]): string {
  return numbers.map((number) => `data: {"delta":{"content":"${tokenText(number)}"}}\n\n`).join('');
}

function inChunks(body: string, size: number): string {
  let text = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
  for (let at = 0; at < body.length; at += size) {
    const piece = body.slice(at, at + size);
    text += `${piece.length.toString(16)}\r\n${piece}\r\n`;
  }
  return `${text}0\r\n\r\n`;
}

async function startProvider(): Promise<string> {
  const command = spawnNode(fileURLToPath(new URL('../load/provider.ts', import.meta.url)), []);
  onTestFinished(async () => {
    command.process.kill('SIGKILL');
    await command.exited;
  });
  return await printed(command, /listening on (\S+)/);
}

function open(options: ReaderOptions): Reader {
  const reader = new Reader(options);
  onTestFinished(() => void reader.leave());
  return reader;
}

async function statsOf(url: string, query = ''): Promise<ReplyStats[]> {
  return (await (await fetch(`${url}/stats${query}`)).json()) as ReplyStats[];
}
