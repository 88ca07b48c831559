import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventually, type RunningGateway, startGateway, startSimulator } from './support/processes.ts';
import { chunkOf, openRaw, type RawRequest } from './support/raw-request.ts';
import { metric, postChat } from './support/requests.ts';

const megabyte = 1_048_576;
const keys = { SPILLWAY_API_KEYS: 'greedy other' };
const chunked = { 'transfer-encoding': 'chunked' };

function bearer(key: string): Record<string, string> {
  return { authorization: `Bearer ${key}` };
}

function heldBytes({ adminUrl }: RunningGateway): Promise<number> {
  return metric(adminUrl, 'spillway_requests_held_bytes');
}

async function served({ url }: RunningGateway, headers: Record<string, string>): Promise<number> {
  const response = await postChat(url, 'sim:tokens=1,ttft=0,tps=0', { headers });
  await response.text();
  return response.status;
}

/** A provider that reads bodies and answers with their sizes. */
async function startProvider(): Promise<{ url: string; requests: { method: string; body: Buffer }[] }> {
  const requests: { method: string; body: Buffer }[] = [];
  const server = createServer((request: IncomingMessage, response) => {
    const parts: Buffer[] = [];
    request.on('data', (bytes: Buffer) => parts.push(bytes));
    request.on('end', () => {
      requests.push({ method: request.method ?? '', body: Buffer.concat(parts) });
      response.end('{}');
    });
  });
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, requests };
}

describe('promise 1: the memory of requests', () => {
  test('is not taken by what is announced, so that nobody is kept out by it', async () => {
    const gateway = await startGateway();
    const length = { 'content-length': '33554432' };
    for (let count = 0; count < 12; count += 1) {
      const { socket } = await openRaw(gateway.url, count % 2 === 0 ? length : chunked);
      socket.write(count % 2 === 0 ? '{' : chunkOf(Buffer.from('{')));
    }
    await eventually(async () => (await heldBytes(gateway)) === 12, 'a byte of each to be held');
    const answers = await Promise.all(Array.from({ length: 12 }, () => served(gateway, {})));
    expect(new Set(answers)).toEqual(new Set([200]));
    expect(await heldBytes(gateway)).toBe(12);
    expect(await metric(gateway.adminUrl, 'spillway_requests_refused_total')).toBe(0);
  });

  test('is shared: whoever takes too much is refused, and the others are not', async () => {
    const gateway = await startGateway(['--max-request-memory-bytes', '400000'], { env: keys });
    const greedy: RawRequest[] = [];
    const refused = (): RawRequest | undefined => greedy.find(({ answer }) => answer() !== '');
    while (refused() === undefined) {
      const raw = await openRaw(gateway.url, { ...chunked, ...bearer('greedy') });
      greedy.push(raw);
      raw.socket.write(chunkOf(Buffer.alloc(40_000, ' ')));
      await eventually(
        async () => refused() !== undefined || (await heldBytes(gateway)) >= 40_000 * greedy.length,
        'it to be held or refused',
      );
    }
    await refused()?.closed();
    expect(refused()?.answer()).toMatch(/^HTTP\/1.1 503 /);
    expect(refused()?.answer()).toMatch(/\r\nretry-after: 1\r\n/i);
    expect(refused()?.answer()).toMatch(/\r\nconnection: close\r\n/i);
    expect(refused()?.answer()).toContain('"code":"overloaded"');
    expect(await metric(gateway.adminUrl, 'spillway_requests_refused_total')).toBe(1);
    // At most two thirds; and what the greedy one holds is not given back by itself.
    expect(await heldBytes(gateway)).toBeLessThanOrEqual(266_666);
    expect(await heldBytes(gateway)).toBeGreaterThan(150_000);
    const body = JSON.stringify({ model: 'sim:tokens=1,ttft=0,tps=0', messages: 'x'.repeat(60_000) });
    for (let count = 0; count < 3; count += 1) {
      const headers = { 'content-type': 'application/json', ...bearer('other') };
      const response = await fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', headers, body });
      expect(response.status).toBe(200);
    }
    for (const { socket } of greedy) socket.destroy();
    await eventually(async () => (await heldBytes(gateway)) === 0, 'all of it to be given back');
    expect(gateway.stderr()).not.toContain('a request failed');
    expect(await served(gateway, bearer('greedy'))).toBe(200);
  });

  test('is given back as soon as a client leaves in the middle, and when its request is refused', async () => {
    const gateway = await startGateway();
    for (let count = 0; count < 20; count += 1) {
      const { socket } = await openRaw(
        gateway.url,
        count % 2 === 0 ? chunked : { 'content-length': '90000' },
      );
      socket.write(count % 2 === 0 ? chunkOf(Buffer.alloc(50_000)) : Buffer.alloc(50_000));
      await eventually(async () => (await heldBytes(gateway)) >= 50_000, 'the half of it to be held');
      if (count % 4 < 2) socket.destroy();
      else socket.end();
      await eventually(async () => (await heldBytes(gateway)) === 0, 'it to be given back');
    }
    for (const body of ['{"model":', '[]', '{"model":"m","model":"m"}']) {
      const headers = { 'content-type': 'application/json' };
      const response = await fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', headers, body });
      expect(response.status).toBe(400);
      await eventually(async () => (await heldBytes(gateway)) === 0, 'a refused one to be given back');
    }
    expect(gateway.stderr()).not.toMatch(/a request failed|"level":50/);
  });

  test('is not taken by tiny pieces beyond what is counted for them, and they come to an end', async () => {
    const gateway = await startGateway(['--max-request-memory-bytes', String(megabyte)]);
    const { answer, closed, socket } = await openRaw(gateway.url, chunked);
    const pieces = '1\r\n \r\n'.repeat(100_000);
    socket.write(pieces);
    await eventually(async () => (await heldBytes(gateway)) >= 100_000, 'all of it to be held');
    expect(await heldBytes(gateway)).toBeLessThanOrEqual(100_000 + 65_536);
    expect(answer()).toBe('');
    for (let count = 0; count < 3; count += 1) socket.write(pieces);
    await closed();
    expect(answer()).toMatch(/^HTTP\/1.1 400 [^]*expected larger chunks/);
    expect(await heldBytes(gateway)).toBe(0);
  });
});

describe('a body that is not wanted', () => {
  test('is refused at its announcement or at its first byte too many, in the format of its path', async () => {
    const gateway = await startGateway(['--max-request-bytes', '1000']);
    const announced = await openRaw(gateway.url, { 'content-length': '1001' }, { path: '/v1/messages' });
    const longer = await openRaw(gateway.url, chunked);
    longer.socket.write(chunkOf(Buffer.alloc(1001)));
    for (const { answer, closed } of [announced, longer]) {
      await closed();
      expect(answer()).toMatch(/^HTTP\/1.1 413 /);
      expect(answer()).toContain('"code":"request_too_large"');
    }
    expect(announced.answer()).toContain('"type":"error"');
    const whole = await openRaw(gateway.url, { 'content-length': '1000' });
    whole.socket.write(Buffer.alloc(1000));
    await eventually(() => whole.answer().startsWith('HTTP/1.1 400 '), 'the largest to be read');
  });

  test('is neither kept nor read for ever, whoever answers', async () => {
    const gateway = await startGateway([], { env: keys });
    const ofAdmin = (path: string): [string, string, string, Record<string, string>] => [
      gateway.adminUrl,
      'POST',
      path,
      {},
    ];
    const requests: [string, string, string, Record<string, string>][] = [
      [gateway.url, 'POST', '/v1/chat/completions', {}],
      [gateway.url, 'POST', '/v1/chat/completions', bearer('wrong')],
      [gateway.url, 'POST', '/nothing', {}],
      [gateway.url, 'DELETE', '/streams/none', bearer('other')],
      [gateway.url, 'GET', '/health/live', {}],
      [gateway.url, 'HEAD', '/health/live', {}],
      [gateway.url, 'PUT', '/health/live', {}],
      ofAdmin('/metrics'),
      ofAdmin('/nothing'),
    ];
    await Promise.all(
      requests.map(async ([url, method, path, headers]) => {
        const { answer, closed, socket } = await openRaw(url, { ...chunked, ...headers }, { method, path });
        const more = setInterval(() => socket.write(chunkOf(Buffer.alloc(16_384))), 5);
        onTestFinished(() => clearInterval(more));
        await closed();
        clearInterval(more);
        expect(answer(), path).toMatch(/^HTTP\/1.1 (?:200|401|404) /);
        expect(answer(), path).toMatch(/\r\nconnection: close\r\n/i);
      }),
    );
    expect(await heldBytes(gateway)).toBe(0);
    expect(await metric(gateway.adminUrl, 'spillway_requests_refused_total')).toBe(0);
    expect(gateway.stderr()).not.toMatch(/"level":50/);
  });

  test('that is small costs nobody the connection, if its rest comes in time', async () => {
    const gateway = await startGateway([], { env: keys });
    const small = { 'content-length': '20000', ...bearer('wrong') };
    const { answer, closed, socket } = await openRaw(gateway.url, small);
    const answers = (): number => answer().split('HTTP/1.1 401 ').length - 1;
    await eventually(() => answers() === 1, 'an answer before the body');
    expect(answer()).not.toMatch(/\r\nconnection: close\r\n/i);
    socket.write(Buffer.alloc(20_000));
    const head = 'POST /v1/responses HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n';
    socket.write(head);
    await eventually(() => answers() === 2, 'a second answer on the connection');
    // The rest of this one never comes.
    await closed();
    const last = await openRaw(gateway.url, { ...small, connection: 'close' });
    await eventually(() => last.answer() !== '', 'an answer');
    expect(last.answer()).toMatch(/\r\nconnection: close\r\n/i);
    last.socket.write(Buffer.alloc(20_000));
    await last.closed();
    expect(await heldBytes(gateway)).toBe(0);
  });

  test('does not take the answer with it: a client that sends all of it first gets it', async () => {
    const gateway = await startGateway([], { env: keys });
    for (const [path, status] of [
      ['/v1/chat/completions', 401],
      ['/nothing', 404],
    ] as const) {
      const body = Buffer.alloc(8 * megabyte);
      const { answer, closed, socket } = await openRaw(
        gateway.url,
        { 'content-length': String(body.length) },
        { path },
      );
      socket.pause();
      await new Promise((resolve) => socket.write(body, resolve));
      socket.resume();
      await closed();
      expect(answer()).toMatch(new RegExp(`^HTTP/1.1 ${status} [^]*"code":`));
    }
  });

  test('does not end the connection when it came whole', async () => {
    const gateway = await startGateway();
    const { answer, socket } = await openRaw(gateway.url, { 'content-length': '4' }, { path: '/nothing' });
    socket.write('{}{}GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n');
    await eventually(() => answer().includes('HTTP/1.1 200 OK'), 'the next one to be answered');
    expect(answer()).toMatch(/^HTTP\/1.1 404 /);
    expect(answer()).not.toMatch(/connection: close/i);
  });

  test('is not asked for', async () => {
    const gateway = await startGateway([], { env: keys });
    const expectation = { 'content-length': '99', expect: '100-continue' };
    const refused = await openRaw(gateway.url, expectation);
    await refused.closed();
    expect(refused.answer()).toMatch(/^HTTP\/1.1 401 /);
    const body = JSON.stringify({ model: 'sim:tokens=1,ttft=0,tps=0' }).padEnd(99);
    const wanted = await openRaw(gateway.url, { ...expectation, ...bearer('other') });
    await eventually(() => wanted.answer().startsWith('HTTP/1.1 100 Continue\r\n\r\n'), 'it to be asked for');
    wanted.socket.write(body);
    await eventually(() => wanted.answer().includes('HTTP/1.1 200 OK'), 'an answer');
  });

  test('of a GET does not reach the provider', async () => {
    const provider = await startProvider();
    const gateway = await startGateway(['--upstream', provider.url]);
    for (const method of ['GET', 'DELETE', 'PUT']) {
      const { answer, socket } = await openRaw(
        gateway.url,
        { 'content-length': '2' },
        { method, path: '/v1/files' },
      );
      socket.write('{}');
      await eventually(() => answer().includes('200 OK'), 'an answer');
    }
    const bodies = provider.requests.map(({ body, method }) => [method, body.toString()]);
    expect(bodies).toEqual([
      ['GET', ''],
      ['DELETE', '{}'],
      ['PUT', '{}'],
    ]);
    expect(await heldBytes(gateway)).toBe(0);
  });
});

describe('promise 26: one body does not block the others', () => {
  const filled = (unit: string): string => unit.repeat(Math.floor((31 * megabyte) / unit.length));

  test.each([
    ['a run of digits', `{"model":"fake/m","n":1234567890123456,"a":[${filled('{},')}1]}`, 200],
    ['nothing but arrays', `{"model":"fake/m","a":[${filled('[],')}1]}`, 200],
    ['a deep one', `{"model":"fake/m","a":${filled('[')}`, 400],
  ])('%s: streams go on while it comes', async (_what, body, status) => {
    const provider = await startProvider();
    const simulator = await startSimulator();
    const upstreams = `${simulator.url}/v1 name=fake,url=${provider.url}`;
    const gateway = await startGateway(['--upstream', upstreams]);
    const abort = new AbortController();
    const stream = await postChat(gateway.url, 'sim:tokens=1000000,ttft=0,tps=100', { signal: abort.signal });
    let lastMs = performance.now();
    let longestMs = 0;
    const reading = (async (): Promise<void> => {
      for await (const bytes of stream.body ?? []) {
        void bytes;
        longestMs = Math.max(longestMs, performance.now() - lastMs);
        lastMs = performance.now();
      }
    })().catch(() => undefined);
    const headers = { 'content-type': 'application/json' };
    const response = await fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', headers, body });
    expect(response.status).toBe(status);
    await response.text();
    abort.abort();
    await reading;
    // To parse it took 8 to 120 s.
    expect(longestMs).toBeLessThan(3000);
    if (status === 200)
      expect(provider.requests[0]?.body.equals(Buffer.from(body.replace('fake/', '')))).toBe(true);
    expect(await heldBytes(gateway)).toBe(0);
  });
});
