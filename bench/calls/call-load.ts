import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { openSimulatedModel, type SimulatedModelOptions } from '@spillway/voice/simulate/model';
import { type RawData, WebSocket, WebSocketServer } from 'ws';
import { askWebhook } from '../../packages/voice/src/simulate/carrier/ask-webhook.ts';
import { twilioSignature } from '@spillway/voice';
import { authToken } from './bridges.ts';
import { PlainEar } from './plain-ear.ts';
import { frameAgeUs, stampedFrame } from './stamped-frame.ts';

const frameMs = 20;
/** Of a `media` message: its bytes in base64 are four thirds of its audio, of which a millisecond has eight. */
const charsPerMs = (8 * 4) / 3;
const appended = '"audio":"';
const named = '"name":"';
const payload = '"payload":"';
const minAppendChars = 200;

interface Caller {
  readonly socket: WebSocket;
  readonly ear: PlainEar;
  readonly streamSid: string;
  frames: number;
}

/**
 * Many calls for little CPU: callers who speak all the time and hear all the time, and models that only look how old a
 * frame is that comes. Their ears and their events are the doubles' own.
 */
export class CallLoad {
  readonly #server: Server;
  readonly #sockets: WebSocketServer;
  readonly #callers: Caller[] = [];
  readonly #timer: NodeJS.Timeout;
  #turn = 0;
  /** How old frames were that came to models since this was last emptied, in microseconds. */
  readonly agesUs: number[] = [];
  /** Frames that were sent. */
  sent = 0;
  failures = 0;

  private constructor(server: Server, options: SimulatedModelOptions) {
    this.#server = server;
    this.#sockets = new WebSocketServer({
      server,
      perMessageDeflate: false,
      handleProtocols: (offered) => (offered.has('realtime') ? 'realtime' : false),
    });
    this.#sockets.on('connection', (socket) => this.#serveModel(socket, options));
    this.#timer = setInterval(() => this.#tick(), 1);
  }

  static async open(options: SimulatedModelOptions): Promise<CallLoad> {
    const server = createServer();
    const load = new CallLoad(server, options);
    await new Promise<void>((resolve) =>
      server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, resolve),
    );
    return load;
  }

  get modelUrl(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `ws://127.0.0.1:${port}/v1/realtime?model=gpt-realtime-2`;
  }

  get calls(): number {
    return this.#callers.length;
  }

  get underruns(): number {
    return this.#callers.reduce((sum, { ear }) => sum + ear.underruns, 0);
  }

  /** Places one more call. */
  async call(url: string): Promise<void> {
    const streamSid = `MZ${String(this.#callers.length).padStart(32, '0')}`;
    const callSid = streamSid.replace('MZ', 'CA');
    const { parameters, streamUrl } = url.startsWith('http')
      ? await askWebhook(url, { authToken, callId: callSid, timeoutMs: 10_000 })
      : { parameters: {}, streamUrl: url };
    const headers = url.startsWith('http')
      ? { 'x-twilio-signature': twilioSignature(authToken, streamUrl) }
      : {};
    const socket = new WebSocket(streamUrl, { perMessageDeflate: false, headers });
    const caller = { socket, ear: new PlainEar(), streamSid, frames: 0 };
    socket.on('message', (data) => hear(caller, data));
    socket.on('close', () => (this.failures += 1));
    await new Promise((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    const mediaFormat = { encoding: 'audio/x-mulaw', sampleRate: 8000, channels: 1 };
    const accountSid = streamSid.replace('MZ', 'AC');
    const start = {
      accountSid,
      streamSid,
      callSid,
      tracks: ['inbound'],
      mediaFormat,
      customParameters: parameters,
    };
    socket.send(JSON.stringify({ event: 'connected', protocol: 'Call', version: '1.0.0' }));
    socket.send(JSON.stringify({ event: 'start', sequenceNumber: '1', start, streamSid }));
    this.#callers.push(caller);
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    for (const { socket } of this.#callers) {
      socket.removeAllListeners('close');
      socket.terminate();
    }
    for (const socket of this.#sockets.clients) socket.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Each caller has its turn every 20 ms, a part of them in each millisecond. */
  #tick(): void {
    const dueTurn = Math.floor(performance.now());
    if (this.#turn === 0) this.#turn = dueTurn;
    for (; this.#turn <= dueTurn; this.#turn += 1) {
      for (let index = this.#turn % frameMs; index < this.#callers.length; index += frameMs) {
        const caller = this.#callers[index];
        if (caller !== undefined) this.#speak(caller);
      }
    }
  }

  #speak(caller: Caller): void {
    const { ear, frames, socket, streamSid } = caller;
    const nowMs = performance.now();
    for (const name of ear.takeDue(nowMs))
      socket.send(
        `{"event":"mark","sequenceNumber":"1","streamSid":"${streamSid}","mark":{"name":"${name}"}}`,
      );
    socket.send(
      `{"event":"media","sequenceNumber":"${frames + 2}","media":{"track":"inbound","chunk":"${frames + 1}","timestamp":"${frames * frameMs}","payload":"${stampedFrame(nowMs * 1000)}"},"streamSid":"${streamSid}"}`,
    );
    caller.frames += 1;
    this.sent += 1;
  }

  #serveModel(socket: WebSocket, options: SimulatedModelOptions): void {
    openSimulatedModel(socket, options);
    const [listen] = socket.listeners('message') as ((data: RawData, isBinary: boolean) => void)[];
    socket.removeAllListeners('message');
    socket.on('message', (data, isBinary) => {
      const text = (data as Buffer).toString('latin1');
      const at = text.length < minAppendChars ? -1 : text.indexOf(appended);
      if (at === -1 || !text.includes('input_audio_buffer.append')) listen?.(data, isBinary);
      else this.agesUs.push(frameAgeUs(text, at + appended.length, performance.now() * 1000));
    });
  }
}

function hear({ ear }: Caller, data: RawData): void {
  const text = (data as Buffer).toString('latin1');
  const media = text.indexOf(payload);
  if (media !== -1) {
    const begin = media + payload.length;
    ear.add((text.indexOf('"', begin) - begin) / charsPerMs, performance.now());
    return;
  }
  const mark = text.indexOf(named);
  if (mark === -1) return;
  const begin = mark + named.length;
  ear.mark(text.slice(begin, text.indexOf('"', begin)));
}
