import { type Credit, openCredit } from '@spillway/core';
import {
  type ClientFrame,
  closeCodes,
  type CloseReason,
  encodeDataHeader,
  type GatewayFrame,
} from '@spillway/core/session';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { RawData, WebSocket } from 'ws';
import { type Caller, holderOf } from '../access/caller.ts';
import { GatewayError, clientLeft } from '../errors.ts';
import { clientAddress } from '../http/client-address.ts';
import type { LargeRun } from '../memory/large-run.ts';
import type { SessionEndReason } from '../stream/meter.ts';
import type { StreamTokens } from '../stream/stream-token.ts';
import type { ServerClock } from '../time/server-clock.ts';
import { readClientFrame } from './client-frame.ts';
import { fitHeaders, lowerCased, maxHeaders } from './frame-headers.ts';
import { Intake } from './intake.ts';
import { openRead, openRequest, refuse, resumeReader, takenName } from './open-stream.ts';
import { Outflow } from './outflow.ts';
import { takeParser } from './parser.ts';
import type { Carrier } from './carrier.ts';
import type { SessionContext } from './session-context.ts';
import type { SessionReader } from './session-reader.ts';
import type { Pace } from '../sink/pace.ts';

/** How long a client may take to send its first frame. */
const openTimeoutMs = 10_000;
/** How long a connection may carry no stream. */
const idleTimeoutMs = 60_000;

/** How long a client may take to answer a close frame. */
const closeTimeoutMs = 1000;
/** The bytes that are read after a session's end, until its client has answered the close frame. */
const maxBytesBehindEnd = 4096;

export interface SessionOptions extends SessionContext {
  readonly tokens: StreamTokens;
  /** Called once, when the session is over. */
  readonly onClose: (session: Session) => void;
}

/**
 * One WebSocket, and the streams that it carries at the moment. One file, because each frame and each deadline may end the session.
 */
export class Session implements Carrier<SessionReader> {
  readonly id: string;
  lastRequest = 0;
  /** The client's User-Agent header: a page in a browser cannot put it into a frame. */
  readonly agent: string | undefined;
  /** The client's IP address. */
  readonly address: string;
  readonly #socket: WebSocket;
  readonly #tcp: Socket;
  readonly #options: SessionOptions;
  readonly #clock: ServerClock;
  readonly #pace: Pace;
  readonly #streams = new Map<number, SessionReader>();
  readonly #intake: Intake;
  readonly #outflow: Outflow;
  /** Why the session ended, unless the client ended it. */
  #endReason: SessionEndReason | undefined;
  #bytesBehindEnd = 0;
  #isUnread = false;
  #credit: Credit | undefined;
  windowBytes = 0;
  isResuming = false;
  #lastNumber = 0;
  #lastReceivedMs: number;
  #idleSinceMs: number;
  #hasPinged = false;

  constructor(socket: WebSocket, request: IncomingMessage, options: SessionOptions) {
    this.#socket = socket;
    const tcp = request.socket;
    this.agent = request.headers['user-agent'];
    this.address = clientAddress(request);
    this.#tcp = tcp;
    this.#options = options;
    this.#clock = options.clock;
    this.id = options.tokens.token();
    this.#pace = options.paces.of(tcp);
    const nowMs = options.clock.nowMs();
    this.#lastReceivedMs = nowMs;
    this.#idleSinceMs = nowMs;
    // A throw in a listener would end the process, so the session is ended instead.
    const contain = (work: () => void): void =>
      options.defects.contain('session', work, () => this.destroy());
    this.#outflow = new Outflow(tcp, this.#pace, options.config);
    const parse = takeParser(tcp);
    this.#intake = new Intake(options.strangers.hold(this.address), {
      clock: options.clock,
      parse,
      // After the session's end, only the answer to the close frame is waited for.
      mayHandle: () => this.#endReason !== undefined || !this.#outflow.isFull,
      onTurn: () => this.#readOrNot(),
      contain,
    });
    const onDrain = (): void =>
      contain(() => {
        for (const stream of this.#streams.values()) stream.response.resume();
        this.#intake.run();
        this.#readOrNot();
      });
    const onData = (chunk: Buffer): void => contain(() => this.#received(chunk));
    tcp.on('drain', onDrain);
    tcp.on('data', onData);
    socket.on('message', (data, isBinary) => contain(() => this.#onMessage(data, isBinary)));
    socket.on('ping', (data) => {
      contain(() => {
        this.#outflow.add(data.length);
        if (this.#socket.readyState === this.#socket.OPEN) this.#socket.pong(data);
      });
    });
    // The bytes are no valid WebSocket, or a message is too large. `ws` closes the connection with a code of its own.
    socket.on('error', () => {
      contain(() => {
        this.#intake.stop();
        this.#isOver('bad_frame');
        this.#endStreams('bad_frame');
      });
    });
    socket.on('close', () => {
      tcp.off('drain', onDrain);
      tcp.off('data', onData);
      contain(() => this.#lost());
    });
    tcp.prependOnceListener('close', () => {
      this.#intake.stop();
      // Takes the bytes that are left. Otherwise the parser would get them.
      tcp.read();
    });
    const { maxMessageBytes, maxSessionStreams } = options.config;
    options.arrivals.opened(this);
    this.send({ type: 'open', maxStreams: maxSessionStreams, maxMessageBytes, session: this.id, ms: true });
  }

  get credit(): Credit {
    if (this.#credit === undefined) throw new Error('a session has no credit before its first frame');
    return this.#credit;
  }

  get isBlocked(): boolean {
    return this.#outflow.isBlocked;
  }

  get untakenBytes(): number {
    return this.#tcp.writableLength;
  }

  send(frame: GatewayFrame): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    const text = JSON.stringify(frame);
    this.#outflow.add(text.length);
    this.#socket.send(text);
  }

  sendData(stream: number, from: number, to: number, bytes: Uint8Array, large?: LargeRun): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    // Frames of the gateway itself need no credit.
    if (from === to) this.#outflow.add(bytes.length);
    const header = encodeDataHeader(stream, from, to);
    if (large === undefined) this.#socket.send(Buffer.concat([header, bytes]));
    else this.#sendLarge(header, large);
    this.#pace.wrote(this.#clock.nowMs(), this.#tcp.bytesWritten);
  }

  /**
   * Sends one message in two fragments: a message in one would be copied for each connection. The event keeps its
   * place in EventMemory until this connection has taken it, even if its reader leaves.
   */
  #sendLarge(header: Uint8Array, large: LargeRun): void {
    large.hold();
    this.#tcp.cork();
    this.#socket.send(header, { fin: false });
    // The callback is called also when the connection is gone.
    this.#socket.send(large.bytes, { fin: true }, () => large.release());
    this.#tcp.uncork();
  }

  delayMs(): number {
    return this.#pace.delayMs(this.#clock.nowMs());
  }

  /**
   * Ends the session for what the client did, or because the server stops. The session's readers end with it. With
   * `lost`, they may come back.
   */
  close(reason: CloseReason, how: 'leave' | 'lost' = 'leave'): void {
    this.#isOver(reason);
    if (how === 'leave') this.#endStreams(reason);
    this.#socket.close(closeCodes[reason], reason);
  }

  /**
   * Notes the session's first known caller, who from then on is no stranger. If the gateway needs no keys, `open`
   * makes the caller known. Returns `false` if the session ended because the caller has no room left.
   */
  meet(caller: Caller | undefined): boolean {
    if (this.#intake.isKnown || caller === undefined) return true;
    const { memory, onKnown } = this.#options;
    this.#intake.isKnown = true;
    onKnown(this.#tcp);
    if (this.#intake.moveTo(memory.hold(holderOf(caller, this.address)))) return true;
    this.#endOverloaded();
    return false;
  }

  /** Whether the session carries no stream at the moment. */
  get isUnused(): boolean {
    return this.#streams.size === 0;
  }

  /** The client says that this connection is lost. No more frames are handled, and its readers may come back. */
  closeAsLost(): void {
    this.close('taken_over', 'lost');
  }

  /** Cuts the connection. Its readers may come back over another one. */
  destroy(): void {
    this.#socket.terminate();
  }

  /** Carries a stream from now on. Another session may have carried it before. */
  take(stream: SessionReader, number: number): void {
    stream.response.unbind({ isTakenOver: true });
    stream.session?.release(stream);
    stream.session = this;
    stream.number = number;
    this.#streams.set(number, stream);
  }

  /** Carries a stream no longer. */
  release(stream: SessionReader): void {
    this.#streams.delete(stream.number);
    stream.session = undefined;
    if (this.#streams.size === 0) this.#idleSinceMs = this.#clock.nowMs();
  }

  /** Checks that the connection is used and alive, and tells readers their lag. */
  tick(nowMs: number): void {
    if (this.#socket.readyState !== this.#socket.OPEN) {
      this.#isOver('left');
      return;
    }
    const { keepAliveMs, requestTimeoutMs } = this.#options.config;
    const silentMs = nowMs - this.#lastReceivedMs;
    const isIdle = this.#streams.size === 0 && nowMs - this.#idleSinceMs >= idleTimeoutMs;
    const { partSinceMs = nowMs } = this.#intake;
    if (isIdle || (this.#credit === undefined && nowMs - this.#idleSinceMs >= openTimeoutMs)) {
      this.close('timeout');
    } else if (this.#outflow.hasStalled(nowMs)) {
      this.#isOver('stalled');
      this.#socket.terminate();
    } else if (this.#isUnread) {
      // The session is not read at the moment, so its silence means nothing.
    } else if (nowMs - partSinceMs >= requestTimeoutMs) {
      this.close('timeout', 'lost');
    } else if (silentMs >= 2 * keepAliveMs) {
      this.close('timeout', 'lost');
      this.#socket.terminate();
    } else if (silentMs >= keepAliveMs && !this.#hasPinged && !this.isBlocked) {
      this.#hasPinged = true;
      this.#socket.ping();
    }
    const { detachGraceMs } = this.#options.config;
    for (const stream of this.#streams.values()) stream.tick(nowMs, detachGraceMs);
  }

  #endStreams(reason: CloseReason): void {
    for (const stream of this.#streams.values()) stream.close(clientLeft(`was ended (${reason})`));
  }

  #received(chunk: Buffer): void {
    const nowMs = this.#clock.nowMs();
    this.#heard(nowMs);
    const isEnded = this.#endReason !== undefined;
    if (!this.#intake.take(chunk)) this.#endOverloaded();
    this.#readOrNot();
    if (!isEnded) return;
    // The parser would keep these bytes. A client's answer to the close frame is short.
    this.#bytesBehindEnd += chunk.length;
    if (this.#bytesBehindEnd > maxBytesBehindEnd) this.#socket.pause();
  }

  #endOverloaded(): void {
    this.#intake.stop();
    this.close('overloaded', 'lost');
  }

  #heard(nowMs: number): void {
    this.#lastReceivedMs = nowMs;
    this.#hasPinged = false;
  }

  /** Reads on when all reads are handled, and the client has taken the answers. Otherwise stops reading. */
  #readOrNot(): void {
    const isUnread = this.#endReason === undefined && (!this.#intake.isEmpty || this.#outflow.isFull);
    if (isUnread === this.#isUnread) return;
    this.#isUnread = isUnread;
    this.#options.meter.unreadSessions += isUnread ? 1 : -1;
    if (isUnread) {
      this.#socket.pause();
    } else {
      this.#heard(this.#clock.nowMs());
      this.#socket.resume();
    }
  }

  /** Ends the handling of the client's messages. */
  #isOver(reason: SessionEndReason): void {
    if (this.#endReason === undefined && this.#socket.readyState !== this.#socket.CLOSED) {
      // A client that does not answer the close frame is not waited for.
      this.#clock.after(closeTimeoutMs, () => this.#socket.terminate()).unref();
    }
    this.#endReason ??= reason;
    this.#readOrNot();
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (this.#endReason !== undefined) return;
    const frame = isBinary ? undefined : readClientFrame(data as Buffer);
    const refusal = frame === undefined ? 'bad_frame' : this.#onFrame(frame);
    if (refusal !== undefined) this.close(refusal);
  }

  /** Carries out a frame. Returns why the session has to end; `undefined`: it goes on. */
  #onFrame(frame: ClientFrame): CloseReason | undefined {
    if ((frame.type === 'open') !== (this.#credit === undefined)) return 'bad_frame';
    const wasResuming = this.isResuming;
    this.isResuming = frame.type === 'resume' && frame.more === true;
    // A grant of 0 bytes wakes the readers that wait for credit.
    if (wasResuming && !this.isResuming) this.#credit?.grant({ bytes: 0 });
    switch (frame.type) {
      case 'open': {
        const { maxSessionStreams, windowBytes } = this.#options.config;
        this.windowBytes = Math.min(frame.windowBytes, maxSessionStreams * windowBytes);
        this.#credit = openCredit({ maxBytes: this.windowBytes, initial: { bytes: this.windowBytes } });
        const { guard } = this.#options;
        if (!guard.needsKey) this.meet(guard.identify({}, undefined));
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
        stream.left(frame.type);
        return undefined;
      }
      default:
        return this.#open(frame);
    }
  }

  /** A frame may name a stream that has just ended: the two crossed. Only a number that was never used is an error. */
  #ignored(stream: number): CloseReason | undefined {
    return stream > this.#lastNumber ? 'bad_frame' : undefined;
  }

  #open(
    frame: Extract<ClientFrame, { readonly type: 'read' | 'request' | 'resume' }>,
  ): CloseReason | undefined {
    if (frame.stream <= this.#lastNumber) return 'bad_frame';
    this.#lastNumber = frame.stream;
    if (this.#streams.size >= this.#options.config.maxSessionStreams) return 'too_many_streams';
    const { config, readers } = this.#options;
    const head = { headers: lowerCased(frame.headers), requestId: this.#options.tokens.id() };
    const path = frame.type === 'request' ? frame.path : frame.type === 'read' ? frame.url : '';
    if (!fitHeaders(path, frame.headers, config.maxHeaderBytes)) {
      refuse(this, frame, head, headersTooLarge(config.maxHeaderBytes), this.#options);
      return undefined;
    }
    if (frame.type === 'resume') resumeReader(this, frame, head, this.#options);
    else if (readers.has(frame.reader)) refuse(this, frame, head, takenName(), this.#options);
    else if (frame.type === 'request') openRequest(this, frame, head, this.#options);
    else openRead(this, frame, head, this.#options);
    return undefined;
  }

  /** The connection is gone. Its readers may come back over another one. */
  #lost(): void {
    this.#isOver('left');
    this.#options.meter.sessionsEnded[this.#endReason ?? 'left'] += 1;
    this.#intake.stop();
    this.#options.onClose(this);
    this.#credit?.close();
    for (const stream of this.#streams.values()) {
      this.#options.defects.contain('reader of a session', () => stream.lost());
    }
  }
}

function headersTooLarge(maxHeaderBytes: number): GatewayError {
  return new GatewayError(
    'headers_too_large',
    `The path and the headers: expected ${maxHeaderBytes} bytes at most (maxHeaderBytes), and ${maxHeaders} headers.`,
  );
}
