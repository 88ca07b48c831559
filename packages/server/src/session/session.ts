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

/** How long the first frame may take. */
const openTimeoutMs = 10_000;
/** How long a connection may have no stream. */
const idleTimeoutMs = 60_000;

/** How long a client may take to answer a close. */
const closeTimeoutMs = 1000;
/** What is read behind a session's end, until its client has answered the close. */
const maxBytesBehindEnd = 4096;

export interface SessionOptions extends SessionContext {
  readonly tokens: StreamTokens;
  /** Called once, when it is over. */
  readonly onClose: (session: Session) => void;
}

/** One WebSocket, and the streams that it carries at the moment. */
export class Session implements Carrier<SessionReader> {
  readonly id: string;
  lastRequest = 0;
  /** The client's User-Agent: a browser's pages cannot put it into a frame. */
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
  /** Why it ended, as far as it was not the client who ended it. */
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
    // A throw in a listener would end the process: this session is ended instead.
    const contain = (work: () => void): void =>
      options.defects.contain('session', work, () => this.terminate());
    this.#outflow = new Outflow(tcp, this.#pace, options.config);
    const parse = takeParser(tcp);
    this.#intake = new Intake(options.strangers.hold(this.address), {
      clock: options.clock,
      parse,
      // Behind its end, it only waits for the answer to its close.
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
    // No valid WebSocket, or a message that is too large: it is closed with a code of its own.
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
      // The parser would take what is left for what comes next.
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

  send(frame: GatewayFrame): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    const text = JSON.stringify(frame);
    this.#outflow.add(text.length);
    this.#socket.send(text);
  }

  sendData(stream: number, from: number, to: number, bytes: Uint8Array, large?: LargeRun): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    // The gateway's own words need no credit.
    if (from === to) this.#outflow.add(bytes.length);
    const header = encodeDataHeader(stream, from, to);
    if (large === undefined) this.#socket.send(Buffer.concat([header, bytes]));
    else this.#sendLarge(header, large);
    this.#pace.wrote(this.#clock.nowMs(), this.#tcp.bytesWritten);
  }

  /**
   * One message in two fragments, because a message in one would be a copy for each connection. The event has its place until
   * this connection has taken it, whatever becomes of its reader meanwhile.
   */
  #sendLarge(header: Uint8Array, large: LargeRun): void {
    large.hold();
    this.#tcp.cork();
    this.#socket.send(header, { fin: false });
    // Called also when the connection is gone.
    this.#socket.send(large.bytes, { fin: true }, () => large.letGo());
    this.#tcp.uncork();
  }

  delayMs(): number {
    return this.#pace.delayMs(this.#clock.nowMs());
  }

  /** Ends it for what the client did, or for a stop; its readers go with it. `lost`: they may come back. */
  end(reason: CloseReason, how: 'leave' | 'lost' = 'leave'): void {
    this.#isOver(reason);
    if (how === 'leave') this.#endStreams(reason);
    this.#socket.close(closeCodes[reason], reason);
  }

  /**
   * Notes whose it is: from the first request with an accepted key on, it is no stranger's any more. Without keys of the
   * gateway's own nobody is a stranger who says so much as `open`. Returns `false` if the session ended over it.
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

  /** No stream is carried at the moment. */
  get isUnused(): boolean {
    return this.#streams.size === 0;
  }

  /** Its client says that the connection is lost: nothing more is handled, and its readers may come back. */
  abandon(): void {
    this.end('taken_over', 'lost');
  }

  /** Cuts the connection. Its readers may come back over another one. */
  terminate(): void {
    this.#socket.terminate();
  }

  /** Carries a stream from now on, which another session may have carried before. */
  take(stream: SessionReader, number: number): void {
    stream.response.unbind({ isTakenOver: true });
    stream.session?.release(stream);
    stream.session = this;
    stream.number = number;
    this.#streams.set(number, stream);
  }

  /** Does not carry a stream any more. */
  release(stream: SessionReader): void {
    this.#streams.delete(stream.number);
    stream.session = undefined;
    if (this.#streams.size === 0) this.#idleSinceMs = this.#clock.nowMs();
  }

  /** Checks that the connection is used and alive, and tells readers what waits for them. */
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
      this.end('timeout');
    } else if (this.#outflow.hasStalled(nowMs)) {
      this.#isOver('stalled');
      this.#socket.terminate();
    } else if (this.#isUnread) {
      // Nothing can be heard from it.
    } else if (nowMs - partSinceMs >= requestTimeoutMs) {
      this.end('timeout', 'lost');
    } else if (silentMs >= 2 * keepAliveMs) {
      this.end('timeout', 'lost');
      this.#socket.terminate();
    } else if (silentMs >= keepAliveMs && !this.#hasPinged && !this.isBlocked) {
      this.#hasPinged = true;
      this.#socket.ping();
    }
    const { detachGraceMs } = this.#options.config;
    for (const stream of this.#streams.values()) stream.tick(nowMs, detachGraceMs);
  }

  #endStreams(reason: CloseReason): void {
    for (const stream of this.#streams.values()) stream.end(clientLeft(`was ended (${reason})`));
  }

  #received(chunk: Buffer): void {
    const nowMs = this.#clock.nowMs();
    this.#heard(nowMs);
    const isEnded = this.#endReason !== undefined;
    if (!this.#intake.take(chunk)) this.#endOverloaded();
    this.#readOrNot();
    if (!isEnded) return;
    // The parser would keep what comes. Its client's answer to the close is short.
    this.#bytesBehindEnd += chunk.length;
    if (this.#bytesBehindEnd > maxBytesBehindEnd) this.#socket.pause();
  }

  #endOverloaded(): void {
    this.#intake.stop();
    this.end('overloaded', 'lost');
  }

  #heard(nowMs: number): void {
    this.#lastReceivedMs = nowMs;
    this.#hasPinged = false;
  }

  /** Reads on when all that was read is handled, and its client has taken what that made. */
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

  /** Nothing that it sends is handled any more. */
  #isOver(reason: SessionEndReason): void {
    if (this.#endReason === undefined && this.#socket.readyState !== this.#socket.CLOSED) {
      // A client that does not answer the close is not waited for.
      this.#clock.after(closeTimeoutMs, () => this.#socket.terminate()).unref();
    }
    this.#endReason ??= reason;
    this.#readOrNot();
  }

  #onMessage(data: RawData, isBinary: boolean): void {
    if (this.#endReason !== undefined) return;
    const frame = isBinary ? undefined : readClientFrame(data as Buffer);
    const refusal = frame === undefined ? 'bad_frame' : this.#onFrame(frame);
    if (refusal !== undefined) this.end(refusal);
  }

  /** Does what a frame says. Returns why the session has to end, if it has. */
  #onFrame(frame: ClientFrame): CloseReason | undefined {
    if ((frame.type === 'open') !== (this.#credit === undefined)) return 'bad_frame';
    const wasResuming = this.isResuming;
    this.isResuming = frame.type === 'resume' && frame.more === true;
    // Wakes those that wait for credit.
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
    const { config, readers } = this.#options;
    const headers = lowerCased(frame.headers);
    const path = frame.type === 'request' ? frame.path : frame.type === 'read' ? frame.url : '';
    if (!fitHeaders(path, frame.headers, config.maxHeaderBytes)) {
      refuse(this, frame, headersTooLarge(config.maxHeaderBytes), this.#options);
      return undefined;
    }
    if (frame.type === 'resume') resumeReader(this, frame, headers, this.#options);
    else if (readers.has(frame.reader)) refuse(this, frame, takenName(), this.#options);
    else if (frame.type === 'request') openRequest(this, frame, headers, this.#options);
    else openRead(this, frame, headers, this.#options);
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
