import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { request } from 'undici';
import { describe, expect, onTestFinished, test } from 'vitest';
import { run, startGateway, startSimulator } from './support/processes.ts';
import { chatBody, openai, postChat } from './support/requests.ts';

interface Seen {
  readonly headers: IncomingMessage['headers'];
  readonly port: number | undefined;
}

/** A provider that notes what it was sent, and by which connection. */
async function startNotingProvider(): Promise<{ url: string; seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = createServer((incoming, response) => {
    seen.push({ headers: incoming.headers, port: incoming.socket.remotePort });
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

  test('1.3 never reach a provider', async () => {
    const provider = await startNotingProvider();
    const gateway = await startGateway(['--upstream', provider.url], { env: { SPILLWAY_API_KEYS: 'alpha' } });
    const response = await postChat(gateway.url, 'm', {
      headers: { authorization: 'Bearer alpha', cookie: 'a=b' },
    });
    expect(response.status).toBe(200);
    expect(provider.seen[0]?.headers.authorization).toBeUndefined();
    expect(provider.seen[0]?.headers.cookie).toBeUndefined();
    expect(response.headers.get('set-cookie')).toBeNull();
    expect(response.headers.get('x-request-id')).toBe('req_1');
  });

  test('are needed to listen beyond loopback', async () => {
    const refused = run(['serve', '--host', '0.0.0.0', '--port', '0', '--admin-port', '0']);
    expect(await refused.exited).toBe(1);
    expect(refused.stderr()).toContain('SPILLWAY_API_KEYS');
    await startGateway(['--host', '0.0.0.0'], { env: { SPILLWAY_API_KEYS: 'alpha' } });
  });

  test('are needed for the admin listener, too, once it is beyond loopback', async () => {
    const refused = run(['serve', '--port', '0', '--admin-port', '0', '--admin-host', '0.0.0.0']);
    expect(await refused.exited).toBe(1);
    expect(refused.stderr()).toContain('adminHost (--admin-host): expected a loopback address');
    const open = await startGateway(['--admin-host', '0.0.0.0'], { env: { SPILLWAY_API_KEYS: 'alpha' } });
    expect((await fetch(`${open.adminUrl}/metrics`)).status).toBe(401);
    const headers = { authorization: 'Bearer alpha' };
    expect((await fetch(`${open.adminUrl}/metrics`, { headers })).status).toBe(200);
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
    gateway.process.kill('SIGTERM');
    await gateway.exited;
    const logs = gateway.stdout() + gateway.stderr();
    expect(logs.split('stream ended')).toHaveLength(5);
    for (const secret of ['the prompt', 'client-secret', 'vendor-secret', 'spillway when', 'flows']) {
      expect(logs).not.toContain(secret);
    }
  });
});
