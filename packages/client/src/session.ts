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

/** Where it makes no sense to come back: this client does something that the gateway does not take. */
const fatalCodes: ReadonlyMap<number, CloseReason | 'message_too_large'> = new Map([
  [closeCodes.bad_frame, 'bad_frame'],
  [closeCodes.bad_ack, 'bad_ack'],
  [closeCodes.too_many_streams, 'too_many_streams'],
  [1009, 'message_too_large'],
]);

/** Many streams over one connection at a time, and what brings them over the loss of one. */
export class Session implements SessionHost, ConnectionListener {
  readonly total: Total = { unackedBytes: 0, consumedBytes: 0 };
  readonly #options: SessionOptions;
  readonly #reconnection: Reconnection;
  readonly #stranded: Stranded;
  /** All that live. */
  readonly #streams = new Set<SessionStream>();
  /** Those that the present connection knows. */
  readonly #byNumber = new Map<number, SessionStream>();
  #connection: Connection | undefined;
  #limits: Limits | undefined;
  #lastNumber = 0;
  /** The first attempt, on which nothing depends yet: if it fails, there is plain HTTP. */
  #opening: PromiseWithResolvers<void> | undefined;
  /** Until then, no connection is tried again for new streams. */
  #refusedUntil = 0;
  #ackTimer: Timer | undefined;
  /** For how long the timer was set. */
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
   * Brings a stream to the gateway. It fails with `no_session` if there is no way: where there is another one for it,
   * at once while `fallbackMs` have not passed since the last failure.
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

  /** Lets all streams go, with the connection. */
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
    // In a page that nobody sees, a timer may take a minute.
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
    // There may be room for it by HTTP, where the key comes first.
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
      // Nothing is left to come back for.
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
    // Behind all that come back: what they have not acknowledged counts before anything new does (rule 5.8).
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

  /** Gives up the streams that get nothing. Returns whether the connection was good for something. */
  #onLoss(): boolean {
    const { cut, expired, hasBrought } = this.#stranded.lost(
      this.#byNumber.values(),
      this.#connection?.pongs ?? 0,
    );
    // The others come first the next time.
    if (cut !== undefined && this.#streams.delete(cut)) this.#streams.add(cut);
    const message = `Nothing of the stream came for ${this.#options.giveUpAfterMs} ms: the connection came back, and was cut before an event was whole.`;
    for (const stream of expired) stream.fail(new ClientError('connection_lost', message, stream.offset));
    return hasBrought;
  }

  /** The first attempt came to nothing. */
  #refuseOpening(code: ClientErrorCode, message: string): void {
    if (this.#opening === undefined) return;
    this.#refusedUntil = this.#options.clock.nowMs() + this.#options.fallbackMs;
    this.#opening.reject(new ClientError(code, message));
    this.#opening = undefined;
  }

  /** Until streams can be added: at once when there is a connection, or one is tried for other streams anyway. */
  async #ready(hasFallback: boolean): Promise<void> {
    if (this.#isClosed) throw new ClientError('closed', closedMessage);
    if (this.#limits !== undefined || this.#streams.size > 0) return;
    if (this.#opening === undefined) {
      if (hasFallback && this.#options.clock.nowMs() < this.#refusedUntil) {
        throw new ClientError('no_session', 'The gateway took no session a moment ago.');
      }
      this.#opening = Promise.withResolvers();
      const { promise } = this.#opening;
      // There may be no WebSocket, or none to this address from this page.
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
    // It was lost between the opening and now.
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
      // Nothing of it was sent, and nothing is to be said about it.
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

  /** Frames for a stream that is over may still be on their way; those for one that never was are no frames. */
  #find(number: number): SessionStream | undefined {
    this.#reconnection.heard();
    this.#stranded.heard(number);
    if (number === 0 || number > this.#lastNumber) this.#connection?.refuse();
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

  /** Forgets the connection. */
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
  // A character takes three bytes at most: only a text near the limit has to be counted.
  return text.length * 3 > maxBytes && new TextEncoder().encode(text).length > maxBytes;
}
