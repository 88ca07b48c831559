import { brotliCompressSync, constants, deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openClient, type StreamReader } from '../../client/src/index.ts';
import { upstreamsAt } from './support/answers.ts';
import { residentBytes, type RunningGateway, startGateway } from './support/processes.ts';
import { type RawPair, rawPairForAll, startRawProvider, wholeAnswer } from './support/raw-provider.ts';

const codings: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
  gzip: (bytes) => gzipSync(bytes),
  deflate: (bytes) => deflateSync(bytes),
  br: (bytes) => brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 2 } }),
  zstd: (bytes) => zstdCompressSync(bytes),
};

/** What is asked, and with which answer. */
const answers = [
  {
    name: 'a chat answer',
    path: '/v1/chat/completions',
    type: 'application/json',
    bytes: Buffer.from('{"choices":[]}'),
  },
  {
    name: 'embeddings',
    path: '/v1/embeddings',
    type: 'application/json',
    bytes: Buffer.from(`{"data":[${'0.25,'.repeat(30_000)}0]}`),
  },
  {
    name: 'audio',
    path: '/v1/audio/speech',
    type: 'audio/mpeg',
    bytes: Buffer.from(Array.from({ length: 150_000 }, (_, at) => (at * at) % 251)),
  },
  {
    name: 'a file',
    path: '/v1/files/1/content',
    type: 'text/plain',
    bytes: Buffer.from('Größe\n'.repeat(20_000)),
  },
] as const;

interface Told {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Buffer;
}

const shared = rawPairForAll();

/** A client over a session, and a provider that answers it with these bytes. */
async function start(args: readonly string[] = []): Promise<{
  gateway: RunningGateway;
  request: (path: string, answer: Buffer, body?: string) => StreamReader;
  ask: (path: string, answer: Buffer, body?: string) => Promise<Told>;
  byHttp: (path: string, answer: Buffer) => Promise<Response>;
}> {
  let next = Buffer.alloc(0);
  const { gateway, provider } = args.length === 0 ? shared() : await startPair(args);
  provider.answer = (_asked, socket) => void socket.write(next);
  const client = openClient({ url: gateway.url, windowBytes: 262_144 });
  onTestFinished(() => client.close());
  const plain = '{"model":"m","messages":[]}';
  const request = (path: string, answer: Buffer, body = plain): StreamReader => {
    next = Buffer.from(answer);
    return client.request(path, { body });
  };
  return {
    gateway,
    request,
    async ask(path, answer, body) {
      const reader = request(path, answer, body);
      const { headers, status } = await reader.response;
      const parts: Uint8Array[] = [];
      for await (const item of reader) {
        if (item.type === 'chunk') parts.push(item.bytes);
        reader.ack(item.to);
      }
      return { status, headers: new Headers(headers), bytes: Buffer.concat(parts) };
    },
    byHttp(path, answer) {
      next = Buffer.from(answer);
      const headers = { 'content-type': 'application/json' };
      return fetch(gateway.url + path, { method: 'POST', headers, body: plain });
    },
  };
}

async function startPair(args: readonly string[]): Promise<RawPair> {
  const provider = await startRawProvider(() => undefined);
  return { provider, gateway: await startGateway(['--upstream', upstreamsAt(provider.url), ...args]) };
}

function contentOf(
  { bytes, type }: { bytes: Buffer; type: string },
  coding: string,
  status = '200 OK',
): Buffer {
  const pack = codings[coding];
  const body = pack === undefined ? bytes : pack(bytes);
  return wholeAnswer(body, { 'content-type': type, 'content-encoding': coding }, status);
}

describe('5.2 over a session an answer has no coding', () => {
  test.each(answers)('$name', async (answer) => {
    const { ask, byHttp } = await start();
    for (const coding of Object.keys(codings)) {
      const { bytes, headers, status } = await ask(answer.path, contentOf(answer, coding));
      expect([status, headers.get('content-encoding')]).toEqual([200, null]);
      expect(headers.get('content-length')).toBeNull();
      expect(headers.get('content-type')).toBe(answer.type);
      expect(bytes.equals(answer.bytes)).toBe(true);
      // By HTTP it is handed on as it is, and its client undoes it.
      const direct = await byHttp(answer.path, contentOf(answer, coding));
      expect(direct.headers.get('content-encoding')).toBe(coding);
      expect(Buffer.from(await direct.arrayBuffer()).equals(answer.bytes)).toBe(true);
    }
  });

  test('JSON where events were asked for', async () => {
    const { ask } = await start();
    const [chat] = answers;
    const { bytes, headers } = await ask(chat.path, contentOf(chat, 'gzip'), '{"stream":true}');
    expect([headers.get('content-encoding'), bytes.toString()]).toEqual([null, chat.bytes.toString()]);
  });

  test.each(['compress', 'x-own', 'dcb'])('but one in %s, that nobody knows, stays', async (coding) => {
    const { ask } = await start();
    for (const status of ['200 OK', '422 No']) {
      for (const answer of answers) {
        const { bytes, headers } = await ask(answer.path, contentOf(answer, coding, status));
        expect(headers.get('content-encoding')).toBe(coding);
        expect(bytes.equals(answer.bytes)).toBe(true);
      }
    }
  });

  test('and a part of a coded one stays, too', async () => {
    const { ask } = await start();
    const part = gzipSync(Buffer.from('a file')).subarray(2, 12);
    const head = {
      'content-type': 'text/plain',
      'content-encoding': 'gzip',
      'content-range': 'bytes 2-11/26',
    };
    const answer = wholeAnswer(part, head, '206 Partial Content');
    const { bytes, headers } = await ask('/v1/files/1/content', answer);
    expect([headers.get('content-encoding'), bytes.equals(part)]).toEqual(['gzip', true]);
  });

  test.each(['200 OK', '422 No'])('one that is cut, with status %s, is never whole', async (status) => {
    const { ask } = await start();
    const long = Buffer.from(Array.from({ length: 150_000 }, (_, at) => (at * at * at) % 253));
    for (const [coding, pack] of Object.entries(codings)) {
      const head = { 'content-type': 'audio/mpeg', 'content-encoding': coding };
      for (const path of ['/v1/audio/speech', '/v1/chat/completions']) {
        const answer = wholeAnswer(pack(long).subarray(0, -9), head, status);
        const outcome = await ask(path, answer).catch((error: unknown) => error);
        // Of one that became less than 64 KiB before the cut, nothing was sent yet: the error is the answer.
        if (outcome instanceof Error) expect(outcome).toMatchObject({ code: 'upstream_cut' });
        else expect((outcome as Told).bytes.toString()).toContain('"code":"upstream_invalid"');
      }
    }
  });

  test.each(['200 OK', '422 No'])(
    'one in another coding than it says, with status %s, is never whole',
    async (status) => {
      const { ask } = await start();
      for (const [coding, other] of [
        ['gzip', 'br'],
        ['gzip', 'deflate'],
        ['zstd', 'gzip'],
      ] as const) {
        for (const { bytes, path, type } of answers) {
          const head = { 'content-type': type, 'content-encoding': coding };
          const answer = wholeAnswer(codings[other]?.(bytes) ?? '', head, status);
          const outcome = await ask(path, answer).catch((error: unknown) => error);
          // Nothing was sent yet: the error is the answer.
          if (outcome instanceof Error) expect(outcome).toMatchObject({ code: 'upstream_invalid' });
          else expect((outcome as Told).bytes.toString()).toContain('"code":"upstream_invalid"');
        }
      }
    },
  );

  test('a refusal that is cut before it is told is told with its words', async () => {
    const { ask } = await start();
    const head = { 'content-type': 'text/plain', 'content-encoding': 'gzip' };
    const answer = wholeAnswer(gzipSync('There is no such one.').subarray(0, -4), head, '422 No');
    const { bytes, headers, status } = await ask('/v1/chat/completions', answer);
    expect([status, headers.get('content-encoding')]).toEqual([422, null]);
    const { error } = JSON.parse(bytes.toString()) as { error: { code: string; message: string } };
    expect(error.code).toBe('upstream_invalid');
    expect(error.message).toContain('There is no such one.');
  });

  test.each(['200 OK', '422 No'])(
    'promise 1: a few bytes that become many, with status %s, wait for their reader',
    async (status) => {
      const maxBytes = 2 ** 27;
      const { gateway, request } = await start(['--max-stream-bytes', String(maxBytes)]);
      const head = { 'content-type': 'application/json', 'content-encoding': 'gzip' };
      const bomb = wholeAnswer(gzipSync(Buffer.alloc(2 * maxBytes)), head, status);
      const before = residentBytes(gateway);
      for (const path of ['/v1/embeddings', '/v1/chat/completions']) {
        const reader = request(path, bomb);
        expect((await reader.response).status).toBe(Number(status.slice(0, 3)));
        // Long enough for all of it, if it were not waited for.
        await new Promise((resolve) => setTimeout(resolve, 1000));
        expect(residentBytes(gateway) - before).toBeLessThan(2 ** 26);
        let bytes = 0;
        const read = async (): Promise<void> => {
          for await (const item of reader) {
            if (item.type === 'chunk') bytes += item.bytes.length;
            reader.ack(item.to);
          }
        };
        await expect(read()).rejects.toMatchObject({ code: 'stream_too_large' });
        expect(bytes).toBeLessThanOrEqual(maxBytes);
      }
    },
  );
});
