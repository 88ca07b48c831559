import { once } from 'node:events';
import { request } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ResponseReader } from '../src/source/response-reader.ts';

/** What a client makes of a response: `undefined` if it is refused, or was cut. */
type Response = { readonly status: number; readonly body: string } | undefined;

/** What is answered on a connection, by the path that is asked for. */
const answers = new Map<string, Buffer>();
let server: Server;
let asked = 0;

beforeAll(async () => {
  server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (bytes) => {
      const path = bytes.toString('latin1').split(' ')[1] ?? '';
      socket.end(answers.get(path) ?? Buffer.alloc(0));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});

afterAll(() => {
  server.close();
});

/** Node's own client, over a socket. */
async function byNode(bytes: Buffer): Promise<Response> {
  asked += 1;
  const path = `/${asked}`;
  answers.set(path, bytes);
  try {
    return await new Promise((resolve) => {
      const { port } = server.address() as AddressInfo;
      const nothing = (): void => resolve(undefined);
      const asking = request({ host: '127.0.0.1', port, path, agent: false }, (response) => {
        const body: Buffer[] = [];
        response.on('data', (piece: Buffer) => body.push(piece));
        response.on('error', nothing);
        response.on('end', () => {
          const text = Buffer.concat(body).toString('latin1');
          resolve(response.complete ? { status: response.statusCode ?? 0, body: text } : undefined);
        });
      });
      asking.on('error', nothing);
      asking.on('upgrade', nothing);
      asking.end();
    });
  } finally {
    answers.delete(path);
  }
}

/** Ours, with the bytes in pieces of these sizes. */
function byOurs(bytes: Buffer, sizes: readonly number[]): Response {
  const reader = new ResponseReader(4096);
  let status = 0;
  let body = '';
  let ends = 0;
  const handler = {
    onHead: (head: { readonly status: number }) => void ({ status } = head),
    onBody: (read: Buffer, start: number, end: number) => {
      body += read.toString('latin1', start, end);
    },
    onEnd: () => {
      ends += 1;
    },
  };
  try {
    reader.expect();
    for (let at = 0, turn = 0; at < bytes.length && !reader.isIdle; turn += 1) {
      const size = sizes[turn % sizes.length] ?? 1;
      const piece = Buffer.from(bytes.subarray(at, at + size));
      let read = 0;
      while (read < piece.length && !reader.isIdle) {
        read = reader.read(piece, read, piece.length, handler);
      }
      at += size;
      // Behind it is what nobody asked for: Node refuses that, and our connections close then.
      if (reader.isIdle && (read < piece.length || at < bytes.length)) return undefined;
    }
    reader.close(handler);
  } catch {
    return undefined;
  }
  expect(ends).toBe(1);
  return { status, body };
}

const text = fc.string({
  unit: fc.constantFrom('a', 'b', '\r', '\n', '0', ';', ':', '"', ' ', '{', 'é'),
  maxLength: 40,
});
const header = fc.constantFrom(
  'X-A: 1',
  'x-b:',
  'Keep-Alive: timeout=5',
  'Connection: close',
  'Connection: keep-alive',
  'Content-Type: text/event-stream',
);
const framing = fc.oneof(
  text.map((body) => ({ head: `Content-Length: ${Buffer.byteLength(body, 'latin1')}`, body })),
  text.map((body) => ({ head: 'Connection: close', body })),
  fc
    .record({
      chunks: fc.array(text),
      extension: fc.constantFrom('', ';a', ';a=b', ';a="b"'),
      upper: fc.boolean(),
      trailer: fc.constantFrom('', 'X-Sum: 1\r\n'),
    })
    .map(({ chunks, extension, trailer, upper }) => {
      const size = (chunk: string): string => {
        const digits = Buffer.byteLength(chunk, 'latin1').toString(16);
        return upper ? digits.toUpperCase() : digits;
      };
      const lines = chunks
        .filter((chunk) => chunk !== '')
        .map((chunk) => `${size(chunk)}${extension}\r\n${chunk}\r\n`);
      return { head: 'Transfer-Encoding: chunked', body: `${lines.join('')}0\r\n${trailer}\r\n` };
    }),
);
const response = fc
  .record({
    status: fc.constantFrom(200, 201, 204, 304, 400, 429, 503),
    early: fc.constantFrom(
      '',
      'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n',
      'HTTP/1.1 100 Continue\r\n\r\n',
    ),
    headers: fc.array(header, { maxLength: 4 }),
    framing,
  })
  .map(({ early, framing: { body, head }, headers, status }) => {
    const hasBody = status !== 204 && status !== 304;
    // A 204 that says it has a body is refused, where Node reads past what it says.
    const lines = [...headers, status === 204 ? 'X-A: 0' : head].join('\r\n');
    return Buffer.from(`${early}HTTP/1.1 ${status} Fine\r\n${lines}\r\n\r\n${hasBody ? body : ''}`, 'latin1');
  });
const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 5 });

test('what is written by the book is read as Node reads it, however it is cut', async () => {
  await fc.assert(
    fc.asyncProperty(response, sizes, async (bytes, pieces) => {
      expect(byOurs(bytes, pieces)).toEqual(await byNode(bytes));
    }),
    { numRuns: 300 },
  );
});

const oddFields = [
  'Content-Length: 5',
  'Content-Length: 5',
  'Content-Length: 05',
  'Content-Length: 5, 5',
  'Content-Length:5 ',
  'Content-Length : 5',
  'Content-Length: +5',
  'Content-Length: 0x5',
  'Content-Length: 5.0',
  'Content-Length:',
  'Content-Length: 0',
  'Content-Length: 6',
  'Content-Length: 99999999999999999999',
  'Content_Length: 3',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding:\tchunked\t',
  'Transfer-Encoding: CHUNKED',
  'Transfer-Encoding: chunked, chunked',
  'Transfer-Encoding: identity',
  'Transfer-Encoding: identity, chunked',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding: chunked ,chunked',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: chunked;a',
  'Transfer-Encoding: "chunked"',
  'Transfer-Encoding: chunked,',
  'Transfer-Encoding:',
  'Transfer-Encoding : chunked',
  ' folded',
  '\tfolded: a',
  'X: a\0b',
  'X: a\rb',
  'X:',
  ': x',
  'X',
  '',
  'X: \x7f',
  'X: é',
  'Connection: close',
  'Connection: keep-alive',
];
/** What stands at the edges of the book, and beyond them: each of it was read in two ways by some two programs. */
const oddHead = fc.record({
  version: fc.constantFrom('HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', 'http/1.1', ' HTTP/1.1'),
  status: fc.constantFrom('200', '200', '204', '205', '304', '101', '99', '2000'),
  headers: fc.array(fc.constantFrom(...oddFields), { maxLength: 3 }),
  lineEnd: fc.constantFrom('\r\n', '\r\n', '\r\n', '\r\n', '\n', '\r', '\r\r\n', ' \r\n'),
});
const oddBody = fc.oneof(
  fc.constantFrom('', 'hello', 'hello!', '0\r\n\r\n', '\r\nhello'),
  fc
    .record({
      size: fc.constantFrom(
        '5',
        '5',
        '05',
        '005',
        '0x5',
        '+5',
        '-5',
        ' 5',
        '5.',
        '5,',
        '',
        'G',
        '5h',
        '10000000000000005',
      ),
      extension: fc.constantFrom(
        '',
        '',
        ';',
        ';a',
        ' ;a',
        ' ',
        '\t',
        ';a=b',
        '; a',
        ';a="\n"',
        ';a="b',
        ';=',
        ' a',
        ',a',
        '\0',
      ),
      afterSize: fc.constantFrom('\r\n', '\r\n', '\r\n', '\n', '\r', '\r\r\n'),
      data: fc.constantFrom('hello', 'hello', 'hell', 'hello!'),
      afterData: fc.constantFrom('\r\n', '\r\n', '\r\n', '\n', '\r', '', ' \r\n'),
      last: fc.constantFrom('0', '0', '00', '000000', '0;a', '0 ', '-0', ''),
      trailers: fc.constantFrom(
        '',
        '',
        'X: 1\r\n',
        'Content-Length: 3\r\n',
        ' X: 1\r\n',
        'X\r\n',
        'X : 1\r\n',
        'X: 1\n',
      ),
      end: fc.constantFrom('\r\n', '\r\n', '\r\n', '\n', '', '\r\n\r\n'),
    })
    .map(
      ({ afterData, afterSize, data, end, extension, last, size, trailers }) =>
        `${size}${extension}${afterSize}${data}${afterData}${last}\r\n${trailers}${end}`,
    ),
);

test('what is odd is refused, or read as Node reads it', async () => {
  await fc.assert(
    fc.asyncProperty(oddHead, oddBody, sizes, async ({ headers, lineEnd, status, version }, body, pieces) => {
      const lines = [`${version} ${status} Fine`, ...headers, ''].join(lineEnd);
      const bytes = Buffer.from(`${lines}\r\n${body}`, 'latin1');
      const ours = byOurs(bytes, pieces);
      if (ours !== undefined) expect(ours).toEqual(await byNode(bytes));
    }),
    { numRuns: 20_000 },
  );
});

/** What an attacker or a broken proxy does to it. */
const damage = fc.oneof(
  // One character for another, which often changes nothing that counts.
  fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    put: fc.constantFrom('a', '1', 'X', ' ', '\r', '\n', '\t', ':', ',', '\0'),
    remove: fc.constant(1),
  }),
  fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    put: fc.constantFrom(
      '\r\n',
      ' \r\n',
      '\n',
      '0',
      'f',
      ' ',
      'Content-Length: 1\r\n',
      'Transfer-Encoding: identity\r\n',
    ),
    remove: fc.nat(2),
  }),
);

test('what is damaged is refused, or read as Node reads it', async () => {
  let accepted = 0;
  await fc.assert(
    fc.asyncProperty(
      // What an extension says we read past, where Node looks at each character.
      response.filter((bytes) => !bytes.includes(';')),
      sizes,
      fc.array(damage, { minLength: 1, maxLength: 2 }),
      async (bytes, pieces, hits) => {
        let damaged = bytes.toString('latin1');
        for (const { at, put, remove } of hits) {
          const place = Math.floor(at * damaged.length);
          damaged = damaged.slice(0, place) + put + damaged.slice(place + remove);
        }
        const broken = Buffer.from(damaged, 'latin1');
        const ours = byOurs(broken, pieces);
        if (ours === undefined) return;
        accepted += 1;
        expect(ours).toEqual(await byNode(broken));
      },
    ),
    { numRuns: 5000 },
  );
  // Much of it lies in a body, or in a header that says nothing.
  expect(accepted).toBeGreaterThan(5);
});
