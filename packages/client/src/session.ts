import type { Timer } from '@spillway/core/clock';
import { type ClientFrame, type CloseReason, closeCodes } from '@spillway/core/session';
import { Connection, type ConnectionListener, type Limits } from './connection.ts';
import { ClientError, type ClientErrorCode } from './errors.ts';
import type { Total } from './ledger.ts';
import { notify } from './notify.ts';
import { createReaderToken } from './reader-token.ts';
import { Reconnection } from './reconnection.ts';
import type { SessionOptions } from './session-options.ts';
import type { SessionStream, SessionHost } from './session-stream.ts';
import { Stranded } from './stranded.ts';
import { isHidden, onWake } from './wake.ts';

const closedMessage = 'The client was closed.';
const noRoomMessage = 'The gateway had no room for the request over a session.';

/** Close codes after which the client does not reconnect: the gateway refuses something that this client does. */
const fatalCodes: ReadonlyMap<number, CloseReason | 'message_too_large'> = new Map([
  [closeCodes.bad_frame, 'bad_frame'],
  [closeCodes.bad_ack, 'bad_ack'],
  [closeCodes.too_many_streams, 'too_many_streams'],
  [1009, 'message_too_large'],
]);

/** Carries many streams over one connection at a time, and resumes the streams when the connection is lost. */
export class Session implements SessionHost, ConnectionListener {
  readonly total: Total = { unackedBytes: 0, consumedBytes: 0 };
  readonly #options: SessionOptions;
  readonly #reconnection: Reconnection;
  readonly #stranded: Stranded;
  /** All streams that are not over. */
  readonly #streams = new Set<SessionStream>();
  /** The streams that the present connection knows, by number. */
  readonly #byNumber = new Map<number, SessionStream>();
  #connection: Connection | undefined;
  #limits: Limits | undefined;
  #lastNumber = 0;
  /**
   * The first attempt to connect, before any stream depends on the connection. If the attempt fails, `fetch` uses plain
   * HTTP.
   */
  #opening: PromiseWithResolvers<void> | undefined;
  /** Until this time, streams that can go by HTTP do not try a connection. */
  #refusedUntil = 0;
  #ackTimer: Timer | undefined;
  /** The delay that the ack timer was set to. */
  #ackDelayMs = 0;
  #idleTimer: Timer | undefined;
  #stopWake: (() => void) | undefined;
  #isClosed = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#stranded = new Stranded(options);
    this.#reconnection = new Reconnection(
      options,
      () => this.#connect(),
      () => this.#giveUp(),
    );
  }

  get connectionWindowBytes(): number {
    return this.#options.windowBytes;
  }

  createToken(): string {
    return createReaderToken(this.#options.clock);
  }

  /**
   * Opens a stream at the gateway. Fails the stream with `no_session` if no connection can be opened. A stream that can
   * go by HTTP fails at once within `fallbackMs` of the last failure.
   */
  async open(stream: SessionStream, hasFallback: boolean): Promise<void> {
    if (stream.isOver) return;
    try {
      await this.#ready(hasFallback);
    } catch (error) {
      stream.fail(error);
      return;
    }
    if (this.#isClosed) stream.fail(new ClientError('closed', closedMessage));
    if (!stream.isOver) this.#add(stream);
  }

  /** Fails all streams, and closes the connection. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const connection = this.#connection;
    this.#failAll('closed', closedMessage);
    this.#disconnect();
    this.#refuseOpening('closed', closedMessage);
    await connection?.close();
  }

  send(frame: ClientFrame): void {
    this.#connection?.send(frame);
  }

  consumed(stream: SessionStream): void {
    // In a hidden page all acks are due at once, because a timer may take a minute there.
    const { consumedBytes } = this.total;
    if (consumedBytes === 0) return;
    const isAllDue = consumedBytes * 2 >= this.#options.windowBytes || isHidden();
    if ((stream.isAckDue || isAllDue) && this.#connection?.isCongested === false) {
      if (isAllDue) this.#flushAcks();
      else stream.flushAck();
    }
    this.#scheduleAcks(stream.ackDelayMs);
  }

  released(stream: SessionStream): void {
    this.#stranded.released(stream);
    this.#byNumber.delete(stream.number);
  }

  resend(stream: SessionStream): void {
    // While the gateway refuses sessions, `fetch` can send the request by HTTP: there the key is checked first, and
    // there may be room.
    if (this.#options.clock.nowMs() >= this.#refusedUntil) this.reopen(stream);
    else stream.fail(new ClientError('no_session', noRoomMessage));
  }

  reopen(stream: SessionStream): void {
    if (this.#limits !== undefined) this.#bind(stream, this.#limits);
  }

  arrived(stream: SessionStream): void {
    this.#stranded.arrived(stream);
  }

  answered(stream: SessionStream): void {
    if (this.#connection !== undefined) this.#stranded.answered(stream, this.#connection.ping());
  }

  left(stream: SessionStream): void {
    this.#stranded.left(stream);
    this.#byNumber.delete(stream.number);
    if (!this.#streams.delete(stream) || this.#streams.size > 0) return;
    this.#stopWake?.();
    this.#stopWake = undefined;
    this.#reconnection.stop();
    const connection = this.#connection;
    connection?.watch(false);
    if (this.#limits !== undefined) {
      this.#closeWhenIdle();
    } else {
      // No stream is left that needs a connection.
      this.#disconnect();
      void connection?.close();
    }
  }

  opened(limits: Limits): void {
    this.#limits = limits;
    this.#reconnection.opened();
    this.#stranded.opened();
    this.#opening?.resolve();
    this.#opening = undefined;
    notify(this.#options.onEvent, { type: 'connected' });
    const streams = [...this.#streams].filter(({ isHeld }) => !isHeld);
    const resumed = streams.filter(({ wasSent }) => wasSent);
    for (const stream of resumed) this.#bind(stream, limits);
    // The ping follows all resumed streams, and new streams follow the ping. Unacknowledged bytes of resumed streams
    // count against the window first (rule 5.8).
    if (resumed.length > 0 && this.#connection !== undefined) {
      const pong = this.#connection.ping();
      for (const stream of resumed) if (!stream.isOver) this.#stranded.resumed(stream, pong);
    }
    for (const stream of streams) if (!stream.wasSent) this.#bind(stream, limits);
    if (this.#streams.size === 0) this.#closeWhenIdle();
  }

  frame(frame: Parameters<SessionStream['onFrame']>[0]): void {
    this.#find(frame.stream)?.onFrame(frame);
  }

  data(frame: Parameters<SessionStream['onData']>[0]): void {
    this.#find(frame.stream)?.onData(frame);
  }

  ponged(): void {
    this.#reconnection.heard();
  }

  closed(code: number, reason: string): void {
    if (code === closeCodes.overloaded)
      this.#refusedUntil = this.#options.clock.nowMs() + this.#options.fallbackMs;
    const fatal = fatalCodes.get(code);
    const message = `The gateway ended the session: ${code} ${reason}`.trim();
    this.#lost(code, reason, fatal === undefined ? undefined : [fatal, message]);
  }

  garbled(): void {
    const message = 'The gateway sent something that is no frame of the protocol.';
    this.#lost(closeCodes.bad_frame, message, ['protocol_error', message]);
  }

  #lost(code: number, reason: string, fatal: readonly [ClientErrorCode, string] | undefined): void {
    const wasOpen = this.#limits !== undefined;
    const hasBrought = wasOpen && this.#onLoss();
    this.#disconnect();
    if (wasOpen) notify(this.#options.onEvent, { type: 'disconnected', code, reason });
    const how = `${code} ${reason}`.trim();
    const message = `No WebSocket to a gateway could be opened at ${this.#options.url} (${how}): is it there, and do proxies let WebSockets pass?`;
    this.#refuseOpening('no_session', message);
    if (fatal !== undefined) this.#failAll(...fatal);
    if (this.#streams.size > 0) this.#reconnection.lost(wasOpen, hasBrought);
  }

  /**
   * Fails the streams to which nothing came for too long. Returns whether the connection brought its streams something.
   */
  #onLoss(): boolean {
    const { cut, expired, hasBrought } = this.#stranded.lost(
      this.#byNumber.values(),
      this.#connection?.pongs ?? 0,
    );
    // The other streams are resumed first the next time.
    if (cut !== undefined && this.#streams.delete(cut)) this.#streams.add(cut);
    const message = `Nothing of the stream came for ${this.#options.giveUpAfterMs} ms: the connection came back, and was cut before an event was whole.`;
    for (const stream of expired) stream.fail(new ClientError('connection_lost', message, stream.offset));
    return hasBrought;
  }

  /** Fails the first attempt to connect. */
  #refuseOpening(code: ClientErrorCode, message: string): void {
    if (this.#opening === undefined) return;
    this.#refusedUntil = this.#options.clock.nowMs() + this.#options.fallbackMs;
    this.#opening.reject(new ClientError(code, message));
    this.#opening = undefined;
  }

  /**
   * Resolves when the session can take a stream: at once if it is connected, or is reconnecting for other streams
   * already.
   */
  async #ready(hasFallback: boolean): Promise<void> {
    if (this.#isClosed) throw new ClientError('closed', closedMessage);
    if (this.#limits !== undefined || this.#streams.size > 0) return;
    if (this.#opening === undefined) {
      if (hasFallback && this.#options.clock.nowMs() < this.#refusedUntil) {
        throw new ClientError('no_session', 'The gateway took no session a moment ago.');
      }
      this.#opening = Promise.withResolvers();
      const { promise } = this.#opening;
      // A page may have no `WebSocket`, or none that may open this address.
      try {
        this.#connect();
      } catch (error) {
        this.#refuseOpening('no_session', String(error));
      }
      await promise;
      return;
    }
    await this.#opening.promise;
  }

  #add(stream: SessionStream): void {
    if (this.#limits !== undefined && this.#streams.size >= this.#limits.maxStreams) {
      stream.fail(tooManyStreams(this.#limits));
      return;
    }
    this.#streams.add(stream);
    this.#idleTimer?.stop();
    this.#stopWake ??= onWake(() => this.#wake());
    this.#connection?.watch(true);
    if (this.#limits !== undefined) this.#bind(stream, this.#limits);
    // The connection was lost between its opening and this call.
    else if (this.#connection === undefined && !this.#reconnection.isWaiting)
      this.#reconnection.lost(true, true);
  }

  #bind(stream: SessionStream, limits: Limits): void {
    if (this.#byNumber.size >= limits.maxStreams) {
      stream.fail(tooManyStreams(limits));
      return;
    }
    const number = ++this.#lastNumber;
    const text = JSON.stringify(stream.bind(number, limits));
    if (isLonger(text, limits.maxMessageBytes)) {
      // The stream has no number, because nothing of its request was sent. Its end then sends no frame.
      stream.number = 0;
      stream.fail(
        new ClientError(
          'message_too_large',
          `The gateway takes ${limits.maxMessageBytes} bytes over a session.`,
        ),
      );
      return;
    }
    this.#byNumber.set(number, stream);
    this.#connection?.sendText(text);
    stream.wasSent = true;
  }

  /**
   * Returns the stream with a number, or `undefined` if it is over: its frames may still be on their way. A number that
   * was never given out breaks the protocol.
   */
  #find(number: number): SessionStream | undefined {
    this.#reconnection.heard();
    this.#stranded.heard(number);
    if (number === 0 || number > this.#lastNumber) this.#connection?.closeAsInvalid();
    return this.#byNumber.get(number);
  }

  #connect(): void {
    this.#lastNumber = 0;
    this.#connection = new Connection(this.#options, this);
    this.#connection.watch(this.#streams.size > 0);
  }

  #giveUp(): void {
    const { giveUpAfterMs } = this.#options;
    this.#failAll(
      'connection_lost',
      `The connection was lost and did not come back for ${giveUpAfterMs} ms.`,
    );
  }

  #wake(): void {
    this.#reconnection.hurry();
    this.#connection?.probe();
  }

  #failAll(code: ClientErrorCode, message: string): void {
    for (const stream of this.#streams) stream.fail(new ClientError(code, message, stream.offset));
  }

  #flushAcks(): void {
    for (const stream of this.#streams) stream.flushAck();
  }

  #scheduleAcks(delayMs: number): void {
    if (this.total.consumedBytes === 0 || this.#limits === undefined) return;
    if (this.#ackTimer !== undefined && this.#ackDelayMs <= delayMs) return;
    this.#ackTimer?.stop();
    this.#ackDelayMs = delayMs;
    this.#ackTimer = this.#options.clock.after(delayMs, () => {
      this.#ackTimer = undefined;
      const isCongested = this.#connection?.isCongested === true;
      if (!isCongested) this.#flushAcks();
      else this.#scheduleAcks(delayMs);
    });
  }

  #closeWhenIdle(): void {
    this.#idleTimer?.stop();
    this.#idleTimer = this.#options.clock.after(this.#options.idleTimeoutMs, () => {
      const connection = this.#connection;
      this.#disconnect();
      void connection?.close();
    });
  }

  /** Forgets the connection, and the numbers of the streams on it. */
  #disconnect(): void {
    this.#ackTimer?.stop();
    this.#idleTimer?.stop();
    this.#ackTimer = undefined;
    this.#connection = undefined;
    this.#limits = undefined;
    this.#byNumber.clear();
    for (const stream of this.#streams) stream.unbind();
  }
}

function tooManyStreams({ maxStreams }: Limits): ClientError {
  return new ClientError('too_many_streams', `The gateway takes ${maxStreams} streams on one connection.`);
}

function isLonger(text: string, maxBytes: number): boolean {
  // A UTF-16 unit takes three bytes at most, so only a text near the limit has to be counted.
  return text.length * 3 > maxBytes && new TextEncoder().encode(text).length > maxBytes;
}
