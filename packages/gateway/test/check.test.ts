import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { checkCertificates } from '../src/cli/check/certificates.ts';
import type { Finding } from '../src/cli/check/finding.ts';
import { checkBacklog } from '../src/cli/check/system.ts';
import { loadSettings } from '../src/config/load.ts';
import { type Certificates, makeCertificates } from './support/certificates.ts';
import { startConnectProxy } from './support/connect-proxy.ts';
import { run, startGateway } from './support/processes.ts';
import type { SpawnOptions } from './support/spawn.ts';
import {
  type ReadRequest,
  Refusal,
  refuse,
  startStrictProvider,
  type StrictProvider,
} from './support/strict-provider.ts';

let certificates: Certificates;
beforeAll(() => {
  certificates = makeCertificates();
});
afterAll(() => certificates.remove());

interface Checked {
  readonly code: number | null;
  readonly findings: readonly Finding[];
}

async function check(args: readonly string[], options?: SpawnOptions): Promise<Checked> {
  const command = run(['check', '--json', '--port', '0', '--admin-port', '0', ...args], options);
  const code = await command.exited;
  expect(command.stderr()).toBe('');
  expect(command.stdout()).not.toContain('hunter2');
  return { code, findings: JSON.parse(command.stdout()) as Finding[] };
}

/** The one finding about a provider. */
async function checkProvider(
  upstream: string,
  options?: SpawnOptions,
  args: readonly string[] = [],
): Promise<Finding> {
  const { code, findings } = await check(['--upstream', upstream, ...args], options);
  const found = findings.filter(({ check: name }) => name.startsWith('provider '));
  expect(found).toHaveLength(1);
  const [finding] = found as [Finding];
  expect(code).toBe(finding.status === 'fail' ? 1 : 0);
  return finding;
}

/** What a provider with each API wants of whoever asks for its models. */
const wants: Readonly<Record<string, (request: ReadRequest) => boolean>> = {
  openai: ({ headers, path }) => path === '/v1/models' && headers.authorization === 'Bearer hunter2',
  anthropic: ({ headers, path }) =>
    path === '/v1/models' &&
    headers['x-api-key'] === 'hunter2' &&
    headers['anthropic-version'] === '2023-06-01',
  gemini: ({ headers, path }) => path === '/v1beta/models' && headers['x-goog-api-key'] === 'hunter2',
  azure: ({ headers, path, query }) =>
    path === '/openai/models' &&
    headers['api-key'] === 'hunter2' &&
    query.get('api-version') === '2024-10-21',
  ollama: ({ headers, path }) => path === '/api/tags' && headers.authorization === 'Bearer hunter2',
};

async function startModelList(api: string): Promise<StrictProvider> {
  return await startStrictProvider((request, response) => {
    if (request.method !== 'GET' || request.bytes.length > 0) refuse(response, new Refusal(405, 'no'));
    else if (!wants[api]?.(request)) refuse(response, new Refusal(401, 'no key'));
    else response.writeHead(200, { 'content-type': 'application/json' }).end('{"data":[]}');
  });
}

async function startStatus(status: number, headers: Record<string, string> = {}): Promise<StrictProvider> {
  return await startStrictProvider((_request, response: ServerResponse) => {
    response.writeHead(status, headers).end();
  });
}

describe('a provider', () => {
  test.each(Object.keys(wants))('with the API %s is asked for its models with its key', async (api) => {
    const provider = await startModelList(api);
    const url = `${provider.url}${api === 'openai' ? '/v1' : ''}`;
    const upstream = `name=a,api=${api},url=${url},apiKeyEnv=KEY`;
    expect(await checkProvider(upstream, { env: { KEY: 'hunter2' } })).toEqual({
      check: `provider a (${api})`,
      status: 'ok',
      message: 'It answers, and accepts the key.',
    });
    expect(await checkProvider(upstream, { env: { KEY: 'another' } })).toMatchObject({
      status: 'fail',
      message: expect.stringContaining('refuses the key (401)') as string,
    });
    expect(provider.requests).toHaveLength(2);
  });

  test('without a key is one for clients with their own, unless the gateway has keys', async () => {
    const { url } = await startStatus(401);
    expect(await checkProvider(`${url}/v1`)).toMatchObject({
      status: 'ok',
      message: expect.stringMatching(/clients send their own/) as string,
    });
    expect(await checkProvider(`${url}/v1`, { env: { SPILLWAY_API_KEYS: 'alpha' } })).toMatchObject({
      status: 'fail',
      message: expect.stringMatching(/forwards no client's key/) as string,
    });
  });

  test.each([
    [200, 'openai', 'ok', /without a key/],
    [404, 'openai', 'warn', /is the base URL right/],
    [429, 'openai', 'warn', /status 429/],
    [503, 'openai', 'warn', /status 503/],
    [400, 'openai', 'warn', /status 400/],
    // A wrong key is a wrong argument to it.
    [400, 'gemini', 'ok', /clients send their own/],
  ])('that answers %i (%s): %s', async (status, api, expected, message) => {
    const { url } = await startStatus(status);
    const upstream = `api=${api},url=${url}${api === 'openai' ? '/v1' : ''}`;
    expect(await checkProvider(upstream)).toMatchObject({
      status: expected,
      message: expect.stringMatching(message) as string,
    });
  });

  test('that redirects to another place', async () => {
    const { url } = await startStatus(307, { location: 'https://elsewhere.example/hunter2' });
    expect(await checkProvider(`${url}/v1`)).toMatchObject({
      status: 'fail',
      message: expect.stringMatching(/redirects.*307/) as string,
    });
  });

  test('that nobody is at', async () => {
    expect(await checkProvider('http://127.0.0.1:9/v1')).toMatchObject({
      status: 'fail',
      message: 'The provider cannot be reached (ECONNREFUSED). (upstream_unreachable)',
    });
  });

  test('that does not answer is not waited for, and neither are the others', async () => {
    const silent = createServer((socket) => void socket.on('error', () => undefined));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void silent.close());
    const { port } = silent.address() as AddressInfo;
    const other = await startStatus(200);
    const upstream = `name=silent,url=http://127.0.0.1:${port}/v1 name=other,url=${other.url}/v1`;
    const { code, findings } = await check(['--upstream', upstream, '--response-timeout-ms', '200ms']);
    expect(code).toBe(1);
    expect(findings).toContainEqual({
      check: 'provider silent (openai)',
      status: 'fail',
      message: 'The provider did not begin to answer in time (responseTimeoutMs). (upstream_timeout)',
    });
    expect(findings).toContainEqual(
      expect.objectContaining({ check: 'provider other (openai)', status: 'ok' }),
    );
  });

  test('over TLS is trusted by its caFile, and otherwise it is said what to do', async () => {
    const { cert, key } = certificates.server;
    const server = createHttpsServer({ cert, key }, (_request, response) => void response.end('{}'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.close();
      server.closeAllConnections();
    });
    const url = `url=https://localhost:${(server.address() as AddressInfo).port}/v1`;
    const untrusted = await checkProvider(url);
    expect(untrusted.status).toBe('fail');
    expect(untrusted.message).toMatch(
      /certificate is not trusted .*caFile.*NODE_EXTRA_CA_CERTS.*\(upstream_untrusted\)/,
    );
    expect(await checkProvider(`${url},caFile=${certificates.authority.certFile}`)).toMatchObject({
      status: 'ok',
    });
  });

  test('behind a proxy is reached through it, and a wrong password is said', async () => {
    const provider = await startModelList('openai');
    const proxy = await startConnectProxy({ auth: 'user:hunter2' });
    const upstream = `url=${provider.url}/v1,apiKeyEnv=KEY,proxy=${proxy.url},proxyAuthEnv=AUTH`;
    const env = { KEY: 'hunter2', AUTH: 'user:hunter2' };
    expect(await checkProvider(upstream, { env })).toMatchObject({ status: 'ok' });
    expect(proxy.tunnels).toHaveLength(1);
    expect(await checkProvider(upstream, { env: { ...env, AUTH: 'user:wrong' } })).toMatchObject({
      status: 'fail',
      message: expect.stringMatching(/\(proxy_refused\)/) as string,
    });
  });
});

describe('the system', () => {
  test('has a port that is free, in use, or of another machine', async () => {
    const gateway = await startGateway();
    const [port, adminPort] = [gateway.url, gateway.adminUrl].map((url) => new URL(url).port);
    const upstream = ['--upstream', `${(await startStatus(200)).url}/v1`];
    const used = await check([...upstream, '--port', port ?? '', '--admin-port', adminPort ?? '']);
    expect(used.code).toBe(1);
    for (const name of ['port', 'admin port']) {
      expect(used.findings).toContainEqual(
        expect.objectContaining({
          check: name,
          status: 'fail',
          message: expect.stringContaining('is in use'),
        }),
      );
    }
    const env = { SPILLWAY_API_KEYS: 'alpha' };
    const elsewhere = await check([...upstream, '--host', '192.0.2.1'], { env });
    expect(elsewhere.code).toBe(1);
    expect(elsewhere.findings).toContainEqual(
      expect.objectContaining({
        check: 'port',
        status: 'fail',
        message: expect.stringContaining('EADDRNOTAVAIL'),
      }),
    );
  });

  test('has certificates that end soon, have ended, or have another key', async () => {
    const { server, stranger } = certificates;
    const args = ['--upstream', `${(await startStatus(200)).url}/v1`, '--tls-cert-file', server.certFile];
    const found = async (keyFile: string): Promise<unknown> =>
      (await check([...args, '--tls-key-file', keyFile])).findings.filter(
        ({ check: name }) => name === 'certificate',
      );
    expect(await found(server.keyFile)).toMatchObject([
      { status: 'warn', message: 'It ends in 1 day: renew it.' },
    ]);
    expect(await found(stranger.keyFile)).toMatchObject([
      {
        status: 'fail',
        message: expect.stringContaining('expected a certificate and its private key') as string,
      },
    ]);
    expect(await found('/nonexistent')).toMatchObject([
      { status: 'fail', message: expect.stringContaining('got ENOENT') as string },
    ]);
    const flags = { adminTlsCertFile: server.certFile, adminTlsKeyFile: server.keyFile };
    const settings = loadSettings({ flags, env: {}, file: undefined });
    const statusIn = (days: number): unknown =>
      checkCertificates(settings, Date.now() + days * 86_400_000)[0]?.status;
    expect([statusIn(-30), statusIn(0), statusIn(3)]).toEqual(['ok', 'warn', 'fail']);
  });

  test.skipIf(process.platform !== 'linux')('lets few files be open', async () => {
    const upstream = `${(await startStatus(200)).url}/v1`;
    const limited = { prefix: ['sh', '-c', 'ulimit -n 400 && exec "$@"', 'sh'] };
    const { code, findings } = await check(['--upstream', upstream], limited);
    expect(findings.find(({ check: name }) => name === 'open files')).toMatchObject({
      status: 'warn',
      message: expect.stringMatching(/the limit is 400: .* Raise the limit/) as string,
    });
    expect(code).toBe(0);
    const enough = await check(
      ['--upstream', upstream, '--max-streams', '10', '--max-waiting', '0'],
      limited,
    );
    expect(enough.findings.find(({ check: name }) => name === 'open files')).toMatchObject({ status: 'ok' });
  });

  test('holds few new connections', () => {
    const folder = mkdtempSync(join(tmpdir(), 'spillway-'));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const path = join(folder, 'somaxconn');
    expect(checkBacklog(path)).toBeUndefined();
    writeFileSync(path, '128\n');
    expect(checkBacklog(path)).toMatchObject({
      status: 'warn',
      message: expect.stringMatching(/It is 128/) as string,
    });
    writeFileSync(path, '511\n');
    expect(checkBacklog(path)).toMatchObject({ status: 'ok' });
  });
});

test('a model that answers under pressure is looked for, and a warning if no provider lists it', async () => {
  const provider = await startStrictProvider((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ data: [{ id: 'gpt-small' }] }));
  });
  const upstream = `name=a,url=${provider.url}/v1,apiKeyEnv=KEY`;
  const pressure = 'level=1,model=gpt-smal level=2,model=a/gpt-small level=3,model=fast';
  const { code, findings } = await check(
    ['--upstream', upstream, '--model', 'name=fast,targets=a/gpt-small', '--pressure', pressure],
    { env: { KEY: 'hunter2' } },
  );
  expect(code).toBe(0);
  expect(findings.filter(({ check: name }) => name.startsWith('pressure'))).toEqual([
    {
      check: 'pressure 1',
      status: 'warn',
      message:
        'a (openai) does not list gpt-smal. Did you mean gpt-small? Requests that get gpt-smal under pressure fail there, unless it is one that the provider does not list.',
    },
  ]);
});

describe('a model by a name of one’s own', () => {
  interface Listing {
    readonly api: string;
    readonly list: object;
    readonly query?: string;
    readonly targets: string;
    readonly headers?: Record<string, string>;
  }
  async function checkModel({ api, headers = {}, list, query, targets }: Listing): Promise<Finding> {
    const provider = await startStrictProvider((request, response) => {
      if (query !== undefined) expect(request.query.toString()).toBe(query);
      response.writeHead(200, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(list));
    });
    const url = `${provider.url}${api === 'openai' ? '/v1' : ''}`;
    const upstream = `name=a,api=${api},url=${url},apiKeyEnv=KEY`;
    const model = `name=fast,targets=${targets}`;
    const { code, findings } = await check(['--upstream', upstream, '--model', model], {
      env: { KEY: 'hunter2' },
    });
    expect(code).toBe(0);
    expect(findings.find(({ check: name }) => name === 'provider a (' + api + ')')?.status).toBe('ok');
    const found = findings.find(({ check: name }) => name === 'model fast');
    if (found === undefined) throw new Error('expected a finding about the model');
    return found;
  }
  const openai = { data: [{ id: 'gpt-large' }, { id: 'gpt-small' }] };

  test.each<Listing>([
    { api: 'openai', list: openai, query: '', targets: 'a/gpt-large+3*a/gpt-small' },
    { api: 'anthropic', list: { data: [{ id: 'm' }], has_more: false }, query: 'limit=1000', targets: 'a/m' },
    { api: 'gemini', list: { models: [{ name: 'models/m' }] }, query: 'pageSize=1000', targets: 'a/m' },
    { api: 'ollama', list: { models: [{ name: 'm:latest' }] }, targets: 'a/m+a/m:latest' },
  ])('is looked for in the list of its provider: $api', async (listing) => {
    expect(await checkModel(listing)).toMatchObject({
      status: 'ok',
      message: expect.stringMatching(
        /^Its providers list a\/(?:gpt-large, a\/gpt-small|m(?:, a\/m:latest)?)\.$/,
      ) as string,
    });
  });

  test('is a warning if it is not there, with the name that may be meant', async () => {
    expect(await checkModel({ api: 'openai', list: openai, targets: 'a/gpt-small+a/gpt-lrage' })).toEqual({
      check: 'model fast',
      status: 'warn',
      message:
        'a (openai) does not list gpt-lrage. Did you mean gpt-large? Requests for it fail there, unless it is one that the provider does not list.',
    });
  });

  test.each<Listing>([
    { api: 'openai', list: { data: [] }, targets: 'a/x' },
    { api: 'openai', list: { error: 'no' }, targets: 'a/x' },
    { api: 'anthropic', list: { data: [{ id: 'm' }], has_more: true }, targets: 'a/x' },
    { api: 'gemini', list: { models: [{ name: 'models/m' }], nextPageToken: 't' }, targets: 'a/x' },
    { api: 'azure', list: openai, targets: 'a/x' },
    { api: 'openai', list: openai, headers: { 'x-spillway-simulated': 'true' }, targets: 'a/x' },
  ])('is not judged by a list from which nothing follows: $api $list', async (listing) => {
    expect(await checkModel(listing)).toMatchObject({
      status: 'ok',
      message: expect.stringContaining('not looked for, because there is no list: a/x') as string,
    });
  });
});

describe('the settings', () => {
  test('that are wrong are findings, one for each problem', async () => {
    const { code, findings } = await check(['--window-bytes', 'many', '--detach', 'never']);
    expect(code).toBe(78);
    expect(findings).toMatchObject([
      {
        check: 'configuration',
        status: 'fail',
        message: expect.stringMatching(/^windowBytes \(--window-bytes\): /) as string,
      },
      {
        check: 'configuration',
        status: 'fail',
        message: expect.stringMatching(/^detach \(--detach\): /) as string,
      },
    ]);
  });

  test('that may not be meant are warnings, and nothing fails', async () => {
    const { code, findings } = await check([], { env: { SPILLWAY_PORTS: '1' } });
    expect(code).toBe(0);
    expect(findings.filter(({ status }) => status === 'warn').map(({ message }) => message)).toEqual([
      expect.stringContaining('(simulated_models)'),
      'No settings are: SPILLWAY_PORTS (did you mean SPILLWAY_PORT?). (variable_unknown)',
    ]);
  });

  test('are printed one a line for people', async () => {
    const command = run(['check', '--port', '0', '--admin-port', '0', '--upstream', 'http://127.0.0.1:9/v1']);
    expect(await command.exited).toBe(1);
    expect(command.stdout()).toMatch(/^ok {4}configuration +It is valid\.\n/);
    expect(command.stdout()).toMatch(
      /^fail {2}provider upstream \(openai\) {2}The provider cannot be reached/m,
    );
  });
});
