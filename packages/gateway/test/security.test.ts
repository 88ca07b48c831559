import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import Anthropic from '@anthropic-ai/sdk';
import { openClient } from '../../client/src/index.ts';
import { request } from 'undici';
import { describe, expect, onTestFinished, test } from 'vitest';
import { run, startGateway, startSimulator } from './support/processes.ts';
import { chatBody, openai, postChat } from './support/requests.ts';
import { sdks } from './support/sdks.ts';

interface Seen {
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly port: number | undefined;
}

/** A provider that notes what it was sent, and by which connection. */
async function startNotingProvider(): Promise<{ url: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createServer((incoming, response) => {
    seen.push({ url: incoming.url, headers: incoming.headers, port: incoming.socket.remotePort });
    incoming.resume();
    response.setHeader('set-cookie', 'provider=1');
    response.setHeader('content-type', 'application/json');
    response.setHeader('x-request-id', 'req_1');
    response.end('{"object":"chat.completion","choices":[]}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  onTestFinished(() => server.closeAllConnections());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, seen };
}

/** The provider behind each API. */
function upstreams({ url }: { url: string }, rest = ''): string {
  return ['openai', 'anthropic', 'gemini'].map((api) => `name=${api},api=${api},url=${url}${rest}`).join(' ');
}

/** Every way in which a key may come, each to a path of its API. */
function waysIn(key: string): { path: string; headers: Record<string, string>; name: string }[] {
  const bearer = `Bearer ${key}`;
  return [
    { path: '/v1/files', headers: { authorization: bearer }, name: 'authorization' },
    { path: '/v1/messages/batches', headers: { 'x-api-key': key }, name: 'x-api-key' },
    { path: '/v1/messages/batches', headers: { authorization: bearer }, name: 'authorization' },
    { path: '/v1beta/files', headers: { 'x-goog-api-key': key }, name: 'x-goog-api-key' },
    { path: '/v1/files?a=b', headers: { 'x-goog-api-key': key }, name: 'x-goog-api-key' },
    { path: `/v1beta/files?key=${key}`, headers: {}, name: 'x-goog-api-key' },
    { path: '/v1beta/files', headers: { authorization: bearer }, name: 'authorization' },
  ];
}

describe('API keys of the gateway', () => {
  test('are needed once configured, on every path of the API', async () => {
    const gateway = await startGateway([], { env: { SPILLWAY_API_KEYS: 'alpha,beta' } });
    expect((await postChat(gateway.url, 'sim')).status).toBe(401);
    expect((await fetch(`${gateway.url}/v1/models`)).status).toBe(401);
    expect((await fetch(`${gateway.url}/health/ready`)).status).toBe(200);
    await expect(openai(gateway.url, { apiKey: 'alph' }).models.list()).rejects.toMatchObject({
      status: 401,
    });
    for (const apiKey of ['alpha', 'beta']) {
      expect((await openai(gateway.url, { apiKey }).models.list()).data).toHaveLength(1);
    }
  });

  test('are taken in the header of every SDK, and in the query where Gemini has it', async () => {
    const gateway = await startGateway([], { env: { SPILLWAY_API_KEYS: 'alpha' } });
    const at = { url: gateway.url, apiKey: 'alpha' };
    const model = 'sim:tokens=1,tps=0,ttft=0';
    for (const sdk of sdks) {
      expect(await sdk.stream(at, model)).toBe('Water ');
      const error = (await sdk
        .generate({ ...at, apiKey: 'beta' }, model)
        .catch((reason: unknown) => reason)) as {
        status?: number;
        statusCode?: number;
        message: string;
      };
      expect(error.status ?? error.statusCode).toBe(401);
      expect(error.message).toContain("Expected one of this gateway's API keys");
    }
    const anthropic = new Anthropic({ baseURL: at.url, authToken: 'alpha', apiKey: null, maxRetries: 0 });
    expect((await anthropic.models.list()).data).toHaveLength(1);
    const path = '/v1beta/models?pageSize=1';
    expect((await fetch(`${at.url}${path}&key=alpha`)).status).toBe(200);
    expect((await fetch(`${at.url}${path}&key=beta`)).status).toBe(401);
    expect((await fetch(`${at.url}/v1/models?key=alpha`)).status).toBe(401);
  });

  test('1.3 never reach a provider', async () => {
    const provider = await startNotingProvider();
    const gateway = await startGateway(['--upstream', upstreams(provider)], {
      env: { SPILLWAY_API_KEYS: 'alpha' },
    });
    const response = await postChat(gateway.url, 'm', {
      headers: { authorization: 'Bearer alpha', cookie: 'a=b' },
    });
    expect(response.status).toBe(200);
    expect(provider.seen[0]?.headers.authorization).toBeUndefined();
    expect(provider.seen[0]?.headers.cookie).toBeUndefined();
    expect(response.headers.get('set-cookie')).toBeNull();
    expect(response.headers.get('x-request-id')).toBe('req_1');
    for (const { path, headers } of waysIn('alpha')) {
      expect((await fetch(gateway.url + path, { headers })).status, path).toBe(200);
      const { headers: sent, url } = provider.seen.at(-1) ?? {};
      for (const name of ['authorization', 'x-api-key', 'x-goog-api-key'])
        expect(sent?.[name]).toBeUndefined();
      expect(url).not.toContain('alpha');
    }
  });

  test('are needed to listen beyond loopback', async () => {
    const refused = run(['serve', '--host', '0.0.0.0', '--port', '0', '--admin-port', '0']);
    expect(await refused.exited).toBe(78);
    expect(refused.stderr()).toContain('SPILLWAY_API_KEYS');
    await startGateway(['--host', '0.0.0.0', '--simulated'], { env: { SPILLWAY_API_KEYS: 'alpha' } });
  });

  test('of its own are needed for the admin listener once it is beyond loopback', async () => {
    const refused = run(['serve', '--port', '0', '--admin-port', '0', '--admin-host', '0.0.0.0']);
    expect(await refused.exited).toBe(78);
    expect(refused.stderr()).toContain('adminHost (--admin-host): expected a loopback address');
    const env = { SPILLWAY_API_KEYS: 'alpha', SPILLWAY_ADMIN_KEYS: 'omega' };
    const open = await startGateway(['--admin-host', '0.0.0.0'], { env });
    const statusWith = async (path: string, key?: string): Promise<number> => {
      const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
      const method = path.startsWith('/playground') ? 'POST' : 'GET';
      return (await fetch(open.adminUrl + path, { headers, method })).status;
    };
    for (const path of ['/metrics', '/history', '/playground/pipe?model=sim']) {
      expect(await statusWith(path), path).toBe(401);
      // Who may use models may not see what others do with them.
      expect(await statusWith(path, 'alpha'), path).toBe(401);
      expect(await statusWith(path, 'omega'), path).toBe(200);
    }
    for (const [key, outcome] of [
      ['alpha', 'not_found'],
      ['omega', undefined],
    ] as const) {
      const client = openClient({ url: open.adminUrl, headers: { authorization: `Bearer ${key}` } });
      const { response } = client.read('/streams/overview', { from: 'now', overflow: 'latest' });
      expect(
        await response.then(
          () => undefined,
          ({ code }: { code: string }) => code,
        ),
      ).toBe(outcome);
      await client.close();
    }
    // What there is to see before the key is asked for.
    expect(await statusWith('/about')).toBe(200);
  });
});

describe('credentials of providers', () => {
  test('1.3 the configured key is sent instead of the client’s', async () => {
    const provider = await startNotingProvider();
    const gateway = await startGateway(['--upstream', `url=${provider.url},apiKeyEnv=VENDOR_KEY`], {
      env: { VENDOR_KEY: 'vendor-secret' },
    });
    await postChat(gateway.url, 'm', { headers: { authorization: 'Bearer client-secret' } });
    expect(provider.seen[0]?.headers.authorization).toBe('Bearer vendor-secret');
  });

  test('1.3 each API has its own header for it', async () => {
    const provider = await startNotingProvider();
    const gateway = await startGateway(['--upstream', upstreams(provider, ',apiKeyEnv=VENDOR_KEY')], {
      env: { VENDOR_KEY: 'vendor-secret' },
    });
    for (const { path, headers } of waysIn('client-secret')) {
      await fetch(gateway.url + path, { headers });
      const { headers: sent, url } = provider.seen.at(-1) ?? {};
      const own = ['authorization', 'x-api-key', 'x-goog-api-key'].map((name) => sent?.[name]);
      const secrets = own
        .filter((value) => value !== undefined)
        .map((value) => String(value).split(' ').at(-1));
      expect([secrets, url?.includes('secret')], path).toEqual([['vendor-secret'], false]);
    }
    expect(provider.seen[1]?.headers['x-api-key']).toBe('vendor-secret');
    expect(provider.seen[3]?.headers['x-goog-api-key']).toBe('vendor-secret');
  });

  test('1.3 without one the client’s own passes through, in its API’s header', async () => {
    const provider = await startNotingProvider();
    const gateway = await startGateway(['--upstream', upstreams(provider)]);
    for (const { path, headers, name } of waysIn('mine')) {
      await fetch(gateway.url + path, { headers });
      const { headers: sent, url } = provider.seen.at(-1) ?? {};
      expect(String(sent?.[name]).replace('Bearer ', ''), path).toBe('mine');
      expect(url).not.toContain('mine');
    }
    await fetch(`${gateway.url}/v1/files`, { headers: { 'x-api-key': 'of another api' } });
    expect(provider.seen.at(-1)?.headers['x-api-key']).toBeUndefined();
  });

  test('1.4 without one the client’s own passes through, and connections are not shared between credentials', async () => {
    const provider = await startNotingProvider();
    const gateway = await startGateway(['--upstream', provider.url]);
    for (const key of ['one', 'two', 'one', 'two']) {
      await (await postChat(gateway.url, 'm', { headers: { authorization: `Bearer ${key}` } })).text();
    }
    expect(provider.seen.map(({ headers }) => headers.authorization)).toEqual([
      'Bearer one',
      'Bearer two',
      'Bearer one',
      'Bearer two',
    ]);
    const [one, two, oneAgain, twoAgain] = provider.seen.map(({ port }) => port);
    expect(oneAgain).toBe(one);
    expect(twoAgain).toBe(two);
    expect(one).not.toBe(two);
  });
});

describe('a gateway without API keys', () => {
  test.each([
    ['evil.example', 403],
    ['127.0.0.1.evil.example', 403],
    ['localhost', 200],
    ['127.0.0.1:8080', 200],
    ['[::1]:8080', 200],
  ])('answers Host %s with %i', async (host, status) => {
    const gateway = await startGateway();
    const { statusCode, body } = await request(`${gateway.url}/v1/models`, { headers: { host } });
    await body.dump();
    expect(statusCode).toBe(status);
  });
});

test('a gateway without API keys answers only web pages of this machine', async () => {
  const gateway = await startGateway();
  const statusOf = async (origin: string): Promise<number> => {
    const { statusCode, body } = await request(`${gateway.url}/v1/embeddings`, {
      method: 'POST',
      // What a page may send without asking first.
      headers: { origin, 'content-type': 'text/plain' },
      body: '{"input": "x"}',
    });
    await body.dump();
    return statusCode;
  };
  for (const origin of ['https://evil.example', 'null']) expect(await statusOf(origin), origin).toBe(403);
  for (const host of ['localhost', '127.0.0.1', '[::1]']) {
    expect(await statusOf(`http://${host}:3000`), host).toBe(200);
  }
});

describe('logs', () => {
  test('carry no prompt, completion or key', async () => {
    const simulator = await startSimulator();
    const gateway = await startGateway(
      ['--log-level', 'trace', '--upstream', `url=${simulator.url}/v1,apiKeyEnv=VENDOR_KEY`],
      { env: { SPILLWAY_API_KEYS: 'client-secret', VENDOR_KEY: 'vendor-secret' } },
    );
    for (const model of [
      'sim:tokens=20,tps=0,ttft=0',
      'sim:tokens=20,cut=3000,tps=0,ttft=0',
      'sim:html',
      'sim:status=500',
    ]) {
      const response = await fetch(`${gateway.url}/v1/chat/completions`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: 'Bearer client-secret' },
        body: chatBody(model).replace('Hello', 'the prompt is secret'),
      });
      await response.text();
    }
    await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer client-secret' },
      body: '{"messages": "the prompt is secret',
    });
    for (const path of ['files', 'models/m:streamGenerateContent', 'x:y/../../z', '%zz']) {
      for (const query of ['key=query-secret', 'key=query-secret&alt=sse']) {
        await fetch(`${gateway.url}/v1beta/${path}?${query}`, {
          method: 'POST',
          body: 'the prompt is secret',
        });
      }
    }
    gateway.process.kill('SIGTERM');
    await gateway.exited;
    const logs = gateway.stdout() + gateway.stderr();
    expect(logs.split('stream ended')).toHaveLength(5);
    for (const secret of [
      'the prompt',
      'client-secret',
      'query-secret',
      'vendor-secret',
      'spillway when',
      'flows',
    ]) {
      expect(logs).not.toContain(secret);
    }
  });
});

test('what a page of another site loads is refused without keys, on both listeners', async () => {
  const gateway = await startGateway();
  const statusFor = async (url: string, headers: Record<string, string>): Promise<number> =>
    (await request(url, { headers })).statusCode;
  for (const path of [
    `${gateway.url}/v1/models`,
    `${gateway.adminUrl}/metrics`,
    `${gateway.adminUrl}/history`,
  ]) {
    const image = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors', 'sec-fetch-dest': 'image' };
    const link = {
      'sec-fetch-site': 'cross-site',
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
    };
    expect(await statusFor(path, image), path).toBe(403);
    expect(await statusFor(path, { ...image, 'sec-fetch-site': 'same-site' }), path).toBe(403);
    // Curl and SDKs say nothing of the kind.
    expect(await statusFor(path, {}), path).toBe(200);
    expect(await statusFor(path, link), path).toBe(403);
    for (const site of ['same-origin', 'none'])
      expect(await statusFor(path, { 'sec-fetch-site': site }), path).toBe(200);
    // A page on this machine says so by its origin.
    expect(await statusFor(path, { ...image, origin: 'http://localhost:3000' }), path).toBe(200);
  }
  // A link to the console may stand anywhere.
  expect(
    await statusFor(`${gateway.adminUrl}/`, { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }),
  ).toBe(200);
});
