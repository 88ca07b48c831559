import { describe, expect, test } from 'vitest';
import { lineWith, linesOf } from './support/log-lines.ts';
import { startGateway } from './support/processes.ts';
import { openRaw } from './support/raw-request.ts';
import { metric, postChat } from './support/requests.ts';
import { eventually } from './support/spawn.ts';

const refusals = 'spillway_refusals_total';

describe('refused requests', () => {
  test('are logged with who asked for what, and without secrets', async () => {
    const gateway = await startGateway(['--max-header-bytes', '4096', '--max-request-bytes', '1000'], {
      env: { SPILLWAY_API_KEYS: 'clinic/web=right-key' },
    });
    const key = { authorization: 'Bearer right-key' };
    const token = 'a-token-of-32-characters-secret1';
    const wrong = { authorization: 'Bearer guessed-key' };
    await postChat(gateway.url, 'm', { headers: wrong });
    await fetch(`${gateway.url}/v1beta/files?key=query-secret`);
    await fetch(`${gateway.url}/streams/${token}`, { headers: key });
    await fetch(`${gateway.url}/Streams/${token}?x=query-secret`, { headers: key });
    await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { ...key, 'content-type': 'application/json' },
      body: '{"model": "prompt-secret',
    });
    await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: key,
      body: 'x'.repeat(2000),
    });
    await fetch(`${gateway.adminUrl}/nothing/here`);
    for (const protocols of [[], 'graphql-ws']) {
      const socket = new WebSocket(`${gateway.url}/streams`, protocols);
      await new Promise((resolve) => socket.addEventListener('error', resolve));
    }
    const known = `sk-proj-${'a1b2c3d4'.repeat(4)}`;
    await fetch(`${gateway.url}/v1/files/${known}/content`);
    await fetch(`${gateway.url}/${known}`, { headers: key });
    await (await fetch(`${gateway.url}/v1/files/${known}`, { headers: key })).text();
    for (const headers of [{ cookie: 'x'.repeat(9000) }, { 'content-length': 'many' }]) {
      const raw = await openRaw(gateway.url, headers as Record<string, string>, {
        path: `/x//streams/${token}`,
      });
      await raw.closed();
    }
    const twice = await openRaw(gateway.url, {}, { path: `/x//streams/${token}` });
    await eventually(() => twice.answer() !== '', 'an answer');

    const address = '127.0.0.1';
    const client = { listener: 'client', address };
    await lineWith(gateway, 'request refused', {
      ...client,
      code: 'invalid_api_key',
      status: 401,
      method: 'POST',
      path: '/v1/chat/completions',
      caller: undefined,
    });
    await lineWith(gateway, 'request refused', {
      ...client,
      code: 'invalid_api_key',
      method: 'GET',
      path: '/v1beta/files',
    });
    await lineWith(gateway, 'request refused', {
      ...client,
      code: 'not_found',
      path: '/streams/…',
      caller: 'clinic/web',
      tenant: 'clinic',
    });
    await lineWith(gateway, 'request refused', { ...client, code: 'not_found', path: '/Streams/…' });
    await lineWith(gateway, 'request refused', {
      ...client,
      code: 'invalid_request',
      path: '/streams',
      caller: undefined,
    });
    await lineWith(gateway, 'request refused', { ...client, code: 'invalid_request', caller: 'clinic/web' });
    await lineWith(gateway, 'request refused', { ...client, code: 'request_too_large', status: 413 });
    await lineWith(gateway, 'request refused', {
      ...client,
      code: 'headers_too_large',
      status: 431,
      path: undefined,
    });
    await lineWith(gateway, 'request refused', { ...client, code: 'not_found', path: undefined });
    await lineWith(gateway, 'request refused', {
      listener: 'admin',
      address,
      code: 'not_found',
      path: '/nothing/…',
    });
    await lineWith(gateway, 'request refused', { ...client, path: '/v1/files/[key]/content' });
    await lineWith(gateway, 'request refused', { ...client, path: '/[key]' });
    await lineWith(gateway, 'stream ended', { path: '/v1/files/[key]' });
    for (const secret of ['right-key', 'guessed', 'secret', 'sk-', 'a1b2'])
      expect(gateway.stderr()).not.toContain(secret);

    const series = (code: string, listener = 'client'): Promise<number> =>
      metric(gateway.adminUrl, `${refusals}{listener="${listener}",code="${code}"}`);
    expect(await series('invalid_api_key')).toBe(3);
    expect(await series('headers_too_large')).toBe(1);
    expect(await series('request_too_large')).toBe(1);
    expect(await series('not_found', 'admin')).toBe(1);
    expect(await series('overloaded')).toBe(0);
  });

  test('have at most 60 lines a minute for each code, and the rest is counted', async () => {
    const gateway = await startGateway([], { env: { SPILLWAY_API_KEYS: 'right-key' } });
    for (let sent = 0; sent < 200; sent += 20) {
      await Promise.all(
        Array.from({ length: 20 }, async () => {
          await (await fetch(`${gateway.url}/v1/models`)).text();
        }),
      );
    }
    // Another code has lines of its own.
    await fetch(`${gateway.url}/nothing`, { headers: { authorization: 'Bearer right-key' } });
    await lineWith(gateway, 'request refused', { code: 'not_found' });
    expect(linesOf(gateway, 'request refused').filter(({ code }) => code === 'invalid_api_key')).toHaveLength(
      60,
    );
    expect(await metric(gateway.adminUrl, `${refusals}{listener="client",code="invalid_api_key"}`)).toBe(200);
    gateway.process.kill('SIGTERM');
    await gateway.exited;
    expect(linesOf(gateway, 'refused requests were not logged')).toMatchObject([
      { listener: 'client', code: 'invalid_api_key', leftOut: 140 },
    ]);
  });

  test('what every browser asks for by itself is counted, and makes no line', async () => {
    const gateway = await startGateway();
    for (const path of ['/favicon.ico', '/robots.txt', '/.well-known/security.txt']) {
      expect((await fetch(gateway.url + path)).status).toBe(404);
    }
    expect(await metric(gateway.adminUrl, `${refusals}{listener="client",code="not_found"}`)).toBe(3);
    expect(linesOf(gateway, 'request refused')).toHaveLength(0);
  });
});

test('failed streams of one caller have at most 600 lines a minute for each code, and the rest is counted', async () => {
  const gateway = await startGateway(['--upstream', 'http://127.0.0.1:9/v1']);
  for (let sent = 0; sent < 700; sent += 50) {
    await Promise.all(
      Array.from({ length: 50 }, async () => {
        await (await postChat(gateway.url, 'm')).text();
      }),
    );
  }
  gateway.process.kill('SIGTERM');
  await gateway.exited;
  expect(linesOf(gateway, 'stream ended')).toHaveLength(600);
  const leftOut = linesOf(gateway, 'streams were not logged').filter(({ code }) => code !== undefined);
  expect(leftOut).toMatchObject([{ address: '127.0.0.1', code: 'upstream_unreachable', leftOut: 100 }]);
}, 60_000);
