import { once } from 'node:events';
import { Agent, createServer, type IncomingMessage, request as httpRequest } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { readTarget } from '../src/http/request-target.ts';
import { eventually, startGateway } from './support/processes.ts';
import { chatRequest, openSession } from './support/session.ts';

/** Sends bytes as they are, and reads the first line of what comes back. */
async function firstLine(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname.replaceAll(/[[\]]/g, ''));
  socket.write(text);
  let answer = '';
  socket.setEncoding('utf8').on('data', (part: string) => (answer += part));
  await once(socket, 'close');
  return answer.split('\r\n')[0] ?? '';
}

function post(target: string, headers = 'host: localhost\r\n'): string {
  const body = '{"model":"m","messages":[]}';
  return (
    `POST ${target} HTTP/1.1\r\n${headers}content-type: application/json\r\n` +
    `content-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`
  );
}

/** A server at that address that notes what it is asked. */
async function startNoting(host: string, port = 0): Promise<{ port: number; seen: IncomingMessage[] }> {
  const seen: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    seen.push(request);
    request.resume();
    response.setHeader('content-type', 'application/json').end('{}');
  });
  server.listen(port, host);
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  onTestFinished(() => server.closeAllConnections());
  return { port: (server.address() as AddressInfo).port, seen };
}

const refused = [
  'http://127.0.0.1/v1/files',
  'http://evil.example/v1/files',
  '*',
  'v1/files',
  '//evil.example/v1/files',
  '/v1//evil.example/files',
  '/v1/../files',
  '/v1/./files',
  '/v1/..',
  '/v1/%2e%2e/files',
  '/v1/.%2E/files',
  '/v1/..%2ffiles',
  '/v1/files%2f..%2f..%2fadmin',
  '/v1/..%5cfiles',
  '/v1/..;/files',
  '/v1/..;a=b/files',
  '/v1/%252e%252e/files',
  '/v1/%252e%252e%252ffiles',
  '/v1/%25252e%25252e%25252ffiles',
  '/v1/%2525252525252e/files',
  '/v1/%c0%ae%c0%ae/files',
  '/v1\\files',
  '/v1/files%5cx',
  '/v1/files%255cx',
  '/v1/%2fevil.example/files',
  '/v1/files%2f%2fx',
  '/v1/..%20/files',
  '/v1/..%3b/files',
  '/v1/files%00',
  '/v1/files%0d%0aHost:evil.example',
  '/v1/files%250a',
  '/v1/files%7f',
  '/v1/files#a',
  '/v1/%zz',
  '/v1/files%',
];

/** What is a path leads nowhere; anything else is no request for a gateway. */
function statusOf(target: string): number {
  return /^\/(?!\/)/.test(target) ? 404 : 400;
}

describe('a request target', () => {
  test.each(refused)('that could be read in two ways is none: %s', (target) => {
    expect(readTarget(target)).toBeUndefined();
  });

  test.each([
    ['/v1/chat/completions', '/v1/chat/completions'],
    ['/v%31/ch%61t/completions', '/v1/chat/completions'],
    ['/v1/models/org%2Fname', '/v1/models/org%2Fname'],
    ['/v1/models/a..b/...', '/v1/models/a..b/...'],
    ['/v1/models/m%3Aaction', '/v1/models/m%3Aaction'],
    ['/v1beta/models/x:generate?key=%61%2e%2e/..//', '/v1beta/models/x:generate?key=%61%2e%2e/..//'],
    ['/v1/files/%E2%82%AC', '/v1/files/%E2%82%AC'],
  ])('keeps what needs an encoding: %s', (target, canonical) => {
    expect(readTarget(target)).toBe(canonical);
    expect(readTarget(canonical)).toBe(canonical);
  });

  test('stays where its path begins, for whoever resolves it', () => {
    const piece = fc.constantFrom(
      '/',
      '.',
      '..',
      '%2e',
      '%2E',
      '%2f',
      '%5c',
      '\\',
      ';',
      '%25',
      '2e',
      'v1',
      'a',
      '?',
      '%',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const target = readTarget(`/v1/${pieces.join('')}`);
        if (target === undefined) return;
        const { origin, pathname } = new URL(`http://provider.example/base${target}`);
        expect(origin).toBe('http://provider.example');
        expect(pathname.startsWith('/base/v1/')).toBe(true);
        let path = target.split('?')[0] ?? '';
        for (let round = 0; round < 4; round += 1) {
          path = path.replaceAll(/%([0-7][\da-f])/gi, (_, digits: string) =>
            String.fromCharCode(Number.parseInt(digits, 16)),
          );
          expect(new URL(path.replaceAll('\\', '/'), 'http://x').pathname.startsWith('/v1')).toBe(true);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('the operator’s key', () => {
  test('goes to the configured origin alone, whatever is asked', async () => {
    // `/v%31/…` once became a part of the host: 127.0.0.1 and 31 are 127.0.0.131.
    const evil = await startNoting('127.0.0.131', 80).catch(() => startNoting('127.0.0.131'));
    const provider = await startNoting('127.0.0.1', evil.port).catch(() => undefined);
    if (provider === undefined) throw new Error(`port ${evil.port} is not free at 127.0.0.1`);
    const address = evil.port === 80 ? 'http://127.0.0.1' : `http://127.0.0.1:${evil.port}`;
    const gateway = await startGateway(['--upstream', `name=p,url=${address},apiKeyEnv=KEY`], {
      env: { KEY: 'secret' },
    });
    const answers: string[] = [];
    for (const target of [
      ...refused,
      '/v%31/chat/completions',
      '/v%31%2e0/files',
      '/v1@127.0.0.131/files',
      '/v1/@127.0.0.131/x',
      '/v1:80/files',
    ]) {
      answers.push(await firstLine(gateway.url, post(target)));
    }
    expect(answers.slice(0, refused.length)).toEqual(
      refused.map((target) => `HTTP/1.1 ${statusOf(target) === 404 ? '404 Not Found' : '400 Bad Request'}`),
    );
    expect(evil.seen).toEqual([]);
    expect(provider.seen.map(({ url }) => url)).toEqual(['/chat/completions', '/@127.0.0.131/x']);
    for (const { headers } of provider.seen) expect(headers.authorization).toBe('Bearer secret');
    // The same through a session.
    const session = await openSession(gateway.url);
    for (const [index, path] of [...refused, '/v%31/chat/completions'].entries()) {
      session.send({ ...chatRequest('m', { stream: index + 1 }), path });
      const [response] = await eventually(() => {
        const responses = session.of('response', index + 1);
        return responses.length > 0 && responses;
      }, `an answer to ${path}`);
      expect(response?.status, path).toBe(index < refused.length ? statusOf(path) : 200);
    }
    expect(evil.seen).toEqual([]);
    expect(provider.seen.at(-1)?.url).toBe('/chat/completions');
  });
});

test('whatever is asked, a provider is asked below its base, and nobody else is', async () => {
  const evil = await startNoting('127.0.0.131');
  const provider = await startNoting('127.0.0.1', evil.port);
  const origin = `http://127.0.0.1:${evil.port}`;
  const upstreams =
    `name=o,url=${origin}/base/v1/,apiKeyEnv=KEY name=a,api=anthropic,url=${origin},apiKeyEnv=KEY ` +
    `name=g,api=gemini,url=${origin}/deep/er/,apiKeyEnv=KEY`;
  const gateway = await startGateway(['--upstream', upstreams], { env: { KEY: 'secret' } });
  const agent = new Agent({ keepAlive: true });
  onTestFinished(() => agent.destroy());
  const ask = (path: string, headers: Record<string, string>): Promise<void> =>
    new Promise((resolve, reject) => {
      const { hostname, port } = new URL(gateway.url);
      const asking = httpRequest({ agent, hostname, port, path, headers }, (answer) => {
        answer.resume().on('end', resolve);
      });
      asking.on('error', reject).end();
    });
  const texts =
    '/ // .. . %2e %2F %5c \\ ; %25 @ : 80 127.0.0.131 models/ g m ? # & = %00 %31 %3A http: v1 a %';
  const piece = fc.constantFrom(...texts.split(' '));
  const start = fc.constantFrom(
    '/v1/',
    '/v%31/',
    '/v1beta/',
    '/v1beta/models/g/',
    '/v1',
    '/%76%31beta/',
    '//',
    '',
  );
  const kinds = [
    { headers: {}, base: '/base/v1/' },
    { headers: { 'anthropic-version': '2023-06-01' }, base: '/v1/' },
    { headers: { 'x-goog-api-key': 'k' }, base: '/deep/er/v1' },
  ];
  await fc.assert(
    fc.asyncProperty(
      start,
      fc.array(piece, { maxLength: 8 }),
      fc.constantFrom(...kinds),
      async (prefix, pieces, { base, headers }) => {
        provider.seen.length = 0;
        await ask(prefix + pieces.join(''), headers);
        for (const { headers: sent, url = '' } of provider.seen) {
          const bases = url.startsWith('/deep/er/v1beta/') ? '/deep/er/v1beta/' : base;
          expect(url.startsWith(bases), url).toBe(true);
          expect(new URL(url, origin).pathname.startsWith(bases), url).toBe(true);
          expect(sent.host).toBe(`127.0.0.1:${evil.port}`);
        }
      },
    ),
    { numRuns: 500 },
  );
  expect(evil.seen).toEqual([]);
});

describe('a request', () => {
  const get = (headers: string): string => `GET /health/live HTTP/1.1\r\n${headers}connection: close\r\n\r\n`;
  const upgrade = (headers: string): string =>
    `GET /streams HTTP/1.1\r\n${headers}connection: upgrade\r\nupgrade: websocket\r\n` +
    'sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-protocol: spillway.v1\r\n\r\n';
  const local = 'host: localhost\r\n';

  test.each([
    `${local}host: evil.example\r\n`,
    `${local}Host: localhost\r\n`,
    'host: local host\r\n',
    'host: localhost/v1\r\n',
    'host: user@localhost\r\n',
    'host: localhost:port\r\n',
    'host: localhost, evil.example\r\n',
    'host: [::1\r\n',
    'host:\r\n',
    `${local}origin: http://localhost\r\norigin: http://evil.example\r\n`,
    `${local}authorization: Bearer a\r\nAuthorization: Bearer b\r\n`,
    `${local}x-api-key: a\r\nx-api-key: b\r\n`,
    `${local}x-goog-api-key: a\r\nx-goog-api-key: a\r\n`,
  ])('that could be taken for two is refused, on both listeners, and as an upgrade: %j', async (headers) => {
    const gateway = await startGateway();
    for (const url of [gateway.url, gateway.adminUrl]) {
      expect(await firstLine(url, post('/v1/files', headers))).toBe('HTTP/1.1 400 Bad Request');
      expect(await firstLine(url, upgrade(headers))).toBe('HTTP/1.1 400 Bad Request');
    }
  });

  test('is read in the same way at each address of localhost', async () => {
    const gateway = await startGateway(['--host', 'localhost', '--admin-host', 'localhost']);
    for (const { port } of [new URL(gateway.url), new URL(gateway.adminUrl)]) {
      for (const hostname of ['127.0.0.1', '[::1]']) {
        const url = `http://${hostname}:${port}`;
        const line = await firstLine(url, get(local)).catch((error: NodeJS.ErrnoException) => error.code);
        // Not every machine has IPv6.
        if (line === 'ECONNREFUSED' || line === 'EADDRNOTAVAIL') continue;
        for (const text of [get(`${local}${local}`), post('http://localhost/v1/files'), post('*')]) {
          expect(await firstLine(url, text), url).toBe('HTTP/1.1 400 Bad Request');
        }
      }
    }
  });
});
