import { describe, expect, test } from 'vitest';
import { type ResponseHead, ResponseReader } from '../src/source/response-reader.ts';
import { ambiguousResponses } from './support/responses.ts';

interface Outcome {
  heads: ResponseHead[];
  body: string;
  /** How many pieces the body came in. */
  pieces: number;
  ends: number;
  /** What nobody asked for. */
  rest: string;
}

/** Reads pieces as a connection does: what is left behind a head is read again. */
function read(pieces: readonly string[], maxHeaderBytes = 1024, isClosed = false): Outcome {
  const reader = new ResponseReader(maxHeaderBytes);
  const outcome: Outcome = { heads: [], body: '', pieces: 0, ends: 0, rest: '' };
  const handler = {
    onHead: (head: ResponseHead) => outcome.heads.push(head),
    onBody: (bytes: Buffer, start: number, end: number) => {
      outcome.body += bytes.toString('latin1', start, end);
      outcome.pieces += 1;
    },
    onEnd: () => {
      outcome.ends += 1;
    },
  };
  reader.expect();
  for (const piece of pieces) {
    const bytes = Buffer.from(piece, 'latin1');
    let at = 0;
    while (at < bytes.length && !reader.isIdle) at = reader.read(bytes, at, bytes.length, handler);
    outcome.rest += bytes.toString('latin1', at);
  }
  if (isClosed) reader.close(handler);
  return outcome;
}

/** Every way to cut a text in two, and into single bytes. */
function cuts(text: string): string[][] {
  const halves = Array.from({ length: text.length - 1 }, (_, at) => [
    text.slice(0, at + 1),
    text.slice(at + 1),
  ]);
  return [[text], ...halves, text.split('')];
}

const chunked = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';

describe('a response', () => {
  test('is the same however it is cut', () => {
    const text =
      'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n' +
      'HTTP/1.1 200 OK\r\nX-A: 1\r\nx-a:  2 \r\nTransfer-Encoding: Chunked\r\nKeep-Alive: timeout=5\r\n\r\n' +
      '5\r\nhello\r\n1A;a="b;c"\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nX-Sum: 1\r\n\r\n';
    for (const pieces of cuts(text)) {
      const { body, ends, heads, rest } = read(pieces);
      expect({ body, ends, rest }).toEqual({ body: 'helloabcdefghijklmnopqrstuvwxyz', ends: 1, rest: '' });
      expect(heads).toHaveLength(1);
      expect(heads[0]).toMatchObject({ status: 200, isPersistent: true, headers: { 'x-a': '1, 2' } });
    }
  });

  test('hands on the chunks of one read as one piece', () => {
    const { body, pieces } = read([chunked, '3\r\nabc\r\n3\r\ndef\r\n3\r\nghi\r\n2\r\nj', 'k\r\n0\r\n\r\n']);
    expect({ body, pieces }).toEqual({ body: 'abcdefghijk', pieces: 2 });
  });

  test.each([
    ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', 'hello', true],
    ['HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n', '', true],
    ['HTTP/1.1 204 No Content\r\n\r\n', '', true],
    ['HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n', '', true],
    ['HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n', '', true],
    ['HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n', '', true],
    ['HTTP/1.1 200 OK\r\nConnection: a, Close\r\nContent-Length: 2\r\n\r\nok', 'ok', false],
    ['HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok', 'ok', false],
    ['HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok', 'ok', true],
  ])('ends where its head says: %j', (text, expected, isPersistent) => {
    for (const pieces of cuts(text)) {
      const { body, ends, heads } = read(pieces);
      expect({ body, ends }).toEqual({ body: expected, ends: 1 });
      expect(heads[0]?.isPersistent).toBe(isPersistent);
    }
  });

  test.each(['', 'Transfer-Encoding: identity\r\n'])(
    'without a length ends with its connection, which is not used again and tells no end: %j',
    (header) => {
      const { body, ends, heads } = read([`HTTP/1.1 200 OK\r\n${header}\r\nhel`, 'lo'], 1024, true);
      expect({ body, ends }).toEqual({ body: 'hello', ends: 1 });
      expect(heads[0]).toMatchObject({ isPersistent: false, isDelimited: false });
    },
  );

  test.each([
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n',
    'Transfer-Encoding: chunked, chunked\r\n',
    'Transfer-Encoding: Chunked ,CHUNKED\r\n',
    'Transfer-Encoding: identity, chunked\r\n',
    'Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n',
  ])('has chunks once, however often that is said: %j', (header) => {
    for (const pieces of cuts(`HTTP/1.1 200 OK\r\n${header}\r\n5\r\nhello\r\n0\r\n\r\n`)) {
      const { body, ends, heads, rest } = read(pieces);
      expect({ body, ends, rest }).toEqual({ body: 'hello', ends: 1, rest: '' });
      expect(heads[0]).toMatchObject({ isPersistent: true, isDelimited: true });
    }
  });

  test('is cut when its connection closes before its end', () => {
    for (const text of [
      '',
      'HTTP/1.1 200 OK\r\nContent-Len',
      'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell',
      `${chunked}5\r\nhello`,
      `${chunked}5\r\nhello\r\n0\r\n`,
    ]) {
      expect(() => read([text], 1024, true)).toThrow(/before the response was whole/);
    }
  });

  test('leaves what follows it alone', () => {
    expect(read([`${chunked}0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n`]).rest).toBe('HTTP/1.1 200 OK\r\n\r\n');
  });
});

describe('what two readers could understand in two ways is an error', () => {
  test.each(ambiguousResponses)('%j', (text) => {
    for (const pieces of [[text], text.split('')]) expect(() => read(pieces)).toThrow(/not valid HTTP\/1.1/);
  });

  test('more headers than anybody sends', () => {
    const head = (count: number): string =>
      `HTTP/1.1 200 OK\r\n${'A:\r\n'.repeat(count - 1)}Content-Length: 0\r\n\r\n`;
    expect(read([head(1000)], 16_384).ends).toBe(1);
    expect(() => read([head(1001)], 16_384)).toThrow('more than 1000 headers');
  });

  test.each(['Content-Length: 3', 'transfer-encoding: chunked'])('%s behind the body', (trailer) => {
    const text = `${chunked}5\r\nhello\r\n0\r\n`;
    expect(read([`${text}X: 1\r\n\r\n`]).ends).toBe(1);
    expect(() => read([`${text}${trailer}\r\n\r\n`])).toThrow('in the trailers');
  });

  test.each([
    ['a head', `HTTP/1.1 200 OK\r\nA: ${'a'.repeat(2000)}`],
    ['the extensions of a chunk', `${chunked}1;${'a'.repeat(2000)}`],
    ['trailers', `${chunked}0\r\nA: ${'a'.repeat(2000)}`],
  ])('%s without end', (_name, text) => {
    for (const pieces of [[text], text.split('')])
      expect(() => read(pieces)).toThrow(/more than 1024 bytes|not valid/);
  });
});
