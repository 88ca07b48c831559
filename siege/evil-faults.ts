import type { Socket } from 'node:net';

/** What a hostile provider does when it was asked, by the model's name. Whatever it starts ends with the connection. */
type Fault = (socket: Socket) => void;

const json = 'content-type: application/json';
const chunked = 'content-type: text/event-stream\r\ntransfer-encoding: chunked';
const event = 'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n';
const geminiEnd = 'data: {"candidates":[{"content":{"parts":[{"text":"x"}]},"finishReason":"STOP"}]}';

export const faults: Readonly<Record<string, Fault>> = {
  /** Takes any body and answers at once. */
  swallow: says(`200 OK\r\n${json}\r\ncontent-length: 2\r\n\r\n{}`),
  silent: () => undefined,
  'stalled-error': says(`500 Bad\r\n${json}\r\ncontent-length: 1000\r\n\r\n{"error": {`),
  'stalled-refusal': says(`429 No\r\n${json}\r\nretry-after: 0\r\ncontent-length: 1000\r\n\r\n{`),
  'endless-error': keepsSaying(
    `400 Bad\r\n${json}\r\ntransfer-encoding: chunked\r\n\r\n`,
    chunk('x'.repeat(16_000)),
  ),
  'chunk-extension': says(`200 OK\r\n${chunked}\r\n\r\n5 x\r\nhello\r\n0\r\n\r\n`),
  'chunk-garbage': says(`200 OK\r\n${chunked}\r\n\r\n${chunk(event)}zz\r\n`),
  'chunk-overflow': says(`200 OK\r\n${chunked}\r\n\r\nffffffffffffffff\r\n${event}`),
  'endless-extension': keepsSaying(`200 OK\r\n${chunked}\r\n\r\n5;`, 'x'.repeat(16_000)),
  'endless-trailer': keepsSaying(`200 OK\r\n${chunked}\r\n\r\n0\r\n`, `x: ${'x'.repeat(8000)}\r\n`),
  'endless-head': keepsSaying('200 OK\r\n', 'x-more: 1\r\n'),
  'endless-informational': keepsSaying('103 Early\r\n\r\n', 'HTTP/1.1 103 Early\r\n\r\n'),
  'no-content': says(`204 No Content\r\ncontent-length: 5\r\n\r\nhello`),
  'two-lengths': says(`200 OK\r\n${json}\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{} `),
  'two-answers': says(
    `200 OK\r\n${json}\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n`,
  ),
  'endless-event': keepsSaying(`200 OK\r\n${chunked}\r\n\r\n${chunk('data: {"')}`, chunk('x'.repeat(16_000))),
  'endless-comments': keepsSaying(`200 OK\r\n${chunked}\r\n\r\n`, chunk(': x\n\n')),
  'large-events': keepsSaying(
    `200 OK\r\n${chunked}\r\n\r\n`,
    chunk(`data: {"x":"${'x'.repeat(900_000)}"}\n\n`),
  ),
  cut: says(`200 OK\r\n${chunked}\r\n\r\n${chunk(event)}`, true),
  'gemini-cut': says(`200 OK\r\n${chunked}\r\n\r\n${chunk(geminiEnd.slice(0, -3))}0\r\n\r\n`),
  'gemini-silent': says(`200 OK\r\n${chunked}\r\n\r\n${chunk(geminiEnd.slice(0, 40))}`),
};

function says(text: string, closes = false): Fault {
  return (socket) => {
    socket.write(`HTTP/1.1 ${text}`);
    if (closes) socket.end();
  };
}

/** Says something, and then the same again and again while the gateway takes it. */
function keepsSaying(head: string, again: string): Fault {
  return (socket) => {
    socket.write(`HTTP/1.1 ${head}`);
    const timer = setInterval(() => {
      if (!socket.writableNeedDrain) socket.write(again);
    }, 20);
    socket.once('close', () => clearInterval(timer));
  };
}

function chunk(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
}
