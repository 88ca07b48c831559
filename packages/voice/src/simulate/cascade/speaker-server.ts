import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { systemClock } from '@spillway/core/clock';
import { WebSocketServer } from 'ws';
import { keepNewest } from '../model/keep-newest.ts';
import { speech, speechNames } from '../speech.ts';
import { readElevenLabsQuery, SimulatedElevenLabs } from './simulated-elevenlabs.ts';
import { answerSpeech } from './simulated-openai-speech.ts';
import {
  type AskedSpeech,
  checkSpeakerOptions,
  type SimulatedSpeakerFaults,
  type SimulatedSpeakerOptions,
} from './speaker-options.ts';
import type { SpeakerShared } from './speaker-shared.ts';

/** The largest message of a client. */
const maxMessageBytes = 1_048_576;
const elevenLabsPath = /^\/v1\/text-to-speech\/[\w-]+\/multi-stream-input$/;

/** Where simulated speakers enter a server that has other paths, too. */
export interface SimulatedSpeakerDoor {
  /** What goes wrong; may be changed at any time. */
  faults: SimulatedSpeakerFaults;
  /** The texts that were asked for: the newest thousand. */
  readonly asked: readonly AskedSpeech[];
  /** The characters of all texts that were asked for: what is paid. */
  readonly charactersPaid: number;
  /** What was refused, and why: the newest thousand. */
  readonly refused: readonly string[];
  /** The connections and requests that are open. */
  readonly openCount: number;
  /** Answers a request for `/v1/audio/speech`. `false`: it is for another path, and nothing was done. */
  request(request: IncomingMessage, response: ServerResponse): boolean;
  /** Takes an upgrade request for `/v1/text-to-speech/…/multi-stream-input`. `false`: it is for another path, and nothing was done. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean;
  /** Closes all connections. */
  close(): void;
}

/**
 * Doubles of OpenAI's API for speech and of ElevenLabs' WebSocket with contexts, for a server that listens already. They refuse what the
 * real ones refuse. The texts of the clips of `@spillway/voice/simulate/speech` sound as those, and others as tones, with a silence
 * for each space, so that the times of words can be checked. What they send is cut in the middle of samples.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * import { createServer } from 'node:http';
 * import { createSimulatedSpeakerDoor } from '@spillway/voice/simulate/speaker';
 *
 * const door = createSimulatedSpeakerDoor({ speed: 10 });
 * const server = createServer((request, response) => {
 *   if (!door.request(request, response)) response.writeHead(404).end();
 * });
 * server.on('upgrade', (request, socket, head) => {
 *   if (!door.upgrade(request, socket, head)) socket.destroy();
 * });
 * server.listen(9000, '127.0.0.1');
 * ```
 */
export function createSimulatedSpeakerDoor(options: SimulatedSpeakerOptions = {}): SimulatedSpeakerDoor {
  return new SpeakerDoor(options);
}

class SpeakerDoor implements SimulatedSpeakerDoor {
  faults: SimulatedSpeakerFaults;
  charactersPaid = 0;
  readonly asked: AskedSpeech[] = [];
  readonly refused: string[] = [];
  readonly #shared: SpeakerShared;
  readonly #responses = new Set<ServerResponse>();
  readonly #sockets = new WebSocketServer({
    noServer: true,
    maxPayload: maxMessageBytes,
    perMessageDeflate: false,
  });

  constructor(options: SimulatedSpeakerOptions) {
    checkSpeakerOptions(options);
    const { clock = systemClock, delayMs = 0, msPerCharacter = 65, speeches } = options;
    this.faults = options.faults ?? {};
    this.#shared = {
      apiKey: options.apiKey,
      speeches: speeches ?? speechNames.map((name) => speech(name)),
      msPerCharacter,
      delayMs,
      speed: options.speed,
      clock,
      faults: () => this.faults,
      ask: (api, text, audioMs) => {
        const asked: AskedSpeech = { api, text, audioMs, sentMs: 0, state: 'open' };
        this.charactersPaid += text.length;
        keepNewest(this.asked, asked);
        return asked;
      },
      onRefused: (message) => keepNewest(this.refused, message),
    };
  }

  get openCount(): number {
    return this.#sockets.clients.size + this.#responses.size;
  }

  request(request: IncomingMessage, response: ServerResponse): boolean {
    if (pathOf(request) !== '/v1/audio/speech') return false;
    this.#responses.add(response);
    response.on('close', () => this.#responses.delete(response));
    void answerSpeech(request, response, this.#shared);
    return true;
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): boolean {
    if (!elevenLabsPath.test(pathOf(request))) return false;
    const { apiKey } = this.#shared;
    const { rateLimitedS, status } = this.faults;
    const settings = readElevenLabsQuery(new URLSearchParams(request.url?.split('?', 2)[1]));
    if (apiKey !== undefined && request.headers['xi-api-key'] !== apiKey)
      this.#refuse(socket, 401, 'invalid_api_key');
    else if (rateLimitedS !== undefined)
      this.#refuse(socket, 429, 'too_many_concurrent_requests', rateLimitedS);
    else if (status !== undefined) this.#refuse(socket, status, 'told_to_fail');
    else if (typeof settings === 'string') this.#refuse(socket, 400, settings);
    else
      this.#sockets.handleUpgrade(request, socket, head, (accepted) => {
        new SimulatedElevenLabs(accepted, settings, this.#shared);
      });
    return true;
  }

  close(): void {
    for (const socket of this.#sockets.clients) socket.terminate();
    for (const response of this.#responses) response.destroy();
  }

  #refuse(socket: Duplex, status: number, message: string, retryAfterS?: number): void {
    keepNewest(this.refused, message);
    const body = JSON.stringify({ detail: { status: message, message } });
    socket.on('error', () => undefined);
    socket.end(
      `HTTP/1.1 ${status} Refused\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
        `${retryAfterS === undefined ? '' : `retry-after: ${retryAfterS}\r\n`}connection: close\r\n\r\n${body}`,
    );
  }
}

/** A server of simulated speakers alone. */
export interface SimulatedSpeakerServerOptions extends SimulatedSpeakerOptions {
  /** The address to listen on. Default: `127.0.0.1`. */
  readonly host?: string;
  /** The port; 0 takes a free one. Default: 0. */
  readonly port?: number;
}

/** A server that listens. */
export interface SimulatedSpeakerServer extends Pick<
  SimulatedSpeakerDoor,
  'asked' | 'charactersPaid' | 'openCount' | 'refused'
> {
  /** What goes wrong; may be changed at any time. */
  faults: SimulatedSpeakerFaults;
  /** For `openOpenAiSpeech`: `http://127.0.0.1:9001`. */
  readonly openAiUrl: string;
  /** For `openElevenLabsSpeech`: `ws://127.0.0.1:9001`. */
  readonly elevenLabsUrl: string;
  /** Closes all connections and stops listening. */
  close(): Promise<void>;
}

/**
 * Serves simulated speakers: see {@link createSimulatedSpeakerDoor}.
 *
 * @throws {SpillwayError} `invalid_option`. Rejects with Node's error if it cannot listen.
 * @example
 * ```ts
 * await using stack = new AsyncDisposableStack();
 * const server = await serveSimulatedSpeakers({ apiKey: 'test' });
 * stack.defer(() => server.close());
 * const speaker = openOpenAiSpeech({ url: server.openAiUrl, apiKey: 'test' });
 * ```
 */
export async function serveSimulatedSpeakers(
  options: SimulatedSpeakerServerOptions = {},
): Promise<SimulatedSpeakerServer> {
  const { host = '127.0.0.1', port = 0 } = options;
  const door = new SpeakerDoor(options);
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
    openAiUrl: `http://${place}`,
    elevenLabsUrl: `ws://${place}`,
    get faults() {
      return door.faults;
    },
    set faults(faults) {
      door.faults = faults;
    },
    asked: door.asked,
    refused: door.refused,
    get charactersPaid() {
      return door.charactersPaid;
    },
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
