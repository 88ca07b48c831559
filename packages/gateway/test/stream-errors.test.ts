import type { ServerResponse } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type AnsweringProvider, type Gateway, openAnsweringProvider } from './support/answering-provider.ts';
import { askings, sendEvents } from './support/refusals.ts';

let provider: AnsweringProvider;
let gateway: Gateway;

beforeAll(async () => {
  provider = await openAnsweringProvider();
  gateway = await provider.openGateway();
});

afterAll(() => provider.close());

/** Errors in the middle of a stream, as its last event. */
const lastEvents: readonly (readonly [name: string, event: string])[] = [
  ['error, first', 'data: {"error":{"message":"engine died","code":500}}'],
  ['error, with spaces', 'data: { "error": {"message":"engine died","code":500}}'],
  ['error, behind other keys', 'data: {"id":"c","error":{"message":"engine died","code":502}}'],
  ['error, a string', 'data: {"error":"engine died"}'],
  [
    'error, in a whole event',
    'data: {"id":"c","error":{"code":502,"message":"engine died"},"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}]}',
  ],
  ['a list', 'data: [{"error":{"message":"engine died","code":500,"status":"INTERNAL"}}]'],
  ['detail', 'data: {"detail":"engine died"}'],
  ['message', 'data: {"message":"engine died","code":500}'],
  ['errors', 'data: {"success":false,"errors":[{"message":"engine died"}]}'],
  ['object', 'data: {"object":"error","message":"engine died","type":"InternalServerError","code":500}'],
  ['type', 'data: {"type":"error"}'],
  [
    'type, named',
    'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"engine died"}}',
  ],
  ['a name, and words', 'event: error\ndata: engine died'],
  ['a name without a space', 'event:error\ndata:{"code":500}'],
  ['a name, behind its data', 'data: {"code":500}\nevent: error'],
  ['a name, and data in lines', 'event: error\ndata: {"code":\ndata: 500}'],
];

describe.each(askings)('2.4 an error in a stream, by $name', (asking) => {
  test.each(lastEvents)('in the spelling "%s" stands alone', async (_name, event) => {
    for (const lineEnd of ['\n', '\r\n']) {
      const body = `${asking.firstEvent}\n\n${event}\n\n`.replaceAll('\n', lineEnd);
      const answer = (response: ServerResponse): void => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(body);
      };
      expect(await provider.textOf(gateway.url, asking, answer)).toBe(body);
      const direct = await provider.outcome(provider.url, asking, true, answer);
      const through = await provider.outcome(gateway.url, asking, true, answer);
      expect({ ...through.seen, headers: {} }).toEqual({ ...direct.seen, headers: {} });
      expect(through.requests).toBe(direct.requests);
    }
  });

  test('that lacks only its blank line is told, and one that lacks more is not', async () => {
    const whole = 'data: {"error":{"message":"engine died","code":500}}';
    for (const rest of ['', '\n', '\r\n']) {
      const start = `${asking.firstEvent}\n\n`;
      const told = await provider.textOf(gateway.url, asking, (response) =>
        sendEvents(response, start + whole + rest),
      );
      expect(told).toBe(`${start}${whole}${rest}\n\n`);
      const cut = await provider.textOf(gateway.url, asking, (response) => {
        sendEvents(response, start + whole.slice(0, -1) + rest);
      });
      expect(cut).not.toContain('engine died');
      expect(cut).toContain('The provider closed the stream before its end');
    }
  });

  test('is not what words seem that the answer goes on behind', async () => {
    const body = `data: {"message":"loading"}\n\n${asking.firstEvent}\n\n`;
    const text = await provider.textOf(gateway.url, asking, (response) => sendEvents(response, body));
    expect(text.startsWith(body)).toBe(true);
    expect(text).toContain('The provider closed the stream before its end');
  });
});
