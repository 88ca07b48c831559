import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type Clock, systemClock } from '@spillway/core/clock';
import { msOfBytes, telephoneAudio } from '@spillway/core/audio';
import { type RawData, WebSocket, WebSocketServer } from 'ws';

/** How a naive bridge is opened. */
export interface NaiveBridgeOptions {
  /** The realtime model: `ws://127.0.0.1:9001/v1/realtime?model=…`. */
  readonly modelUrl: string;
  /** The model's key. Default: none is sent. */
  readonly apiKey?: string;
  /** What the model is asked to say first. Default: it waits until the caller speaks. */
  readonly greeting?: string;
  /** Called with each call. Must not throw. */
  readonly onCall?: (call: NaiveCall) => void;
  /** Time; default: the system's. */
  readonly clock?: Pick<Clock, 'nowMs'>;
}

/** What a naive bridge has done with a call until now. */
export interface NaiveCall {
  /** The carrier's id of the connection; empty before its start message. */
  readonly streamId: string;
  /** What it has sent to the ear, in milliseconds of audio. */
  readonly sentMs: number;
  /** What the model's socket has not taken of the caller's audio, in milliseconds of it. */
  readonly unsentMs: number;
  /** How often the model has said that the caller speaks. */
  readonly interruptions: number;
  /** How much of an answer was heard, as it told the model, each time that it did. */
  readonly toldMs: readonly number[];
}

/** A server of naive bridges that listens. */
export interface NaiveBridge {
  /** Where a carrier connects. */
  readonly url: string;
  /** Closes all connections and stops listening. */
  close(): Promise<void>;
}

/** What the bridge reads of the model's events. */
interface ModelMessage {
  readonly type: string;
  readonly delta?: string;
  readonly item_id?: string;
}

/** What the bridge reads of Twilio's messages. */
interface CarrierMessage {
  readonly event: string;
  readonly start?: { readonly streamSid: string };
  readonly media?: { readonly payload: string };
}

/** A carrier's message has 20 ms of audio; one that passes it on has some 270 bytes. */
const frameMs = 20;
const appendBytes = 270;
/** The most that is kept of what it told the model. */
const maxTold = 100;

/**
 * Serves a bridge between Twilio and OpenAI Realtime as the usual samples of fifty lines have it: **the contrast**, for
 * demonstrations and benchmarks, and never for callers. It passes on what comes, at once, and nothing else:
 *
 * - The model's speech goes to the carrier as fast as it is made. No clock, no window, no marks: the carrier has all of it.
 * - It knows an answer only while it is being made. When the caller speaks into one that is made and still plays, which is
 *   most of the time, nothing is cleared, and the model believes that all was heard. In one that is still being made it
 *   clears, and tells the model the time since the answer's first audio.
 * - What the caller says before the model is there is dropped, and no queue has a bound.
 *
 * It listens on a free port of loopback.
 *
 * @example
 * ```ts
 * import { placeCall } from '@spillway/voice/simulate/carrier';
 * import { serveNaiveBridge } from '@spillway/voice/simulate/naive-bridge';
 * import { serveSimulatedModels } from '@spillway/voice/simulate/model';
 *
 * const model = await serveSimulatedModels();
 * const bridge = await serveNaiveBridge({ modelUrl: `${model.url}?model=sim`, greeting: 'Say hello.' });
 * const call = await placeCall(bridge.url);
 * await call.whenHeard(1000, 10_000);
 * console.log(call.bufferedMs); // most of the greeting, and nobody can take it back
 * ```
 */
export async function serveNaiveBridge(options: NaiveBridgeOptions): Promise<NaiveBridge> {
  const server = createServer();
  const sockets = new WebSocketServer({ server, perMessageDeflate: false });
  sockets.on('connection', (carrier) => {
    const call = bridge(carrier, options);
    options.onCall?.(call);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      server.off('error', reject);
      resolve();
    });
  });
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      for (const carrier of sockets.clients) carrier.terminate();
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

function bridge(
  carrier: WebSocket,
  { apiKey, clock = systemClock, greeting, modelUrl }: NaiveBridgeOptions,
): NaiveCall {
  const headers = apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  const model = new WebSocket(modelUrl, { headers, perMessageDeflate: false });
  let streamSid = '';
  let sentBytes = 0;
  let interruptions = 0;
  const toldMs: number[] = [];
  /** The answer that is being made, and when its first audio came. */
  let answer: { readonly itemId: string; readonly sinceMs: number } | undefined;
  const toModel = (event: object): void => {
    if (model.readyState === model.OPEN) model.send(JSON.stringify(event));
  };
  const toCarrier = (message: object): void => carrier.send(JSON.stringify({ ...message, streamSid }));

  model.on('open', () => {
    const format = { type: 'audio/pcmu' };
    const audio = { input: { format, turn_detection: { type: 'server_vad' } }, output: { format } };
    toModel({ type: 'session.update', session: { type: 'realtime', output_modalities: ['audio'], audio } });
    if (greeting !== undefined) toModel({ type: 'response.create', response: { instructions: greeting } });
  });
  model.on('message', (data) => {
    const { delta = '', item_id: itemId = '', type } = parsed<ModelMessage>(data);
    if (type === 'response.output_audio.delta') {
      answer ??= { itemId, sinceMs: clock.nowMs() };
      sentBytes += Buffer.byteLength(delta, 'base64');
      toCarrier({ event: 'media', media: { payload: delta } });
    } else if (type === 'response.output_audio.done') {
      answer = undefined;
    } else if (type === 'input_audio_buffer.speech_started') {
      interruptions += 1;
      if (answer === undefined) return;
      const heardMs = Math.floor(clock.nowMs() - answer.sinceMs);
      toCarrier({ event: 'clear' });
      toModel({
        type: 'conversation.item.truncate',
        item_id: answer.itemId,
        content_index: 0,
        audio_end_ms: heardMs,
      });
      toldMs.push(heardMs);
      if (toldMs.length > maxTold) toldMs.shift();
      answer = undefined;
    }
  });
  carrier.on('message', (data) => {
    const { event, media, start } = parsed<CarrierMessage>(data);
    if (event === 'start') streamSid = start?.streamSid ?? '';
    else if (event === 'media') toModel({ type: 'input_audio_buffer.append', audio: media?.payload });
    else if (event === 'stop') model.close();
  });
  for (const [one, other] of [
    [carrier, model],
    [model, carrier],
  ] as const) {
    one.on('error', () => other.terminate());
    one.on('close', () => other.close());
  }
  return {
    get streamId() {
      return streamSid;
    },
    get sentMs() {
      return msOfBytes(telephoneAudio, sentBytes);
    },
    get unsentMs() {
      return (model.bufferedAmount / appendBytes) * frameMs;
    },
    get interruptions() {
      return interruptions;
    },
    get toldMs() {
      return [...toldMs];
    },
  };
}

/** A message as it is; nothing of what is no object in JSON. */
function parsed<T extends object>(data: RawData): Partial<T> {
  try {
    const json = JSON.parse((data as Buffer).toString()) as T | null;
    return typeof json === 'object' && json !== null ? json : {};
  } catch {
    return {};
  }
}
