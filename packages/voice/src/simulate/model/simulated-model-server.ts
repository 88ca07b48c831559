import { createServer as createPlainServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { openSimulatedGemini, type SimulatedGemini } from './simulated-gemini.ts';
import { checkGeminiSimulation, type SimulatedGeminiFaults } from './simulated-gemini-options.ts';
import { openSimulatedModel, type SimulatedModel } from './simulated-model.ts';
import { checkModelOptions, type SimulatedModelOptions } from './simulated-model-options.ts';

/** A server of simulated models alone. */
export interface SimulatedModelServerOptions extends Omit<SimulatedModelOptions, 'faults' | 'model'> {
  /** The address to listen on. Default: `127.0.0.1`. */
  readonly host?: string;
  /** The port; 0 takes a free one. Default: 0. */
  readonly port?: number;
  /** The key that clients have to have, as a bearer or in the subprotocol of browsers. Default: none is asked for. */
  readonly apiKey?: string;
  /** A certificate and its key, as PEM, for `wss:`. Default: `ws:`. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** What goes wrong. Default: nothing. */
  readonly faults?: SimulatedGeminiFaults;
  /** Of Gemini alone: `goAway` comes so long before the maximum age. Default: 10,000, or that age. */
  readonly goAwayMs?: number;
  /** Called with each session of OpenAI's API. Must not throw. */
  readonly onSession?: (model: SimulatedModel) => void;
  /** Called with each session of Gemini's. Must not throw. */
  readonly onGeminiSession?: (model: SimulatedGemini) => void;
}

/** A server that listens. */
export interface SimulatedModelServer {
  /** Where OpenAI's API is: `ws://127.0.0.1:9001/v1/realtime`. */
  readonly url: string;
  /** Where Gemini's is: `ws://127.0.0.1:9001/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent`. */
  readonly geminiUrl: string;
  /** Closes all connections and stops listening. */
  close(): Promise<void>;
}

/** 15 MiB of audio in base64, and some room. */
const maxMessageBytes = 23_068_672;
/** How browsers send a key: they cannot set headers. */
const keyProtocol = 'openai-insecure-api-key.';

/** Where Gemini's Live API is, in each of its versions. Google's own client asks with two slashes in front. */
const geminiPath =
  /^\/{1,2}ws\/google\.ai\.generativelanguage\.v1(?:alpha|beta)\.GenerativeService\.BidiGenerateContent$/;
/** WebSocket's code for what is not understood: how Gemini says that a key is wrong. */
const invalidPayload = 1007;

/** Where simulated models enter a server that has other paths, too. */
export interface SimulatedModelDoor {
  /** Takes an upgrade request for `/v1/realtime?model=…` or for Gemini's Live API, and answers others with an error. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Closes all connections. */
  close(): void;
}

/**
 * Makes a door for a server that listens already.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * import { createServer } from 'node:http';
 * import { createSimulatedModelDoor } from '@spillway/voice/simulate/model';
 *
 * const door = createSimulatedModelDoor();
 * const server = createServer().on('upgrade', (request, socket, head) => door.upgrade(request, socket, head));
 * server.listen(9000, '127.0.0.1');
 * ```
 */
export function createSimulatedModelDoor(
  options: Omit<SimulatedModelServerOptions, 'host' | 'port' | 'tls'> = {},
): SimulatedModelDoor {
  const { maxAgeMs = 600_000 } = options;
  const geminiOptions = {
    goAwayMs: Math.min(10_000, maxAgeMs),
    ...options,
    handles: new Map<string, number>(),
  };
  checkModelOptions(options);
  checkGeminiSimulation(geminiOptions);
  const { apiKey, onGeminiSession, onSession } = options;
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: maxMessageBytes,
    perMessageDeflate: false,
    handleProtocols: (offered) => (offered.has('realtime') ? 'realtime' : false),
  });
  return {
    upgrade(request, socket, head) {
      const [path, query] = (request.url ?? '').split('?', 2);
      const parameters = new URLSearchParams(query);
      const model = parameters.get('model');
      if (geminiPath.test(path ?? ''))
        sockets.handleUpgrade(request, socket, head, (accepted: WebSocket) => {
          accepted.on('error', () => {});
          const key = request.headers['x-goog-api-key'] ?? parameters.get('key');
          if (apiKey !== undefined && key !== apiKey)
            accepted.close(invalidPayload, 'API key not valid. Please pass a valid API key.');
          else {
            const session = openSimulatedGemini(accepted, geminiOptions);
            onGeminiSession?.(session);
          }
        });
      else if (path !== '/v1/realtime') refuse(socket, 404, errorBody('Not found.', 'not_found'));
      else if (apiKey !== undefined && keyOf(request) !== apiKey)
        refuse(socket, 401, errorBody('Incorrect API key provided.', 'invalid_api_key'));
      else if (!model) refuse(socket, 400, errorBody('You must provide a model parameter.', 'missing_model'));
      else
        sockets.handleUpgrade(request, socket, head, (accepted: WebSocket) => {
          const session = openSimulatedModel(accepted, { ...options, model });
          onSession?.(session);
        });
    },
    close() {
      for (const socket of sockets.clients) socket.terminate();
    },
  };
}

/**
 * Serves simulated models at `/v1/realtime?model=…` and at the path of Gemini's Live API, each connection one session of its own.
 *
 * @throws {SpillwayError} `invalid_option`. Rejects with Node's error if it cannot listen.
 * @example
 * ```ts
 * await using stack = new AsyncDisposableStack();
 * const server = await serveSimulatedModels({ onSession: (model) => sessions.push(model) });
 * stack.defer(() => server.close());
 * ```
 */
export async function serveSimulatedModels(
  options: SimulatedModelServerOptions = {},
): Promise<SimulatedModelServer> {
  const { host = '127.0.0.1', port = 0, tls } = options;
  const door = createSimulatedModelDoor(options);
  const server: Server = tls === undefined ? createPlainServer() : createTlsServer(tls);
  server.on('request', (_request, response) => {
    response.writeHead(426, { 'content-type': 'application/json' });
    response.end(errorBody('Expected a WebSocket.', 'invalid_request'));
  });
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    door.upgrade(request, socket, head);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new TypeError('The server has no port.');
  const name = host.includes(':') ? `[${host}]` : host;
  const origin = `${tls === undefined ? 'ws' : 'wss'}://${name}:${address.port}`;
  return {
    url: `${origin}/v1/realtime`,
    geminiUrl: `${origin}/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent`,
    close: async () => {
      door.close();
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** The key of a client. */
function keyOf({ headers }: IncomingMessage): string | undefined {
  const bearer = /^Bearer (\S+)$/i.exec(headers.authorization ?? '')?.[1];
  const protocols = (headers['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim());
  return bearer ?? protocols.find((one) => one.startsWith(keyProtocol))?.slice(keyProtocol.length);
}

/** An error as the API writes it. */
function errorBody(message: string, code: string): string {
  return JSON.stringify({ error: { message, type: 'invalid_request_error', param: null, code } });
}

/** Answers an upgrade request with an error. */
function refuse(socket: Duplex, status: number, body: string): void {
  socket.on('error', () => {});
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}
