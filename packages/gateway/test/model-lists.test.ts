import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { readModels, renameModels } from '../src/provider/models/read-models.ts';
import { eventually, residentBytes, startGateway, watchMemory } from './support/processes.ts';
import { metric, postChat } from './support/requests.ts';

/** A provider whose answers a test gives. */
interface Provider {
  readonly url: string;
  readonly requests: { readonly request: IncomingMessage; readonly response: ServerResponse }[];
  /** How many wait for an answer now, and the most that ever did. */
  readonly open: () => number;
  readonly most: () => number;
}

async function startProvider(
  answer: (response: ServerResponse, request: IncomingMessage) => void,
): Promise<Provider> {
  const requests: Provider['requests'] = [];
  let open = 0;
  let most = 0;
  const server = createServer((request, response) => {
    requests.push({ request, response });
    open += 1;
    most = Math.max(most, open);
    response.on('close', () => (open -= 1));
    answer(response, request);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  return { url, requests, open: () => open, most: () => most };
}

const never = (): void => undefined;

function listing(...ids: readonly string[]): (response: ServerResponse) => void {
  return (response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ object: 'list', data: ids.map((id) => ({ id, object: 'model' })) }));
  };
}

async function list(url: string, key?: string): Promise<{ status: number; ids: string[] }> {
  const headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  const response = await fetch(`${url}/v1/models`, { headers });
  const { data = [] } = (await response.json()) as { data?: { id: string }[] };
  return { status: response.status, ids: data.map(({ id }) => id) };
}

/** Asks on a bare socket that never reads. */
function ask(url: string, header = ''): Socket {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname).pause();
  socket.on('error', () => undefined);
  onTestFinished(() => void socket.destroy());
  socket.write(`GET /v1/models HTTP/1.1\r\nhost: localhost\r\n${header}\r\n`);
  return socket;
}

describe('a list of models', () => {
  test('is asked for once by all who wait, and no more when they have gone', async () => {
    const provider = await startProvider(never);
    const gateway = await startGateway(['--upstream', provider.url]);
    const sockets = Array.from({ length: 100 }, () => ask(gateway.url));
    await eventually(() => provider.open() === 1, 'the provider to be asked');
    // One more than those that leave, by closing their connection or half of it: it is still waited for.
    const last = list(gateway.url);
    for (const [index, socket] of sockets.entries()) {
      if (index % 2 === 0) socket.destroy();
      else socket.end();
    }
    provider.requests.forEach(({ response }) => listing('m')(response));
    expect(await last).toEqual({ status: 200, ids: ['upstream/m'] });
    expect(provider.most()).toBe(1);
  });

  test.each(['destroy', 'end'] as const)('is not asked for when who asked has gone: %s', async (leave) => {
    const provider = await startProvider(never);
    const gateway = await startGateway(['--upstream', provider.url]);
    const sockets = Array.from({ length: 10 }, () => ask(gateway.url));
    await eventually(() => provider.open() === 1, 'the provider to be asked');
    for (const socket of sockets) socket[leave]();
    await eventually(() => provider.open() === 0, 'the provider to be left', 8000);
  });

  test('takes one of the places of streams', async () => {
    const provider = await startProvider(never);
    const gateway = await startGateway([
      '--upstream',
      provider.url,
      '--max-streams',
      '3',
      '--max-waiting',
      '4',
    ]);
    // Each has a credential of its own, and so a list of its own.
    for (let key = 0; key < 7; key += 1) ask(gateway.url, `authorization: Bearer ${key}\r\n`);
    await eventually(() => provider.open() === 3, 'the places to be taken');
    const codes = await Promise.all(
      ['a', 'b'].map(async (key) => {
        const headers = { authorization: `Bearer ${key}` };
        const response = await fetch(`${gateway.url}/v1/models`, { headers });
        return ((await response.json()) as { error: { code: string } }).error.code;
      }),
    );
    expect(codes).toEqual(['overloaded', 'overloaded']);
    // A stream of somebody else is fairly before the last of them, and waits, too.
    const leave = new AbortController();
    const chat = postChat(gateway.url, 'm', { stream: false, signal: leave.signal }).catch(() => 'left');
    const waiting = (): Promise<number> => metric(gateway.adminUrl, 'spillway_streams{state="waiting"}');
    await eventually(async () => (await waiting()) === 1, 'the stream to wait');
    leave.abort();
    expect(await chat).toBe('left');
    expect(provider.most()).toBe(3);
  });

  test('has the operator’s own names first, and for a tenant those that it may use', async () => {
    const provider = await startProvider(listing('m'));
    const env = { KEY: 'k', SPILLWAY_API_KEYS: 'clinic/web=sk-web,lab=sk-lab' };
    const gateway = await startGateway(
      [
        '--upstream',
        `name=a,url=${provider.url},apiKeyEnv=KEY name=c,api=anthropic,url=${provider.url},apiKeyEnv=KEY`,
        '--model',
        'name=fast,targets=a/m name=large,targets=a/m,fallback=c/m name=claude,targets=c/m',
        '--tenant',
        'name=clinic,models=fast',
      ],
      { env },
    );
    // One without a target of this API is no model of it.
    expect(await list(gateway.url, 'sk-lab')).toEqual({ status: 200, ids: ['fast', 'large', 'a/m'] });
    expect(await list(gateway.url, 'sk-web')).toEqual({ status: 200, ids: ['fast'] });
    const headers = { authorization: 'Bearer sk-web' };
    expect((await postChat(gateway.url, 'large', { headers })).status).toBe(403);
  });

  test('does not wait for a silent provider, whose last list counts', async () => {
    let isSilent = true;
    const silent = await startProvider((response) => {
      if (!isSilent) listing('s')(response);
    });
    const other = await startProvider(listing('o'));
    const gateway = await startGateway([
      '--upstream',
      `name=silent,url=${silent.url} name=other,url=${other.url}`,
    ]);
    expect(await list(gateway.url)).toEqual({ status: 200, ids: ['other/o'] });
    // It is still asked: what it says counts for those who come later.
    expect(silent.open()).toBe(1);
    isSilent = false;
    silent.requests.forEach(({ response }) => listing('s')(response));
    await eventually(async () => (await list(gateway.url)).ids.length === 2, 'both lists');
    isSilent = true;
    await eventually(async () => {
      expect((await list(gateway.url)).ids).toEqual(['silent/s', 'other/o']);
      return silent.open() === 1;
    }, 'the silent one to be asked again');
    expect((await list(gateway.url)).ids).toEqual(['silent/s', 'other/o']);
    expect(silent.most()).toBe(1);
  });

  test('is of one credential and never another’s', async () => {
    const provider = await startProvider((response, { headers }) =>
      listing(`of ${headers.authorization ?? 'nobody'}`)(response),
    );
    const gateway = await startGateway(['--upstream', provider.url]);
    for (let turn = 0; turn < 3; turn += 1) {
      const lists = await Promise.all(['a', 'b', undefined].map((key) => list(gateway.url, key)));
      expect(lists.map(({ ids }) => ids)).toEqual([
        ['upstream/of Bearer a'],
        ['upstream/of Bearer b'],
        ['upstream/of nobody'],
      ]);
    }
  });

  test('that fails is logged once, however often it is asked for', async () => {
    const provider = await startProvider((response) => response.writeHead(500).end('{}'));
    const gateway = await startGateway(['--upstream', provider.url]);
    for (let turn = 0; turn < 20; turn += 1) expect((await list(gateway.url, String(turn))).status).toBe(500);
    gateway.process.kill('SIGTERM');
    await gateway.exited;
    expect(gateway.stderr().split('models could not be listed')).toHaveLength(2);
  });

  test.each<[string, (response: ServerResponse) => void]>([
    ['is no JSON', (response) => response.end('<html>')],
    ['is none', (response) => response.end('{"data":{}}')],
    ['has a model without an id', (response) => response.end('{"data":[{"id":"a"},{}]}')],
    [
      'is cut',
      (response) => response.writeHead(200, { 'content-length': 9 }).write('{', () => response.destroy()),
    ],
    [
      'has no end',
      (response) => {
        response.write('{"data":[');
        const more = (): boolean => response.destroyed || (response.write('{"id":"a"},'.repeat(1000)), false);
        const timer = setInterval(() => more() && clearInterval(timer), 1);
      },
    ],
  ])('that %s is an error, and its provider’s connection is over', async (_what, answer) => {
    const provider = await startProvider(answer);
    const gateway = await startGateway(['--upstream', provider.url]);
    expect((await list(gateway.url)).status).toBe(502);
    await eventually(() => provider.open() === 0, 'the provider to be left');
  });

  test('is one copy for all who do not take it', async () => {
    const body = JSON.stringify({
      data: Array.from({ length: 100 }, (_, id) => ({ id: String(id), text: 'x'.repeat(40_000) })),
    });
    const provider = await startProvider((response) => response.end(body));
    const gateway = await startGateway(['--upstream', provider.url]);
    expect((await list(gateway.url)).ids).toHaveLength(100);
    const before = residentBytes(gateway);
    // What the kernel has taken is gone again: the most counts.
    const most = watchMemory(gateway);
    const sockets = Array.from({ length: 80 }, () => ask(gateway.url));
    await Promise.all(sockets.map((socket) => once(socket, 'readable')));
    // 320 MB, if each had its own.
    expect(most() - before).toBeLessThan(40_000_000);
  });
});

test('other paths below /v1/models are streams as all others', async () => {
  const provider = await startProvider(never);
  const gateway = await startGateway([
    '--upstream',
    provider.url,
    '--max-streams',
    '3',
    '--max-waiting',
    '0',
  ]);
  const { hostname, port } = new URL(gateway.url);
  const sockets = ['', '/m', '/m?x=y'].map((rest) => {
    const socket = connect(Number(port), hostname);
    socket.write(`GET /v1/models${rest} HTTP/1.1\r\nhost: localhost\r\n\r\n`);
    onTestFinished(() => void socket.destroy());
    return socket;
  });
  await eventually(() => provider.open() === 3, 'the provider to be asked');
  expect((await fetch(`${gateway.url}/v1/models/m`)).status).toBe(503);
  for (const method of ['HEAD', 'OPTIONS']) {
    expect((await fetch(`${gateway.url}/v1/models`, { method })).ok).toBe(false);
  }
  for (const socket of sockets) socket.destroy();
  await eventually(() => provider.open() === 0, 'the provider to be left', 8000);
  expect(provider.requests).toHaveLength(3);
});

test.each(['identity', 'gzip'])('a refusal of more than 64 KiB in %s says its words', async (coding) => {
  const text = `There is no list, say we. ${'x'.repeat(100_000)}${randomBytes(100_000).toString('hex')}`;
  const provider = await startProvider((response) => {
    response.writeHead(403, {
      'content-type': 'text/plain',
      'content-encoding': coding,
      'x-request-id': 'r-1',
    });
    response.end(coding === 'gzip' ? gzipSync(text) : text);
  });
  const gateway = await startGateway(['--upstream', provider.url]);
  const answer = await fetch(`${gateway.url}/v1/models`);
  expect([answer.status, answer.headers.get('x-request-id')]).toEqual([403, 'r-1']);
  expect(answer.headers.get('content-encoding')).toBeNull();
  const { error } = (await answer.json()) as { error: { code: string; message: string } };
  expect(error.code).toBe('upstream_invalid');
  expect(error.message).toContain('There is no list, say we.');
  expect(error.message.length).toBeLessThan(70_000);
});

describe('reading a list', () => {
  const read = (text: string): unknown => {
    const models = readModels(Buffer.from(text), 'p/');
    return models === undefined ? undefined : JSON.parse(`[${models.toString()}]`);
  };

  test('prefixes the ids and keeps everything else, as a whole parse would', () => {
    const model = fc.record({ id: fc.string(), more: fc.jsonValue() });
    const key = fc.constantFrom('object', 'data ', 'x"data"', 'id');
    const body = fc.record({
      before: fc.dictionary(key, fc.jsonValue()),
      models: fc.array(model),
      space: fc.constantFrom(undefined, 1, '\t'),
    });
    fc.assert(
      fc.property(body, ({ before, models, space }) => {
        const text = JSON.stringify({ ...before, data: models, after: before }, undefined, space);
        const expected = models.map((each) => ({ ...each, id: `p/${each.id}` }));
        expect(read(text)).toEqual(JSON.parse(JSON.stringify(expected)));
      }),
    );
  });

  test('renames some and leaves others out, as a whole parse would', () => {
    const model = fc.record({ id: fc.string(), more: fc.jsonValue() });
    const nameOf = (id: string): string | undefined => (id.length % 2 === 0 ? `${id}"x` : undefined);
    fc.assert(
      fc.property(fc.array(model), (models) => {
        const whole = readModels(Buffer.from(JSON.stringify({ data: models })), 'p/') ?? Buffer.alloc(0);
        const expected = models.flatMap(({ id, more }) => {
          const name = nameOf(`p/${id}`);
          return name === undefined ? [] : [{ id: name, more }];
        });
        const renamed: unknown = JSON.parse(`[${renameModels(whole, nameOf).toString()}]`);
        expect(renamed).toEqual(JSON.parse(JSON.stringify(expected)));
      }),
    );
  });

  test.each([
    '',
    '[]',
    '{}',
    '["data",[]]',
    '[{"data":[]}]',
    '{"data":',
    '{"data":[',
    '{"data":[{"id":"a"}',
    '{"data":[{"id":"a"},]}',
    '{"data":[{"id":"a"} {"id":"b"}]}',
    '{"data":[{"id":1}]}',
    '{"data":["a"]}',
    '{"data":[{"id":"a",}]}',
    '{"data":[{"id":"a"]]}',
    '{"x":{"data":[{"id":"a"}]}}',
  ])('refuses what is none: %s', (text) => {
    expect(read(text)).toBeUndefined();
  });

  test('refuses a model that is too long, and too many of them', () => {
    const long = (length: number): string => `{"data":[{"id":"a","x":"${'x'.repeat(length)}"}]}`;
    expect(readModels(Buffer.from(long(60_000)), '')).toBeDefined();
    expect(readModels(Buffer.from(long(70_000)), '')).toBeUndefined();
    const many = (models: number): string => `{"data":[${'{"id":"a"},'.repeat(models - 1)}{"id":"a"}]}`;
    expect(readModels(Buffer.from(many(10_000)), '')).toBeDefined();
    expect(readModels(Buffer.from(many(10_001)), '')).toBeUndefined();
  });

  test('takes a model that is nested deeply, if it is not too long', () => {
    const nested = (depth: number): string =>
      `{"data":[{"id":"a","x":${'['.repeat(depth)}${']'.repeat(depth)}}]}`;
    expect(readModels(Buffer.from(nested(30_000)), 'p/')?.toString()).toContain('"id":"p/a"');
    expect(readModels(Buffer.from(nested(40_000)), 'p/')).toBeUndefined();
    expect(readModels(Buffer.from(nested(30_000).replace(']', '')), 'p/')).toBeUndefined();
  });

  test('never throws, and what it makes is JSON', () => {
    const unit = fc.constantFrom(...Array.from('{}[]":,\\ '), '"data":[', '{"id":"a"', '}', ']');
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 60 }), (text) => void read(`{${text}`)),
      { numRuns: 5000 },
    );
  });
});
