import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, test } from 'vitest';
import { type CallTool, webhookTool, type WebhookToolOptions } from '../../src/index.ts';

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function serve(
  answer: (request: IncomingMessage, response: ServerResponse) => unknown,
): Promise<string> {
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/weather`;
}

function tool(url: string, more: Partial<WebhookToolOptions> = {}): CallTool {
  return webhookTool({
    name: 'weather',
    description: 'The weather.',
    parameters: { type: 'object' },
    url,
    ...more,
  });
}

function run(one: CallTool, signal = new AbortController().signal): Promise<string> {
  return one.run({ town: 'Bern' }, { callId: 'CA1', toolCallId: 'tool-1', signal });
}

describe('a webhook', () => {
  test('gets the arguments, the ids and its headers, and its answer is the result', async () => {
    let got: unknown;
    const url = await serve(async (request, response) => {
      got = [
        request.method,
        request.headers['content-type'],
        request.headers['x-key'],
        JSON.parse(await text(request)),
      ];
      response.end('17 °C');
    });
    await expect(run(tool(url, { headers: { 'x-key': 'k' } }))).resolves.toBe('17 °C');
    expect(got).toEqual([
      'POST',
      'application/json',
      'k',
      { call: 'CA1', id: 'tool-1', tool: 'weather', arguments: { town: 'Bern' } },
    ]);
  });

  test.each<[string, (response: ServerResponse) => unknown, RegExp]>([
    ['refuses', (response) => response.writeHead(500).end('secret'), /status 500/u],
    [
      'leads elsewhere',
      (response) => response.writeHead(302, { location: '/elsewhere' }).end(),
      /fetch failed/u,
    ],
    ['is too long', (response) => response.end('x'.repeat(40_000)), /longer than 32768 bytes/u],
    [
      'is no text',
      (response) => response.end(Buffer.from([0xff, 0xfe, 0xfd])),
      /encoded data was not valid/u,
    ],
    [
      'breaks off',
      (response) => {
        response.write('x');
        setTimeout(() => response.destroy(), 20);
      },
      /terminated|aborted/u,
    ],
  ])('that %s is a failure', async (_, answer, message) => {
    const url = await serve((request, response) =>
      request.url === '/elsewhere' ? response.end('17') : answer(response),
    );
    await expect(run(tool(url))).rejects.toThrow(message);
  });

  test('that never ends is left when the run is aborted', async () => {
    const gone = Promise.withResolvers<void>();
    const giveUp = new AbortController();
    const url = await serve((_request, response) => {
      response.write('x');
      giveUp.abort();
      response.on('close', () => gone.resolve());
    });
    await expect(run(tool(url), giveUp.signal)).rejects.toThrow(/aborted/u);
    await gone.promise;
  });

  test('that cannot be is refused', () => {
    expect(() => tool('ftp://example.com')).toThrow(/url: expected a URL with http: or https:/u);
    expect(() => tool('http://example.com', { maxResultBytes: 0 })).toThrow(/maxResultBytes: expected/u);
    expect(() => tool('http://example.com', { parameters: { type: 'thing' } })).toThrow(
      /weather: parameters: expected a JSON Schema/u,
    );
  });
});
