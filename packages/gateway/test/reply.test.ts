import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type Reply, sendRequest } from '../src/source/reply.ts';
import { type Reader, readers } from './support/readers.ts';
import { eventually } from './support/spawn.ts';
import { openPool } from './support/transports.ts';

/** The reply of a provider that answers with these bytes, and then ends, closes too early or says nothing more. */
async function replyOf(
  reader: Reader,
  body: Buffer,
  end: 'cut' | 'silent' | 'whole' = 'whole',
): Promise<Reply> {
  const server = createServer((_, response) => {
    response.write(body, () => {
      if (end === 'whole') response.end();
      if (end === 'cut') response.destroy();
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const pool = openPool(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, reader);
  const request = { method: 'GET', path: '/', headers: {}, body: null } as const;
  return await sendRequest(pool, request, new AbortController().signal);
}

/** Everything that a reply still brings. */
async function rest(reply: Reply): Promise<{ readonly bytes: Buffer; readonly isCut: boolean }> {
  const pieces: Buffer[] = [];
  return await new Promise((resolve) => {
    reply.consume({
      data: (bytes, start, end) => void pieces.push(Buffer.from(bytes.subarray(start, end))),
      complete: () => resolve({ bytes: Buffer.concat(pieces), isCut: false }),
      fail: () => resolve({ bytes: Buffer.concat(pieces), isCut: true }),
    });
  });
}

const small = Buffer.from('a few words');
const large = Buffer.alloc(1_000_000, 'large ');

describe.each(readers)('read by %s', (reader) => {
  test('what was looked at comes all the same, and once', async () => {
    for (const body of [Buffer.alloc(0), small, large]) {
      const reply = await replyOf(reader, body);
      for (const _ of [1, 2]) {
        const start = await reply.peek(10_000, 10_000);
        expect(start.length).toBeGreaterThanOrEqual(Math.min(body.length, 10_000));
        expect(start.equals(body.subarray(0, start.length))).toBe(true);
        expect(reply.isWhole).toBe(start.length === body.length);
      }
      const { bytes, isCut } = await rest(reply);
      expect(bytes.equals(body)).toBe(true);
      expect(isCut).toBe(false);
    }
  });

  test('what is cut or takes too long is not whole', async () => {
    for (const end of ['cut', 'silent'] as const) {
      const reply = await replyOf(reader, small, end);
      expect(await reply.peek(10_000, end === 'cut' ? 60_000 : 200)).toEqual(small);
      expect(reply.isWhole).toBe(false);
      if (end === 'cut') expect(await rest(reply)).toEqual({ bytes: small, isCut: true });
    }
  });

  test('whoever takes it can pause it at once', async () => {
    const reply = await replyOf(reader, large);
    await reply.peek(10_000, 10_000);
    let bytes = 0;
    let pieces = 0;
    let hasEnded = false;
    reply.consume({
      data(_, start, end) {
        bytes += end - start;
        pieces += 1;
        if (pieces === 1) reply.pause();
      },
      complete: () => (hasEnded = true),
      fail: (error) => expect.unreachable(error.message),
    });
    // Long enough for all of it.
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(pieces).toBe(1);
    reply.resume();
    await eventually(() => hasEnded, 'the end');
    expect(bytes).toBe(large.length);
  });
});
