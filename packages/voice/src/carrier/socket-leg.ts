import { SpillwayError } from '@spillway/core';
import { type AudioFormat, msOfBytes, telephoneAudio } from '@spillway/core/audio';
import { type Clock, systemClock, type Timer } from '@spillway/core/clock';
import type { RawData, WebSocket } from 'ws';
import type { CarrierErrorCode } from './carrier-error.ts';
import type { CarrierCall, CarrierEvent, CarrierLeg } from './carrier-leg.ts';
import type { CarrierMessage, CarrierMessages } from './carrier-messages.ts';
import { MediaOrder } from './media-order.ts';

/** How a carrier's socket becomes a leg. */
export interface CarrierOptions {
  /** How long the carrier may take until it has said which call it is: 100 to 60,000 ms. Default: 5,000. */
  readonly startTimeoutMs?: number;
  /**
   * After how long a silence the carrier is lost: 1,000 to 600,000 ms. A carrier sends audio every 20 ms, whatever is said.
   * Default: 30,000.
   */
  readonly silenceTimeoutMs?: number;
  /** Time; default: the system's. */
  readonly clock?: Pick<Clock, 'after' | 'nowMs'>;
}

/** A message has at most so many bytes: one of 20 ms of audio has some 300. */
const maxMessageBytes = 65_536;
/** A paused socket still delivers what it had read: two reads of Node, at most. */
const maxEarlyBytes = 262_144;
/** What a socket does not take is bounded by the call's window. This bounds it whatever a call does: 70 s of audio. */
const maxBufferedBytes = 1_048_576;
/** So many unknown messages in a row are no message of tomorrow, but a peer that is no carrier. */
const maxUnknown = 100;
/** How long the carrier may take to answer a close. */
const closeTimeoutMs = 2000;
/** A WebSocket frame of a server has so many bytes more than a text of 126 to 65,535 bytes. */
const frameHeaderBytes = 4;

/** WebSocket close codes (RFC 6455, section 7.4.1). */
const codes = { normal: 1000, unsupported: 1003, invalid: 1007, policy: 1008, tooBig: 1009 } as const;

/**
 * Options of `ws` for a server whose sockets become legs: messages are small, and compressing speech costs more than it
 * saves.
 */
export const carrierSocketOptions = {
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: maxMessageBytes,
  maxFragments: 64,
} as const;

/** Waits until the carrier has said which call a socket is. */
export async function acceptSocket(
  socket: WebSocket,
  messages: CarrierMessages,
  options: CarrierOptions,
): Promise<CarrierLeg> {
  const leg = new SocketLeg(socket, messages, options);
  await leg.started;
  return leg;
}

/**
 * A carrier's leg over a WebSocket with messages in JSON. First it waits for the start message; then the socket is paused
 * until somebody listens; then what comes is told. At its end, however it comes, its timers and listeners are released at the
 * latest two seconds later.
 */
class SocketLeg implements CarrierLeg {
  readonly #socket: WebSocket;
  readonly #messages: CarrierMessages;
  readonly #clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly #silenceTimeoutMs: number;
  readonly #started = Promise.withResolvers<undefined>();
  readonly #early: { readonly data: Buffer; readonly isBinary: boolean }[] = [];
  #order: MediaOrder<CarrierEvent> | undefined;
  #earlyBytes = 0;
  #isConnected = false;
  #call: CarrierCall | undefined;
  #format: AudioFormat = telephoneAudio;
  #listener: ((event: CarrierEvent) => void) | undefined;
  /** How the leg has ended, until somebody listens. */
  #end: CarrierEvent | undefined;
  #isOver = false;
  #unknown = 0;
  #lastMs: number;
  /** Of the socket's bytes for a millisecond of audio. */
  #bytesPerMs = 1;
  /** Bounds the wait for the start message, then a silence, then the close. */
  #timer: Timer | undefined;

  constructor(socket: WebSocket, messages: CarrierMessages, options: CarrierOptions) {
    const { clock = systemClock, silenceTimeoutMs = 30_000, startTimeoutMs = 5000 } = options;
    checkRange('startTimeoutMs', startTimeoutMs, 100, 60_000);
    checkRange('silenceTimeoutMs', silenceTimeoutMs, 1000, 600_000);
    this.#socket = socket;
    this.#messages = messages;
    this.#clock = clock;
    this.#silenceTimeoutMs = silenceTimeoutMs;
    this.#lastMs = clock.nowMs();
    if (!messages.isOrdered) this.#order = new MediaOrder();
    socket.on('message', this.#onMessage);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
    this.#timer = clock.after(startTimeoutMs, () =>
      this.#refuse(codes.policy, `expected the start message within ${startTimeoutMs} ms, got none`),
    );
    if (socket.readyState === socket.CLOSED) this.#onClose();
  }

  /** Resolves with the start message. */
  get started(): Promise<undefined> {
    return this.#started.promise;
  }

  get call(): CarrierCall {
    // Nobody has the leg before its start message.
    if (this.#call === undefined) throw new TypeError('The start message has not come.');
    return this.#call;
  }

  get format(): AudioFormat {
    return this.#format;
  }

  get bufferedMs(): number {
    return this.#socket.bufferedAmount / this.#bytesPerMs;
  }

  listen(listener: (event: CarrierEvent) => void): void {
    this.#listener = listener;
    for (const { data, isBinary } of this.#early.splice(0)) this.#take(data, isBinary);
    if (this.#end !== undefined) listener(this.#end);
    if (this.#isOver) return;
    this.#lastMs = this.#clock.nowMs();
    this.#watchSilence(this.#silenceTimeoutMs);
    this.#socket.resume();
  }

  send(frame: Uint8Array): void {
    const bytes = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
    const text = JSON.stringify(this.#messages.media(this.call.streamId, bytes.toString('base64')));
    if (bytes.byteLength > 0)
      this.#bytesPerMs = (text.length + frameHeaderBytes) / msOfBytes(this.#format, bytes.byteLength);
    this.#write(text);
  }

  mark(name: string): void {
    this.#write(JSON.stringify(this.#messages.mark(this.call.streamId, name)));
  }

  clear(): void {
    this.#write(JSON.stringify(this.#messages.clear(this.call.streamId)));
  }

  close(code: number, reason: string): void {
    this.#listener = undefined;
    this.#finish({ kind: 'ended', why: 'lost', detail: 'It was closed here.' }, code, reason);
    this.#end = undefined;
  }

  #write(text: string): void {
    if (this.#isOver || this.#socket.readyState !== this.#socket.OPEN) return;
    this.#socket.send(text);
    if (this.#socket.bufferedAmount <= maxBufferedBytes) return;
    const detail = `The carrier's socket takes nothing: ${maxBufferedBytes} bytes wait.`;
    this.#finish({ kind: 'ended', why: 'lost', detail }, codes.policy, 'too much waits');
    this.#socket.terminate();
  }

  readonly #onMessage = (raw: RawData, isBinary: boolean): void => {
    // A socket gives buffers, unless it was told otherwise.
    const data = raw as Buffer;
    if (this.#call === undefined || this.#listener !== undefined) {
      this.#take(data, isBinary);
      return;
    }
    this.#earlyBytes += data.byteLength;
    if (this.#earlyBytes > maxEarlyBytes) this.#refuse(codes.policy, 'more came than a paused socket has');
    else this.#early.push({ data, isBinary });
  };

  readonly #onError = ({ message }: Error): void => {
    // `ws` closes the connection with a code of its own: the bytes are no WebSocket's, or a message is too large.
    this.#finish({ kind: 'ended', why: 'refused', detail: message }, codes.policy, '');
  };

  readonly #onClose = (): void => {
    const detail = 'The connection was closed without a stop message.';
    this.#finish({ kind: 'ended', why: 'lost', detail }, codes.normal, '');
    this.#timer?.stop();
    this.#socket.off('message', this.#onMessage);
    this.#socket.off('error', this.#onError);
    this.#socket.off('close', this.#onClose);
  };

  #take(data: Buffer, isBinary: boolean): void {
    if (this.#isOver) return;
    if (isBinary) {
      this.#refuse(codes.unsupported, 'expected text, got a binary message');
      return;
    }
    if (data.byteLength > maxMessageBytes) {
      this.#refuse(codes.tooBig, `expected ${maxMessageBytes} bytes at most in a message`);
      return;
    }
    const json = parsed(data);
    if (json === undefined) {
      this.#refuse(codes.invalid, 'expected JSON, got something else');
      return;
    }
    const message = this.#messages.read(json.value);
    if (message.kind === 'unknown') {
      this.#unknown += 1;
      if (this.#unknown > maxUnknown)
        this.#refuse(codes.policy, `expected no more than ${maxUnknown} unknown events in a row`);
      return;
    }
    this.#unknown = 0;
    this.#lastMs = this.#clock.nowMs();
    if (message.kind === 'invalid') this.#refuse(codes.invalid, message.detail);
    else if (this.#call === undefined) this.#begin(message);
    else this.#tell(message, this.#call);
  }

  /** Takes what comes before the call is known. */
  #begin(message: CarrierMessage): void {
    if (message.kind === 'connected' && !this.#isConnected) {
      this.#isConnected = true;
    } else if (message.kind === 'start' && this.#isConnected) {
      this.#timer?.stop();
      this.#call = message.call;
      this.#format = message.format;
      this.#socket.pause();
      this.#started.resolve(undefined);
    } else {
      this.#refuse(codes.policy, `expected connected and then start, got ${message.kind} first`);
    }
  }

  #tell(message: CarrierMessage, { streamId }: CarrierCall): void {
    if ('streamId' in message && message.streamId !== streamId) {
      this.#refuse(codes.policy, `expected messages of one stream, got ${message.kind} of another`);
    } else if (message.kind === 'media') {
      if (!message.isInbound || message.audio.byteLength === 0) return;
      const event = { kind: 'audio', timestampMs: message.timestampMs, audio: message.audio } as const;
      for (const due of this.#order?.push(message.chunk, event) ?? [event]) this.#listener?.(due);
    } else if (message.kind === 'mark') {
      this.#listener?.({ kind: 'mark', name: message.name });
    } else if (message.kind === 'digit') {
      this.#listener?.({ kind: 'digit', digit: message.digit });
    } else if (message.kind === 'stop') {
      for (const due of this.#order?.flush() ?? []) this.#listener?.(due);
      this.#finish({ kind: 'ended', why: 'hangup', detail: '' }, codes.normal, '');
    } else if (message.kind !== 'notice') {
      this.#refuse(codes.policy, `expected ${message.kind} once`);
    }
  }

  /** One timer for all messages: it looks when the last one came. */
  #watchSilence(ms: number): void {
    this.#timer = this.#clock.after(ms, () => {
      const leftMs = this.#lastMs + this.#silenceTimeoutMs - this.#clock.nowMs();
      if (leftMs > 0) {
        this.#watchSilence(leftMs);
        return;
      }
      const detail = `The carrier has sent nothing for ${this.#silenceTimeoutMs} ms.`;
      this.#finish({ kind: 'ended', why: 'lost', detail }, codes.policy, 'nothing came');
    });
  }

  #refuse(code: number, detail: string): void {
    this.#finish({ kind: 'ended', why: 'refused', detail }, code, detail.slice(0, 120));
  }

  /** Ends the leg: tells it once, and closes the socket. */
  #finish(end: CarrierEvent & { readonly kind: 'ended' }, code: number, reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#early.length = 0;
    this.#timer?.stop();
    if (this.#socket.readyState !== this.#socket.CLOSED) {
      // A paused socket would not see the answer.
      this.#socket.resume();
      this.#socket.close(code, reason);
      this.#timer = this.#clock.after(closeTimeoutMs, () => this.#socket.terminate());
    }
    const errorCode: CarrierErrorCode = end.why === 'refused' ? 'carrier_refused' : 'carrier_lost';
    this.#started.reject(
      new SpillwayError<CarrierErrorCode>(errorCode, `${this.#messages.carrier}: ${end.detail}`),
    );
    if (this.#listener === undefined) this.#end = end;
    else this.#listener(end);
  }
}

function checkRange(name: string, value: number, min: number, max: number): void {
  if (value >= min && value <= max) return;
  throw new SpillwayError('invalid_option', `${name}: expected ${min} to ${max} milliseconds, got ${value}.`);
}

function parsed(data: Buffer): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(data.toString()) as unknown };
  } catch {
    return undefined;
  }
}
