import { existsSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chromium } from 'playwright';
import { request } from 'undici';
import { expect, onTestFinished, test } from 'vitest';
import { startGateway } from './support/processes.ts';
import { openRaw } from './support/raw-request.ts';
import { chatBody } from './support/requests.ts';
import { eventually } from './support/spawn.ts';
import { openStream } from './support/stream-url.ts';

const executablePath = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium';
interface Asked {
  readonly method?: 'HEAD' | 'POST';
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

const origin = 'https://app.example';
const key = { authorization: 'Bearer right-key' };
const env = { SPILLWAY_API_KEYS: 'right-key' };
const bounds = ['--max-request-bytes', '1000', '--max-header-bytes', '4096', '--request-timeout-ms', '1000'];

test('1.13 a page of an allowed origin may read every answer, errors of any kind included', async () => {
  const gateway = await startGateway([...bounds, '--allowed-origins', origin], { env });
  const { url } = gateway;
  const { url: stream } = await openStream(url, 'sim:tokens=5,tps=0,ttft=0', { headers: key });
  const post = { method: 'POST', headers: { ...key, 'content-type': 'application/json' } } as const;
  const chat = `${url}/v1/chat/completions`;
  const asked: readonly (readonly [string, Asked, number])[] = [
    [`${url}/health/live`, {}, 200],
    [`${url}/v1/models`, { headers: key }, 200],
    [chat, { ...post, body: chatBody('sim:tokens=1,tps=0,ttft=0') }, 200],
    [chat, { ...post, body: chatBody('sim:status=500') }, 500],
    [chat, { ...post, body: '{' }, 400],
    [`${url}/v1/models`, {}, 401],
    [`${url}/nothing`, {}, 404],
    [`${url}/v1//twice`, { headers: key }, 404],
    [chat, { ...post, body: chatBody('x'.repeat(2000)) }, 413],
    [stream, { headers: key }, 200],
    [stream, { headers: { ...key, accept: 'text/event-stream' } }, 200],
    [stream, { headers: key, method: 'HEAD' }, 200],
    [`${stream}x`, { headers: key }, 404],
  ];
  for (const [what, options, status] of asked) {
    const ask = async (from: string): Promise<unknown> => {
      const answer = await request(what, { ...options, headers: { ...options.headers, origin: from } });
      await answer.body.dump();
      expect([answer.statusCode, answer.headers['vary']], what).toEqual([status, 'Origin']);
      return answer.headers['access-control-allow-origin'];
    };
    expect(await ask(origin), what).toBe(origin);
    expect(await ask('https://evil.example'), what).toBe(undefined);
  }
  // What is answered below the server's own code: a request that could not be read, and a body that does not come.
  for (const [headers, status] of [
    [{ origin, cookie: 'x'.repeat(9000) }, 431],
    [{ origin, 'content-length': 'many' }, 400],
    [{ origin, ...key, 'content-length': '10' }, 408],
  ] as const) {
    const raw = await openRaw(url, headers);
    await eventually(() => raw.answer().includes('\r\n\r\n'), `an answer with ${status}`);
    expect(raw.answer()).toContain(`HTTP/1.1 ${status} `);
    expect(raw.answer().toLowerCase()).toContain(`access-control-allow-origin: ${origin}\r\n`);
    raw.socket.destroy();
  }
});

test('1.13 a preflight request is answered at every path, and only to allowed origins', async () => {
  const gateway = await startGateway(['--allowed-origins', origin], { env });
  const preflight = async (path: string, from: string) => {
    const headers = {
      origin: from,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,x-stainless-os',
    };
    const answer = await request(gateway.url + path, { method: 'OPTIONS', headers });
    await answer.body.dump();
    return answer;
  };
  for (const path of ['/v1/chat/completions', '/streams/none', '/nothing', '/health/live', '/v1//twice']) {
    const { headers, statusCode } = await preflight(path, origin);
    expect([statusCode, headers['access-control-allow-origin']], path).toEqual([204, origin]);
    expect(headers['access-control-allow-headers']).toBe('authorization,x-stainless-os');
    expect(headers['access-control-allow-methods']).toBe('DELETE, GET, PATCH, POST, PUT, HEAD');
    const refused = await preflight(path, 'https://evil.example');
    expect([refused.statusCode >= 400, refused.headers['access-control-allow-origin']], path).toEqual([
      true,
      undefined,
    ]);
  }
});

// The vitest configuration says so when there is no Chromium.
test.skipIf(!existsSync(executablePath))(
  'a page in a real Chromium sees statuses and ids of errors',
  async () => {
    const pages = createServer((_request, response) => {
      response.setHeader('content-type', 'text/html');
      response.end('<!doctype html><title>page</title>');
    });
    await new Promise<void>((resolve) => pages.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      pages.close();
      pages.closeAllConnections();
    });
    const page = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;
    const gateway = await startGateway([...bounds, '--allowed-origins', page], { env });
    const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
    onTestFinished(() => browser.close());
    const tab = await browser.newPage();
    await tab.goto(page);
    const seen = await tab.evaluate(
      async ({ url }) => {
        const ask = async (path: string, init: RequestInit = {}): Promise<string> => {
          try {
            const answer = await fetch(url + path, init);
            const id = answer.headers.get('x-spillway-request-id')?.length;
            return `${answer.status} ${id}`;
          } catch (error) {
            return String(error);
          }
        };
        const own = { authorization: 'Bearer right-key', 'content-type': 'application/json' };
        return [
          await ask('/v1/models', { headers: own }),
          await ask('/v1/models', { headers: { authorization: 'Bearer guessed' } }),
          await ask('/nothing', { headers: own }),
          await ask('/v1/chat/completions', { method: 'POST', headers: own, body: 'x'.repeat(2000) }),
          await ask('/v1/models', { headers: { ...own, 'x-large': 'x'.repeat(9000) } }),
        ];
      },
      { url: gateway.url },
    );
    expect(seen).toEqual(['200 36', '401 36', '404 36', '413 36', '431 36']);
  },
);
