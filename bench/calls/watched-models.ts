import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  openSimulatedModel,
  type SimulatedModel,
  type SimulatedModelOptions,
} from '@spillway/voice/simulate/model';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';

/** A simulated model of which is known when it did what. Times are of `performance.now()`. */
export interface WatchedModel {
  readonly model: SimulatedModel;
  /** When it said that the human speaks. */
  readonly noticedMs: readonly number[];
  /** When the first audio of each answer left. */
  readonly spokeMs: readonly number[];
  /** When the last of what the human said in one go came. */
  readonly words: readonly { readonly lastMs: number }[];
}

/** Simulated models that listen, for bridges. */
export interface WatchedModels {
  readonly url: string;
  /** The next one that somebody connects to. */
  next(): Promise<WatchedModel>;
  close(): Promise<void>;
}

/** The beginning of an event says what it is. */
const typeChars = 120;
const eventType = /"type":"([^"]+)"/u;
/** µ-law silence, in base64. */
const silence = '"audio":"////////////////';
/** Silence of so many frames is no pause between words. */
const pauseFrames = 15;

export async function serveWatchedModels(options: SimulatedModelOptions): Promise<WatchedModels> {
  const server = createServer();
  const sockets = new WebSocketServer({
    server,
    perMessageDeflate: false,
    maxPayload: 23_068_672,
    handleProtocols: (offered) => (offered.has('realtime') ? 'realtime' : false),
  });
  const waiting: ((model: WatchedModel) => void)[] = [];
  sockets.on('connection', (socket) => waiting.shift()?.(watch(socket, options)));
  await new Promise<void>((resolve) => server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, resolve));
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/v1/realtime?model=gpt-realtime-2`,
    next: () => new Promise((resolve) => waiting.push(resolve)),
    async close() {
      for (const socket of sockets.clients) socket.terminate();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function watch(socket: WebSocket, options: SimulatedModelOptions): WatchedModel {
  const noticedMs: number[] = [];
  const spokeMs: number[] = [];
  const words: { lastMs: number }[] = [];
  let quietFrames = Infinity;
  let isSpeaking = false;
  const send = socket.send.bind(socket);
  Object.defineProperty(socket, 'send', {
    value: (event: string) => {
      const type = eventType.exec(event.slice(0, typeChars))?.[1];
      if (type === 'input_audio_buffer.speech_started') noticedMs.push(performance.now());
      else if (type === 'response.created') isSpeaking = false;
      else if (!isSpeaking && type === 'response.output_audio.delta') {
        isSpeaking = true;
        spokeMs.push(performance.now());
      }
      send(event);
    },
  });
  socket.on('message', (data: RawData) => {
    const text = (data as Buffer).toString('latin1');
    if (!text.includes('"input_audio_buffer.append"')) return;
    if (text.includes(silence)) {
      quietFrames += 1;
      return;
    }
    const last = words.at(-1);
    if (last === undefined || quietFrames >= pauseFrames) words.push({ lastMs: performance.now() });
    else last.lastMs = performance.now();
    quietFrames = 0;
  });
  return { model: openSimulatedModel(socket, options), noticedMs, spokeMs, words };
}
