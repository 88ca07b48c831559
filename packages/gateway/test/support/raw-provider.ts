import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterAll, beforeAll, beforeEach, onTestFinished } from 'vitest';
import { upstreamsAt } from './answers.ts';
import { gatewayForAll, type RunningGateway } from './processes.ts';

/** What a provider is asked. */
interface Asked {
  readonly method: string;
  readonly path: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export interface RawProvider {
  readonly url: string;
  readonly server: Server;
  /** Everything it was asked, in order. */
  readonly asked: Asked[];
  /** What it answers from now on: bytes on the connection, head and all. */
  answer: (asked: Asked, socket: Socket) => void;
}

/**
 * A provider that writes whatever bytes a test wants, and is strict about what it is asked: a request that is none, a body
 * without its length, or bytes behind it close the connection.
 */
export async function startRawProvider(answer: RawProvider['answer']): Promise<RawProvider> {
  const { close, provider } = await openRawProvider(answer);
  onTestFinished(close);
  return provider;
}

/**
 * A raw provider and a gateway in front of it, with all its APIs, for all tests of a file: each of them says first what is answered.
 * To be called where they are collected.
 */
export function rawPairForAll(args: readonly string[] = []): () => RawPair {
  let opened: Awaited<ReturnType<typeof openRawProvider>> | undefined;
  const providerOf = (): RawProvider => {
    if (opened === undefined)
      throw new Error('it is opened before the tests, and not while they are collected');
    return opened.provider;
  };
  beforeAll(async () => {
    opened = await openRawProvider((_asked, socket) => void socket.destroy());
  });
  const gateway = gatewayForAll(() => ['--upstream', upstreamsAt(providerOf().url), ...args]);
  beforeEach(() => void providerOf().asked.splice(0));
  afterAll(() => opened?.close());
  return () => ({ gateway: gateway(), provider: providerOf() });
}

export interface RawPair {
  readonly gateway: RunningGateway;
  readonly provider: RawProvider;
}

async function openRawProvider(
  answer: RawProvider['answer'],
): Promise<{ readonly provider: RawProvider; readonly close: () => void }> {
  const server = createServer((socket) => {
    let text = '';
    socket.on('error', () => undefined);
    socket.setEncoding('latin1').on('data', (piece: string) => {
      text += piece;
      const request = parse(text);
      if (request === undefined) return;
      if (request === 'invalid') {
        socket.destroy();
        return;
      }
      text = '';
      provider.asked.push(request);
      provider.answer(request, socket);
    });
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  const sockets = new Set<Socket>();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const provider: RawProvider = { url: `http://127.0.0.1:${port}`, server, asked: [], answer };
  const close = (): void => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return { provider, close };
}

/** `undefined`: it is not whole yet. */
function parse(text: string): Asked | 'invalid' | undefined {
  const headEnd = text.indexOf('\r\n\r\n');
  if (headEnd === -1) return undefined;
  const [first = '', ...lines] = text.slice(0, headEnd).split('\r\n');
  const [, method = '', path = ''] = /^([A-Z]+) (\/\S*) HTTP\/1\.1$/.exec(first) ?? [];
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const [, name = '', value = ''] = /^([\w-]+): (.*)$/.exec(line) ?? [];
    if (name === '' || headers[name.toLowerCase()] !== undefined) return 'invalid';
    headers[name.toLowerCase()] = value;
  }
  const length = Number(headers['content-length'] ?? 0);
  const body = text.slice(headEnd + 4);
  if (method === '' || headers['host'] === undefined || headers['transfer-encoding'] !== undefined)
    return 'invalid';
  if (body.length > length) return 'invalid';
  return body.length < length ? undefined : { method, path, headers, body };
}

/** A whole answer, with its length. */
export function wholeAnswer(
  body: string | Buffer,
  headers: Readonly<Record<string, string>> = { 'content-type': 'text/event-stream' },
  status = '200 OK',
): Buffer {
  const bytes = Buffer.from(body);
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const head = `HTTP/1.1 ${status}\r\n${lines.join('')}content-length: ${bytes.length}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, 'latin1'), bytes]);
}

/** A piece of a body as a chunk. */
export function chunk(piece: string | Buffer): Buffer {
  const bytes = Buffer.from(piece);
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
}

/** What ends a body in chunks. */
export const lastChunk = '0\r\n\r\n';
