import { type Credit, openCredit } from '@spillway/core';
import {
  type ClientFrame,
  closeCodes,
  type CloseReason,
  encodeDataHeader,
  type GatewayFrame,
} from '@spillway/core/session';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { RawData, WebSocket } from 'ws';
import { GatewayError } from '../errors.ts';
import { clientAddress } from '../http/client-address.ts';
import { isOwner } from '../owner.ts';
import { clientLeft } from '../stream-reader.ts';
import { readClientFrame } from './client-frame.ts';
import { openRequest, openRead } from './open-stream.ts';
import type { SessionLine } from './session-response.ts';
import type { SessionStream } from './session-stream.ts';
import type { SessionsOptions } from './sessions.ts';
import type { Pace } from '../sink/pace.ts';

/** How long the first frame may take. */
const openTimeoutMs = 10_000;
/** How long a connection may have no stream. */
const idleTimeoutMs = 60_000;

/** One WebSocket, and the streams that it carries at the moment. */
export class Session implements SessionLine {
  /** The client's User-Agent: a browser's pages cannot put it into a frame. */
  readonly agent: string | undefined;
  /** The client's IP address. */
  readonly address: string;
  readonly #socket: WebSocket;
  readonly #tcp: Socket;
  readonly #options: SessionsOptions;
  readonly #pace: Pace;
  readonly #streams = new Map<number, SessionStream>();
  #credit: Credit | undefined;
  windowBytes = 0;
  #lastNumber = 0;
  #lastReceivedMs: number;
  #idleSinceMs: number;
  #hasPinged = false;

  constructor(socket: WebSocket, request: IncomingMessage, options: SessionsOptions, nowMs: number) {
    this.#socket = socket;
    const tcp = request.socket;
    this.agent = request.headers['user-agent'];
    this.address = clientAddress(request);
    this.#tcp = tcp;
    this.#options = options;
    this.#pace = options.paces.of(tcp);
    this.#lastReceivedMs = nowMs;
    this.#idleSinceMs = nowMs;
    // A throw in a listener would end the process: this session is ended instead.
    const contain = (work: () => void): void =>
      options.defects.contain('session', work, () => this.terminate());
    const onDrain = (): void =>
      contain(() => {
        for (const stream of this.#streams.values()) stream.response.resume();
      });
    tcp.on('drain', onDrain);
    socket.on('message', (data, isBinary) => contain(() => this.#onMessage(data, isBinary)));
    socket.on('pong', () => this.#received());
    // No valid WebSocket, or a message that is too large: it is closed with a code of its own.
    socket.on('error', () => contain(() => this.#endStreams('bad_frame')));
    socket.on('close', () => {
      tcp.off('drain', onDrain);
      contain(() => this.#lost());
    });
    const { maxMessageBytes, maxSessionStreams } = options.config;
    this.send({ type: 'open', maxStreams: maxSessionStreams, maxMessageBytes });
  }

  get credit(): Credit {
    if (this.#credit === undefined) throw new Error('a session has no credit before its first frame');
    return this.#credit;
  }

  get isBlocked(): boolean {
    return this.#tcp.writableNeedDrain;
  }

  send(frame: GatewayFrame): void {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  sendData(stream: number, from: number, to: number, bytes: Uint8Array): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    this.#socket.send(Buffer.concat([encodeDataHeader(stream, from, to), bytes]));
    this.#pace.wrote(performance.now(), this.#tcp.bytesWritten);
  }

  delayMs(): number {
    return this.#pace.delayMs(performance.now());
  }

  /** Ends it for what the client did, or for a stop; its readers go with it. */
  end(reason: CloseReason, how: 'leave' | 'lost' = 'leave'): void {
    if (how === 'leave') this.#endStreams(reason);
    this.#socket.close(closeCodes[reason], reason);
    // A client that does not answer the close is not waited for.
    setTimeout(() => this.#socket.terminate(), closeTimeoutMs).unref();
  }

  /** Cuts the connection. Its readers may come back over another one. */
  terminate(): void {
    this.#socket.terminate();
  }

  /** Carries a stream from now on, which another session may have carried before. */
  take(stream: SessionStream, number: number): void {
    stream.response.unbind();
    stream.session?.release(stream);
    stream.session = this;
    stream.number = number;
    this.#streams.set(number, stream);
  }

  /** Does not carry a stream any more. */
  release(stream: SessionStream): void {
    this.#streams.delete(stream.number);
    stream.session = undefined;
    if (this.#streams.size === 0) this.#idleSinceMs = performance.now();
  }

  /** Checks that the connection is used and alive, and tells readers what waits for them. */
  tick(nowMs: number): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    const { keepAliveMs } = this.#options.config;
    const silentMs = nowMs - this.#lastReceivedMs;
    const isIdle = this.#streams.size === 0 && nowMs - this.#idleSinceMs >= idleTimeoutMs;
    if (isIdle || (this.#credit === undefined && nowMs - this.#idleSinceMs >= openTimeoutMs)) {
      this.end('timeout');
    } else if (silentMs >= 2 * keepAliveMs) {
      this.end('timeout', 'lost');
      this.#socket.terminate();
    } else if (silentMs >= keepAliveMs && !this.#hasPinged) {
      this.#hasPinged = true;
      this.#socket.ping();
    }
    const { detachGraceMs } = this.#options.config;
    for (const stream of this.#streams.values()) stream.tick(nowMs, detachGraceMs);
  }

  #endStreams(reason: CloseReason): void {
    for (const stream of this.#streams.values()) stream.end(clientLeft(`was ended (${reason})`));
  }

  #received(): void {
    this.#lastReceivedMs = performance.now();
    this.#hasPinged = false;
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    this.#received();
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    const frame = isBinary ? undefined : readClientFrame((data as Buffer).toString('utf8'));
    const refusal = frame === undefined ? 'bad_frame' : this.#onFrame(frame);
    if (refusal !== undefined) this.end(refusal);
  }

  /** Does what a frame says. Returns why the session has to end, if it has. */
  #onFrame(frame: ClientFrame): CloseReason | undefined {
    if ((frame.type === 'open') !== (this.#credit === undefined)) return 'bad_frame';
    switch (frame.type) {
      case 'open': {
        const { maxSessionStreams, windowBytes } = this.#options.config;
        this.windowBytes = Math.min(frame.windowBytes, maxSessionStreams * windowBytes);
        this.#credit = openCredit({ maxBytes: this.windowBytes, initial: { bytes: this.windowBytes } });
        return undefined;
      }
      case 'ping':
        this.send({ type: 'pong' });
        return undefined;
      case 'ack': {
        const stream = this.#streams.get(frame.stream);
        if (stream === undefined) return this.#ignored(frame.stream);
        return stream.response.ack(frame.offset) ? undefined : 'bad_ack';
      }
      case 'cancel':
      case 'detach': {
        const stream = this.#streams.get(frame.stream);
        if (stream === undefined) return this.#ignored(frame.stream);
        stream.leave(frame.type);
        return undefined;
      }
      default:
        return this.#open(frame);
    }
  }

  /** What is said of a stream that is over crosses with its end. */
  #ignored(stream: number): CloseReason | undefined {
    return stream > this.#lastNumber ? 'bad_frame' : undefined;
  }

  #open(
    frame: Extract<ClientFrame, { readonly type: 'read' | 'request' | 'resume' }>,
  ): CloseReason | undefined {
    if (frame.stream <= this.#lastNumber) return 'bad_frame';
    this.#lastNumber = frame.stream;
    if (this.#streams.size >= this.#options.config.maxSessionStreams) return 'too_many_streams';
    const headers = lowerCased(frame.headers);
    if (frame.type === 'resume') return this.#resume(frame, headers);
    if (this.#options.readers.has(frame.reader)) return 'bad_frame';
    if (frame.type === 'request') openRequest(this, frame, headers, this.#options);
    else openRead(this, frame, headers, this.#options);
    return undefined;
  }

  #resume(
    { acked, offset, reader, stream: number }: Extract<ClientFrame, { readonly type: 'resume' }>,
    headers: IncomingHttpHeaders,
  ): CloseReason | undefined {
    const { keys, meter, readers } = this.#options;
    const known = readers.get(reader);
    const stream = known?.stream;
    if (known === undefined || stream === undefined || !isOwner(keys, stream, headers)) {
      const error = new GatewayError('unknown_reader', 'There is no such reader, or not any more.');
      this.send({ type: 'error', stream: number, code: error.code, message: error.message, offset });
      meter.resumes.refused += 1;
      return undefined;
    }
    const before = known.session;
    this.take(known, number);
    if (before !== undefined && before !== this && before.#streams.size === 0) before.end('taken_over');
    const isResumed = known.rebind(offset, acked);
    meter.resumes[isResumed ? 'resumed' : 'refused'] += 1;
    return isResumed ? undefined : 'bad_frame';
  }

  /** The connection is gone. Its readers may come back over another one. */
  #lost(): void {
    this.#options.onClose(this);
    this.#credit?.close();
    for (const stream of this.#streams.values()) {
      this.#options.defects.contain('reader of a session', () => stream.lost());
    }
  }
}

const closeTimeoutMs = 1000;

function lowerCased(headers: Readonly<Record<string, string>>): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}
