import { createServer } from 'node:http';
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from 'node:http2';
import { type AddressInfo, connect } from 'node:net';
import { join } from 'node:path';
import { type Certificate, makeCertificates } from '../packages/gateway/test/support/certificates.ts';
import { type Command, eventually, printed, spawnProgram } from '../packages/gateway/test/support/spawn.ts';

/** Where packages are installed, and two kinds of Node. */
export interface Installed {
  readonly folder: string;
  /** The oldest that is supported. */
  readonly oldestNode: string;
  /** The oldest whose HTTP/2 is safe. */
  readonly oldestHttp2Node: string;
}

/**
 * Lets the gateway that is installed answer with the ways to a provider that undici has: through a proxy on the oldest Node, and over
 * HTTP/2 on the oldest that has it; the other one refuses it.
 */
export async function checkPackedStreams({ folder, oldestHttp2Node, oldestNode }: Installed): Promise<void> {
  const certificates = makeCertificates();
  const running: Command[] = [];
  const provider = startProvider(certificates.server);
  const proxy = startProxy();
  try {
    const start = (node: string, upstream: string): Command => {
      const program = [node, join(folder, 'node_modules/.bin/spillway'), 'serve'];
      const command = spawnProgram([...program, '--port', '0', '--admin-port', '0', '--upstream', upstream], {
        env: { PROVIDER_KEY: 'secret' },
      });
      running.push(command);
      return command;
    };
    const url = `url=https://localhost:${await provider.port}/v1,apiKeyEnv=PROVIDER_KEY,caFile=${certificates.authority.certFile}`;
    const proxied = start(oldestNode, `${url},proxy=http://127.0.0.1:${await proxy.port}`);
    expectSame('through a proxy', await read(proxied), '1.1');
    expectSame('tunnels', proxy.tunnels(), 1);
    expectSame('over HTTP/2', await read(start(oldestHttp2Node, `${url},http2=true`)), '2.0');
    const refusing = start(oldestNode, `${url},http2=true`);
    expectSame('HTTP/2 on the oldest Node', await refusing.exited, 78);
    expectSame('its reason', /expected a Node with nghttp2/.test(refusing.stderr()), true);
    console.log(
      'packed: an answer through a proxy on the oldest Node, and over HTTP/2 on the oldest that has it',
    );
  } finally {
    for (const command of running) command.process.kill('SIGKILL');
    provider.stop();
    proxy.stop();
    certificates.remove();
  }
}

/** Stops the gateway that is installed with SIGTERM: to its command, and to npx in front of it. */
export async function checkPackedStop({ folder, oldestNode }: Installed): Promise<void> {
  const serve = ['serve', '--port', '0', '--admin-port', '0'];
  const ways = [
    [oldestNode, join(folder, 'node_modules/.bin/spillway')],
    ['npx', 'spillway'],
  ];
  for (const way of ways) {
    const command = spawnProgram([...way, ...serve], { cwd: folder, isGroup: true, env: { HOME: folder } });
    try {
      const url = await printed(command, /Spillway on (\S+)/);
      command.process.kill('SIGTERM');
      await command.exited;
      await eventually(
        () =>
          fetch(url).then(
            () => false,
            () => true,
          ),
        `${way.join(' ')} to give its port back`,
      );
      // What it has said may come behind the end of npx, and behind that of its port.
      await eventually(
        () => command.stdout().includes('Stopping: '),
        `${way.join(' ')} to say that it stops`,
      );
    } finally {
      try {
        if (command.process.pid !== undefined) process.kill(-command.process.pid, 'SIGKILL');
      } catch {
        // Nothing of it is left.
      }
    }
  }
  console.log('packed: SIGTERM stops the command, and npx in front of it');
}

/** Streams the version of HTTP in which it is asked, over TLS. */
function startProvider({ cert, key }: Certificate): { readonly port: Promise<number>; stop(): void } {
  const answer = (request: Http2ServerRequest, response: Http2ServerResponse): void => {
    request.resume();
    request.on('end', () => {
      const choice = { index: 0, delta: { content: request.httpVersion }, finish_reason: 'stop' };
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(`data: ${JSON.stringify({ choices: [choice] })}\n\ndata: [DONE]\n\n`);
    });
  };
  return listening(createSecureServer({ cert, key, allowHTTP1: true }, answer));
}

function startProxy(): { readonly port: Promise<number>; stop(): void; tunnels(): number } {
  let tunnels = 0;
  const server = createServer((_request, response) => response.writeHead(405).end());
  server.on('connect', ({ url = '' }, socket) => {
    tunnels += 1;
    const { hostname, port } = new URL(`http://${url}`);
    const provider = connect(Number(port), hostname, () => {
      socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
      provider.pipe(socket).pipe(provider);
    });
    for (const [end, other] of [
      [socket, provider],
      [provider, socket],
    ] as const) {
      end.on('error', () => undefined);
      end.on('close', () => other.destroy());
    }
  });
  return { ...listening(server), tunnels: () => tunnels };
}

type Listener = ReturnType<typeof createSecureServer> | ReturnType<typeof createServer>;

function listening(server: Listener): { readonly port: Promise<number>; stop(): void } {
  const { promise, resolve } = Promise.withResolvers<number>();
  server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  return { port: promise, stop: () => void server.close() };
}

/** The text of an answer. */
async function read(gateway: Command): Promise<string> {
  const response = await fetch(`${await printed(gateway, /Spillway on (\S+)/)}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'm', stream: true, messages: [{ role: 'user', content: 'Hello' }] }),
    signal: AbortSignal.timeout(30_000),
  });
  const text = await response.text();
  if (response.status !== 200 || !text.includes('data: [DONE]'))
    throw new Error(`got ${response.status}: ${text}`);
  return /"content":"([^"]*)"/.exec(text)?.[1] ?? '';
}

function expectSame(what: string, got: unknown, expected: unknown): void {
  if (got !== expected) throw new Error(`${what}: expected ${String(expected)}, got ${String(got)}`);
}
