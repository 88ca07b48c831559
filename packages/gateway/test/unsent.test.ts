import { nodeClock } from '@spillway/server/time/node-clock';
import { subscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { GatewayError } from '@spillway/server/errors';
import { HeldBody } from '../src/memory/held-body.ts';
import { openReply } from '../src/provider/open-reply.ts';
import type { Reply } from '../src/source/reply.ts';
import { type Reader, readers } from './support/readers.ts';
import { eventually } from './support/spawn.ts';
import { openPool } from './support/transports.ts';

/** The sockets of connections to providers, as they are opened: real ones, on which a test puts the system's errors. */
const opened: Socket[] = [];
const servers: Server[] = [];
let onOpened: (socket: Socket) => void = () => undefined;

subscribe('net.client.socket', (message) => {
  const { socket } = message as { readonly socket: Socket };
  opened.push(socket);
  onOpened(socket);
});

// Waits that are neither long nor too short for a provider to come up in.
beforeAll(() => void vi.spyOn(Math, 'random').mockReturnValue(0.2));
afterAll(() => void vi.restoreAllMocks());

/** All that the system says of a connection, whether it was being made or carried a request. */
const codes = ['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ENETDOWN'];

function failure(code: string): Error {
  return Object.assign(new Error(`read ${code}`), { code, syscall: 'read' });
}

interface Provider {
  readonly port: number;
  /** Requests that came whole. */
  requests: number;
  connections: number;
}

/** Counts requests, and answers each as a test says. */
async function startProvider(
  answer: (socket: Socket, request: number) => void,
  onConnection: (socket: Socket) => void = () => undefined,
  port = 0,
): Promise<Provider> {
  const sockets = new Set<Socket>();
  const provider: { -readonly [Name in keyof Provider]: Provider[Name] } = {
    port: 0,
    requests: 0,
    connections: 0,
  };
  const server: Server = createServer((socket) => {
    provider.connections += 1;
    sockets.add(socket);
    socket.on('error', () => undefined);
    onConnection(socket);
    let text = '';
    socket.setEncoding('latin1').on('data', (part: string) => {
      text += part;
      if (!text.endsWith('\r\n\r\nthe body')) return;
      text = '';
      provider.requests += 1;
      answer(socket, provider.requests);
    });
  });
  servers.push(server);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  provider.port = (server.address() as AddressInfo).port;
  return provider;
}

function ok(socket: Socket): void {
  socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok');
}

/** Asks a provider with two tries more; says how often it was tried again. */
function openAsker(
  reader: Reader,
  port: number,
  scheme = 'http',
  onRetry: () => void = () => undefined,
): { ask: () => Promise<Reply>; retries: () => number } {
  onTestFinished(() => {
    opened.length = 0;
    onOpened = () => undefined;
  });
  const pool = openPool(`${scheme}://127.0.0.1:${port}`, reader, { connectTimeoutMs: 300 });
  let count = 0;
  const { signal } = new AbortController();
  const ask = (): Promise<Reply> => {
    const body = new HeldBody([Buffer.from('the body')]);
    const headers = { 'content-type': 'text/plain' };
    return openReply(
      pool,
      { method: 'POST', path: '/', headers, body },
      {
        clock: nodeClock,
        retries: 0,
        connectRetries: 2,
        signal,
        onRetry: () => {
          count += 1;
          onRetry();
        },
      },
    );
  };
  return { ask, retries: () => count };
}

async function refusalOf(promise: Promise<Reply>): Promise<string> {
  return await promise.then(
    (reply) => `status ${reply.status}`,
    (error: GatewayError) => error.code,
  );
}

async function readWhole(reply: Reply): Promise<void> {
  await new Promise<void>((resolve, reject) =>
    reply.consume({ data: () => undefined, complete: resolve, fail: reject }),
  );
  // undici takes a connection back in the turn that follows.
  await nextTurn();
  await nextTurn();
}

describe.each(readers)('read by %s', (reader) => {
  describe('1.5 a request of which something was handed to a connection is never sent again', () => {
    test.each(codes)('%s, when the provider has it', async (code) => {
      const provider = await startProvider(() => opened.at(-1)?.destroy(failure(code)));
      const { ask, retries } = openAsker(reader, provider.port);
      expect(await refusalOf(ask())).toBe('upstream_cut');
      expect(retries()).toBe(0);
      expect(provider.requests).toBe(1);
    });

    test('reset by the provider, when it has it', async () => {
      const provider = await startProvider((socket) => socket.resetAndDestroy());
      const { ask, retries } = openAsker(reader, provider.port);
      expect(await refusalOf(ask())).toBe('upstream_cut');
      expect(retries()).toBe(0);
      expect(provider.requests).toBe(1);
    });

    test.each(['resetAndDestroy', 'end'] as const)(
      'a kept connection that closes before a byte of an answer: %s',
      async (how) => {
        const provider = await startProvider((socket, request) => {
          if (request === 1) ok(socket);
          else socket[how]();
        });
        const { ask, retries } = openAsker(reader, provider.port);
        await readWhole(await ask());
        expect(await refusalOf(ask())).toBe('upstream_cut');
        expect(retries()).toBe(0);
        expect(provider).toMatchObject({ connections: 1, requests: 2 });
      },
    );

    test.each(codes)('%s on a kept connection, when the provider has it', async (code) => {
      const provider = await startProvider((socket, request) => {
        if (request === 1) ok(socket);
        else opened.at(-1)?.destroy(failure(code));
      });
      const { ask, retries } = openAsker(reader, provider.port);
      await readWhole(await ask());
      expect(await refusalOf(ask())).toBe('upstream_cut');
      expect(retries()).toBe(0);
      expect(provider).toMatchObject({ connections: 1, requests: 2 });
    });
  });

  describe('1.5 a request of which nothing was handed to a connection is sent again, and comes once', () => {
    test.each(codes)('%s, before there is a connection', async (code) => {
      const provider = await startProvider(ok);
      onOpened = (socket) => {
        if (opened.length < 3) socket.destroy(failure(code));
      };
      const { ask, retries } = openAsker(reader, provider.port);
      expect(await refusalOf(ask())).toBe('status 200');
      expect(retries()).toBe(2);
      expect(provider.requests).toBe(1);
    });

    test('refused, until the provider is there', async () => {
      const { port } = await startProvider(ok);
      const closing = servers.at(-1);
      closing?.close();
      await eventually(() => closing?.listening === false, 'the provider to be gone');
      const { ask, retries } = openAsker(
        reader,
        port,
        'http',
        () => void (starting ??= startProvider(ok, undefined, port)),
      );
      let starting: Promise<Provider> | undefined;
      expect(await refusalOf(ask())).toBe('status 200');
      expect(retries()).toBeGreaterThan(0);
      expect((await starting)?.requests).toBe(1);
    });

    test('a kept connection that has closed meanwhile', async () => {
      const provider = await startProvider((socket) => {
        ok(socket);
        setImmediate(() => socket.end());
      });
      const { ask, retries } = openAsker(reader, provider.port);
      await readWhole(await ask());
      await eventually(() => opened[0]?.destroyed, 'the connection to be closed');
      await readWhole(await ask());
      expect(retries()).toBe(0);
      expect(provider).toMatchObject({ connections: 2, requests: 2 });
    });

    test('TLS: reset during the handshake', async () => {
      const provider = await startProvider(ok, (socket) => {
        socket.once('data', () => socket.resetAndDestroy());
      });
      const { ask, retries } = openAsker(reader, provider.port, 'https');
      expect(await refusalOf(ask())).toBe('upstream_unreachable');
      expect(retries()).toBe(2);
      expect(provider).toMatchObject({ connections: 3, requests: 0 });
    });

    test('TLS: a handshake that is not answered in time', async () => {
      const provider = await startProvider(ok);
      const { ask, retries } = openAsker(reader, provider.port, 'https');
      expect(await refusalOf(ask())).toBe('upstream_timeout');
      expect(retries()).toBe(2);
      expect(provider).toMatchObject({ connections: 3, requests: 0 });
    });
  });
});
