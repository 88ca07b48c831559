import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { systemClock } from '@spillway/core/clock';
import { WebSocketServer } from 'ws';
import { keepNewest } from '../model/keep-newest.ts';
import { speech, speechNames } from '../speech.ts';
import { ClipEars } from './clip-ears.ts';
import {
  checkRecogniserOptions,
  type RecognisedSpeech,
  type SimulatedRecogniserFaults,
  type SimulatedRecogniserOptions,
} from './recogniser-options.ts';
import { readDeepgramQuery, SimulatedDeepgram } from './simulated-deepgram.ts';
import { answerTranscription } from './simulated-transcription.ts';

/** The largest message of a client. */
const maxMessageBytes = 1_048_576;

/** Where simulated recognisers enter a server that has other paths, too. */
export interface SimulatedRecogniserDoor {
  /** What goes wrong; may be changed at any time. */
  faults: SimulatedRecogniserFaults;
  /** What was understood: the newest thousand. */
  readonly heard: readonly RecognisedSpeech[];
  /** What was refused, and why: the newest thousand. */
  readonly refused: readonly string[];
  /** The connections that are open. */
  readonly openCount: number;
  /** Answers a request for `/v1/audio/transcriptions`. `false`: it is for another path, and nothing was done. */
  request(request: IncomingMessage, response: ServerResponse): boolean;
  /** Takes an upgrade request for `/v1/listen`. `false`: it is for another path, and nothing was done. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean;
  /** Closes all connections. */
  close(): void;
}

/**
 * Doubles of OpenAI's API for transcriptions and of Deepgram's live API, for a server that listens already. They refuse what the real
 * ones refuse, understand the clips of `@spillway/voice/simulate/speech` however they were encoded, cut and made louder, and nothing else.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * import { createServer } from 'node:http';
 * import { createSimulatedRecogniserDoor } from '@spillway/voice/simulate/recogniser';
 *
 * const door = createSimulatedRecogniserDoor();
 * const server = createServer((request, response) => {
 *   if (!door.request(request, response)) response.writeHead(404).end();
 * });
 * server.on('upgrade', (request, socket, head) => {
 *   if (!door.upgrade(request, socket, head)) socket.destroy();
 * });
 * server.listen(9000, '127.0.0.1');
 * ```
 */
export function createSimulatedRecogniserDoor(
  options: SimulatedRecogniserOptions = {},
): SimulatedRecogniserDoor {
  return new RecogniserDoor(options);
}

class RecogniserDoor implements SimulatedRecogniserDoor {
  faults: SimulatedRecogniserFaults;
  readonly heard: RecognisedSpeech[] = [];
  readonly refused: string[] = [];
  readonly #options: SimulatedRecogniserOptions;
  readonly #ears: ClipEars;
  readonly #responses = new Set<ServerResponse>();
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: maxMessageBytes,
    perMessageDeflate: false,
  });

  constructor(options: SimulatedRecogniserOptions) {
    checkRecogniserOptions(options);
    this.#options = options;
    this.faults = options.faults ?? {};
    this.#ears = new ClipEars(options.speeches ?? speechNames.map((name) => speech(name)));
  }

  get openCount(): number {
    return this.#sockets.clients.size + this.#responses.size;
  }

  request(request: IncomingMessage, response: ServerResponse): boolean {
    if (pathOf(request) !== '/v1/audio/transcriptions') return false;
    this.#responses.add(response);
    response.on('close', () => this.#responses.delete(response));
    void answerTranscription(request, response, { ...this.#shared(), apiKey: this.#options.apiKey });
    return true;
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    if (pathOf(request) !== '/v1/listen') return false;
    const { apiKey, interimMs = 500, segmentMs = 3000 } = this.#options;
    const { rateLimitedS, status } = this.faults;
    const settings = readDeepgramQuery(new URLSearchParams(request.url?.split('?', 2)[1]));
    if (apiKey !== undefined && request.headers.authorization !== `Token ${apiKey}`)
      this.#refuse(socket, 401, 'INVALID_AUTH');
    else if (rateLimitedS !== undefined) this.#refuse(socket, 429, 'TOO_MANY_REQUESTS', rateLimitedS);
    else if (status !== undefined) this.#refuse(socket, status, 'TOLD_TO_REFUSE');
    else if (typeof settings === 'string') this.#refuse(socket, 400, settings);
    else
      this.#sockets.handleUpgrade(request, socket, head, (accepted) => {
        new SimulatedDeepgram(accepted, { ...this.#shared(), ...settings, interimMs, segmentMs });
      });
    return true;
  }

  close(): void {
    for (const socket of this.#sockets.clients) socket.terminate();
    for (const response of this.#responses) response.destroy();
  }

  #shared() {
    return {
      ears: this.#ears,
      clock: this.#options.clock ?? systemClock,
      faults: () => this.faults,
      onHeard: (one: RecognisedSpeech) => keepNewest(this.heard, one),
      onRefused: (message: string) => keepNewest(this.refused, message),
    };
  }

  #refuse(socket: Duplex, status: number, message: string, retryAfterS?: number): void {
    keepNewest(this.refused, message);
    const body = JSON.stringify({ err_code: status, err_msg: message });
    socket.on('error', () => {});
    socket.end(
      `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
        `${retryAfterS === undefined ? '' : `retry-after: ${retryAfterS}\r\n`}connection: close\r\n\r\n${body}`,
    );
  }
}

/** A server of simulated recognisers alone. */
export interface SimulatedRecogniserServerOptions extends SimulatedRecogniserOptions {
  /** The address to listen on. Default: `127.0.0.1`. */
  readonly host?: string;
  /** The port; 0 takes a free one. Default: 0. */
  readonly port?: number;
}

/** A server that listens. */
export interface SimulatedRecogniserServer extends Pick<
  SimulatedRecogniserDoor,
  'heard' | 'openCount' | 'refused'
> {
  /** What goes wrong; may be changed at any time. */
  faults: SimulatedRecogniserFaults;
  /** For `openOpenAiTranscription`: `http://127.0.0.1:9001`. */
  readonly transcriptionUrl: string;
  /** For `openDeepgramListen`: `ws://127.0.0.1:9001/v1/listen`. */
  readonly deepgramUrl: string;
  /** Closes all connections and stops listening. */
  close(): Promise<void>;
}

/**
 * Serves simulated recognisers: see {@link createSimulatedRecogniserDoor}.
 *
 * @throws {SpillwayError} `invalid_option`. Rejects with Node's error if it cannot listen.
 * @example
 * ```ts
 * await using stack = new AsyncDisposableStack();
 * const server = await serveSimulatedRecognisers({ apiKey: 'test' });
 * stack.defer(() => server.close());
 * const recogniser = openDeepgramListen({ url: server.deepgramUrl, apiKey: 'test' });
 * ```
 */
export async function serveSimulatedRecognisers(
  options: SimulatedRecogniserServerOptions = {},
): Promise<SimulatedRecogniserServer> {
  const { host = '127.0.0.1', port = 0 } = options;
  const door = new RecogniserDoor(options);
  const server = createServer((request, response) => {
    if (!door.request(request, response)) response.writeHead(404).end();
  });
  server.on('upgrade', (request, socket, head) => {
    if (!door.upgrade(request, socket, head)) socket.destroy();
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
  const place = `${host.includes(':') ? `[${host}]` : host}:${address.port}`;
  return {
    transcriptionUrl: `http://${place}`,
    deepgramUrl: `ws://${place}/v1/listen`,
    get faults() {
      return door.faults;
    },
    set faults(faults) {
      door.faults = faults;
    },
    heard: door.heard,
    refused: door.refused,
    get openCount() {
      return door.openCount;
    },
    async close() {
      door.close();
      server.closeAllConnections();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
    },
  };
}

function pathOf({ url = '' }: IncomingMessage): string {
  return url.split('?', 1)[0] ?? '';
}
