import { createSecureServer } from 'node:http2';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
} from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { within } from '../../core/test/support/within.ts';
import { hasHttp2 } from '../src/config/transport.ts';
import { type Certificates, makeCertificates } from './support/certificates.ts';
import { startConnectProxy } from './support/connect-proxy.ts';
import { eventually, run, type RunningGateway, startGateway } from './support/processes.ts';
import { openai, postChat } from './support/requests.ts';
import { printed, spawnProgram } from './support/spawn.ts';

let certificates: Certificates;
beforeAll(() => {
  certificates = makeCertificates();
});
afterAll(() => certificates.remove());

const events = ['one', ' two', ' three'].map(
  (content) =>
    `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta: { role: 'assistant', content }, finish_reason: null }] })}\n\n`,
);

/** What a provider was asked, and in which version of HTTP. */
interface Asked {
  readonly version: string;
  readonly authorization: string | undefined;
  readonly client: string | undefined;
}

interface TestProvider {
  readonly url: string;
  readonly port: number;
  readonly asked: Asked[];
}

/** A provider that refuses whatever is not a chat completion with its key, and streams three words. */
async function startProvider(kind: 'http' | 'https' | 'http2' | 'mutual'): Promise<TestProvider> {
  const asked: Asked[] = [];
  const listener: RequestListener = (request: IncomingMessage, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      const { authorization, host } = request.headers;
      const socket = request.socket as TLSSocket;
      const client = kind === 'mutual' ? socket.getPeerCertificate().subject?.CN?.toString() : undefined;
      asked.push({ version: request.httpVersion, authorization, client });
      const named = host ?? request.headers[':authority'];
      const isRight =
        request.method === 'POST' &&
        request.url === '/v1/chat/completions' &&
        authorization === 'Bearer secret' &&
        named === `localhost:${provider.port}` &&
        request.headers['proxy-authorization'] === undefined &&
        (JSON.parse(body) as { stream?: boolean }).stream === true;
      if (!isRight) {
        response.writeHead(400).end();
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const event of events) response.write(event);
      response.end('data: [DONE]\n\n');
    });
  };
  const { cert, key } = certificates.server;
  const mutual = { requestCert: true, rejectUnauthorized: true, ca: certificates.authority.cert };
  const server =
    kind === 'http'
      ? createHttpServer(listener)
      : kind === 'http2'
        ? createSecureServer({ cert, key }, listener as never)
        : createHttpsServer({ cert, key, ...(kind === 'mutual' ? mutual : {}) }, listener);
  const sockets = new Set<{ destroy: () => unknown }>();
  server.on('connection', (socket) => sockets.add(socket as { destroy: () => unknown }));
  await new Promise<void>((resolve) => (server as Server).listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const provider = { url: `${kind === 'http' ? 'http' : 'https'}://localhost:${port}/v1`, port, asked };
  return provider;
}

const noRetries = ['--retries', '0'];

async function start(
  upstream: string,
  env: Record<string, string> = {},
  args: readonly string[] = noRetries,
): Promise<RunningGateway> {
  const text = `${upstream},apiKeyEnv=PROVIDER_KEY`;
  return await startGateway(['--upstream', text, ...args], { env: { PROVIDER_KEY: 'secret', ...env } });
}

/** What the official SDK reads. */
async function read(gateway: RunningGateway): Promise<string> {
  const stream = await openai(gateway.url).chat.completions.create({
    model: 'm',
    stream: true,
    messages: [{ role: 'user', content: 'Hello' }],
  });
  let text = '';
  for await (const { choices } of stream) text += choices[0]?.delta.content ?? '';
  return text;
}

async function refusal(
  gateway: RunningGateway,
): Promise<{ readonly status: number; readonly code: string; readonly message: string }> {
  const response = await postChat(gateway.url, 'm');
  const { error } = (await response.json()) as { error: { code: string; message: string } };
  return { status: response.status, ...error };
}

describe('a provider behind a proxy', () => {
  test.each([
    ['http', 'http', '1.1'],
    ['https', 'http', '1.1'],
    ['https', 'https', '1.1'],
    ...(hasHttp2()
      ? ([
          ['http2', 'http', '2.0'],
          ['http2', 'https', '2.0'],
        ] as const)
      : []),
  ] as const)('%s, behind one that is spoken to with %s', async (kind, to, version) => {
    const provider = await startProvider(kind);
    const certificate = to === 'https' ? certificates.server : undefined;
    const proxy = await startConnectProxy({
      auth: 'somebody:s3cret/@:',
      ...(certificate === undefined ? {} : { certificate }),
    });
    const options = [
      '',
      ...(kind === 'http' ? [] : [`caFile=${certificates.authority.certFile}`]),
      ...(kind === 'http2' ? ['http2=true'] : []),
    ];
    const gateway = await start(
      `url=${provider.url},proxy=${proxy.url},proxyAuthEnv=PROXY_AUTH${options.join(',')}`,
      { PROXY_AUTH: 'somebody:s3cret/@:', NODE_EXTRA_CA_CERTS: certificates.authority.certFile },
    );
    for (let count = 0; count < 3; count += 1) expect(await read(gateway)).toBe('one two three');
    expect(provider.asked).toHaveLength(3);
    for (const asked of provider.asked)
      expect(asked).toMatchObject({ version, authorization: 'Bearer secret' });
    // One tunnel, used again; nothing went another way.
    expect(proxy.tunnels).toEqual([`localhost:${provider.port}`]);
    expect(proxy.refused).toEqual([]);
    expect(proxy.bytes).toBeGreaterThan(3 * events.join('').length);
    expect(gateway.stderr()).not.toContain('s3cret');
  });

  test('of the environment, unless it names the provider', async () => {
    const provider = await startProvider('https');
    const proxy = await startConnectProxy({ auth: 'a:p%' });
    const upstream = `url=${provider.url},proxy=env,caFile=${certificates.authority.certFile}`;
    const HTTPS_PROXY = `http://a:p%25@localhost:${proxy.port}`;
    expect(await read(await start(upstream, { HTTPS_PROXY }))).toBe('one two three');
    expect(proxy.tunnels).toHaveLength(1);
    for (const NO_PROXY of ['localhost', 'example.com, .localhost', `localhost:${provider.port}`, '*']) {
      expect(await read(await start(upstream, { HTTPS_PROXY, NO_PROXY }))).toBe('one two three');
    }
    expect(proxy.connections).toBe(1);
    expect(await read(await start(upstream, { HTTP_PROXY: HTTPS_PROXY, NO_PROXY: 'other' }))).toBe(
      'one two three',
    );
    expect(proxy.connections).toBe(1);
  });

  test('of the environment is not used without being asked for, and that is said', async () => {
    const provider = await startProvider('http');
    const proxy = await startConnectProxy();
    const env = {
      HTTP_PROXY: `http://a:s3cret@localhost:${proxy.port}`,
      HTTPS_PROXY: 'http://b:s3cret@localhost:1',
    };
    const gateway = await start(`url=${provider.url}`, env);
    expect(await read(gateway)).toBe('one two three');
    expect(proxy.connections).toBe(0);
    const lines = (): string[] =>
      gateway
        .stderr()
        .split('\n')
        .filter((line) => line.includes('proxy: env'));
    await eventually(() => lines().length === 1, 'the line');
    expect(JSON.parse(lines()[0] ?? '')).toMatchObject({
      level: 40,
      variables: ['HTTP_PROXY'],
      providers: ['upstream'],
    });
    expect(gateway.stderr()).not.toContain('s3cret');
  });

  test.each([
    ['a wrong password', 'a:wrong', 'proxy_refused', 'status 407', 1],
    ['no password', undefined, 'proxy_refused', 'status 407', 1],
  ] as const)('that refuses %s', async (_what, auth, code, words, connections) => {
    const provider = await startProvider('http');
    const proxy = await startConnectProxy({ auth: 'a:right' });
    const gateway = await start(
      `url=${provider.url},proxy=${proxy.url}${auth === undefined ? '' : ',proxyAuthEnv=PROXY_AUTH'}`,
      auth === undefined ? {} : { PROXY_AUTH: auth },
      ['--retries', '2'],
    );
    const seen = await refusal(gateway);
    expect(seen).toMatchObject({ status: 502, code });
    expect(seen.message).toContain(words);
    expect(proxy.connections).toBe(connections);
    expect(provider.asked).toEqual([]);
    expect(seen.message + gateway.stderr()).not.toMatch(/wrong|right|localhost:\d+/);
  });

  test.each<readonly [string, string | null, string, RegExp]>([
    ['that forbids it', 'HTTP/1.1 403 Forbidden\r\n\r\n', 'proxy_refused', /status 403/],
    [
      'that cannot reach it',
      'HTTP/1.1 502 Bad Gateway\r\n\r\n',
      'upstream_unreachable',
      /its proxy answered .* with status 502/,
    ],
    ['that is none', 'SSH-2.0-OpenSSH\r\n', 'proxy_unreachable', /HPE_/],
    ['that closes', '', 'proxy_unreachable', /ECONNRESET/],
    [
      'whose answer has no end',
      `HTTP/1.1 200 OK\r\nX: ${'x'.repeat(20_000)}`,
      'proxy_unreachable',
      /HPE_HEADER_OVERFLOW/,
    ],
    ['that says nothing', null, 'upstream_timeout', /connectTimeoutMs/],
  ])('%s', async (_what, answer, code, words) => {
    const provider = await startProvider('http');
    const proxy = await startConnectProxy({ answer });
    const gateway = await start(`url=${provider.url},proxy=${proxy.url}`, {}, [
      '--connect-timeout-ms',
      '300',
    ]);
    const seen = await within(refusal(gateway), 'the answer');
    expect(seen.code).toBe(code);
    expect(seen.message).toMatch(words);
    expect(provider.asked).toEqual([]);
    await eventually(() => proxy.open.size === 0, 'its connections to be closed');
  });

  test('that is not there, and one whose certificate nobody vouches for', async () => {
    const provider = await startProvider('http');
    const closed = createTcpServer();
    await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
    const { port } = closed.address() as AddressInfo;
    closed.close();
    const gone = await refusal(await start(`url=${provider.url},proxy=http://127.0.0.1:${port}`));
    expect(gone).toMatchObject({ status: 502, code: 'proxy_unreachable' });
    expect(gone.message).toContain('ECONNREFUSED');
    const proxy = await startConnectProxy({ certificate: certificates.server });
    const strange = await refusal(await start(`url=${provider.url},proxy=${proxy.url}`));
    expect(strange).toMatchObject({ status: 502, code: 'proxy_unreachable' });
    expect(proxy.tunnels).toEqual([]);
  });

  test('promise 6: whoever leaves closes the tunnel that is being made', async () => {
    const provider = await startProvider('http');
    const proxy = await startConnectProxy({ answer: null });
    const gateway = await start(`url=${provider.url},proxy=${proxy.url}`);
    const aborting = new AbortController();
    const asking = postChat(gateway.url, 'm', { signal: aborting.signal }).catch(() => undefined);
    await eventually(() => proxy.open.size === 1, 'the tunnel to be asked for');
    aborting.abort();
    await asking;
    await eventually(() => proxy.open.size === 0, 'it to be given up');
  });
});

describe('certificates of a provider', () => {
  test('of its own: who shows the right one gets in', async () => {
    const provider = await startProvider('mutual');
    const { certFile, keyFile } = certificates.client;
    const ca = `caFile=${certificates.authority.certFile}`;
    const gateway = await start(`url=${provider.url},${ca},certFile=${certFile},keyFile=${keyFile}`);
    expect(await read(gateway)).toBe('one two three');
    expect(provider.asked.map(({ client }) => client)).toEqual(['client']);
  });

  test.each(['a stranger’s', 'none'])('who shows %s does not, and is told so', async (which) => {
    // Node's own server closes without a word where it does not know who vouches for a client.
    const { authority, server, stranger } = certificates;
    const own = ['-cert', server.certFile, '-key', server.keyFile, '-CAfile', authority.certFile];
    const strict = ['-Verify', '1', '-verify_return_error', '-www'];
    const provider = spawnProgram(['openssl', 's_server', '-accept', '127.0.0.1:0', ...own, ...strict]);
    onTestFinished(() => void provider.process.kill('SIGKILL'));
    const port = await printed(provider, /ACCEPT 127\.0\.0\.1:(\d+)/);
    const shown = which === 'none' ? '' : `,certFile=${stranger.certFile},keyFile=${stranger.keyFile}`;
    const url = `https://localhost:${port}/v1`;
    const gateway = await start(`url=${url},caFile=${authority.certFile}${shown}`, {}, ['--retries', '2']);
    const seen = await refusal(gateway);
    expect(seen).toMatchObject({ status: 502, code: 'client_certificate_refused' });
    expect(seen.message).toMatch(/ERR_SSL_\w+ALERT_(?:UNKNOWN_CA|CERTIFICATE_REQUIRED)/);
  });

  test.skipIf(!hasHttp2()).each(['https', 'http2'] as const)(
    'nobody else vouches for it: %s',
    async (kind) => {
      const provider = await startProvider(kind);
      const { certFile } = certificates.client;
      // Node itself would trust it: the file says who counts.
      const env = { NODE_EXTRA_CA_CERTS: certificates.authority.certFile };
      const gateway = await start(`url=${provider.url},http2=true,caFile=${certFile}`, env);
      const seen = await refusal(gateway);
      expect(seen).toMatchObject({ status: 502, code: 'upstream_untrusted' });
      expect(provider.asked).toEqual([]);
    },
  );
});

test.each([
  [
    'a file that is not there',
    'caFile=/nowhere/ca.pem',
    /caFile: expected a file that can be read, got ENOENT/,
  ],
  ['a file without certificates', `caFile=KEY`, /caFile: expected certificates in PEM/],
  [
    'a key that does not fit',
    'certFile=CERT,keyFile=OTHER',
    /keyFile: expected a private key .* that belongs to the certificate in certFile, got ERR_OSSL_X509_KEY_VALUES_MISMATCH/,
  ],
  ['a certificate without its key', 'certFile=CERT', /expected certFile and keyFile together/],
  [
    'a password in a URL',
    'proxy=http://a:s3cret@proxy:3128',
    /proxy.*expected "env" or the http:\/\/ or https:\/\/ URL of a proxy/,
  ],
  [
    'a password that is not there',
    'proxy=http://proxy:3128,proxyAuthEnv=NO_SUCH',
    /expected USER:PASSWORD in the environment variable NO_SUCH \(proxyAuthEnv\), got nothing/,
  ],
  [
    'a proxy of the environment that is none',
    'proxy=env',
    /proxy in HTTPS_PROXY \(proxy: env\), got something else/,
  ],
])('the gateway does not start with %s', async (_what, options, words) => {
  const { authority, client, stranger } = certificates;
  const text = options
    .replace('CERT', client.certFile)
    .replace('OTHER', stranger.keyFile)
    .replace('KEY', authority.keyFile);
  const env = options === 'proxy=env' ? { HTTPS_PROXY: 'socks5://a:s3cret@proxy:1' } : {};
  const gateway = run(
    ['serve', '--port', '0', '--admin-port', '0', '--upstream', `url=https://a/v1,${text}`],
    { env },
  );
  expect(await gateway.exited).toBe(78);
  expect(gateway.stderr()).toMatch(words);
  expect(gateway.stderr()).not.toContain('s3cret');
  expect(gateway.stderr()).not.toContain('    at ');
});

test('the gateway does not start with HTTP/2 where a provider could end it', async () => {
  const old = fileURLToPath(new URL('support/old-http2.ts', import.meta.url));
  const gateway = run(
    ['serve', '--port', '0', '--admin-port', '0', '--upstream', 'name=far,url=https://a/v1,http2=true'],
    { nodeArgs: ['--import', old] },
  );
  expect(await gateway.exited).toBe(78);
  expect(gateway.stderr()).toMatch(
    /upstream far: http2: expected a Node with nghttp2 1\.68\.1 or later .*, got nghttp2 1\.68\.0 \(Node \d/,
  );
});

test('undici is loaded only where a provider asks for it', async () => {
  const loads = fileURLToPath(new URL('support/loads.ts', import.meta.url));
  const { url } = await startProvider('http');
  const env = { PROVIDER_KEY: 'secret' };
  for (const [options, isLoaded] of [
    ['', false],
    [',http2=false', false],
    [',proxy=env', true],
  ] as const) {
    const upstream = `url=${url},apiKeyEnv=PROVIDER_KEY${options}`;
    const gateway = await startGateway(['--upstream', upstream], { env, nodeArgs: ['--import', loads] });
    expect(await read(gateway)).toBe('one two three');
    expect(/^loads file:\S*\/node_modules\/undici\//m.test(gateway.stderr())).toBe(isLoaded);
  }
});
