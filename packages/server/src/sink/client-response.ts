import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Format } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import { asFormatError, type GatewayError } from '../errors.ts';
import type { LargeRun } from '../memory/large-run.ts';
import { ChunkedBody } from './chunked-body.ts';
import type { Pieces } from './join-small.ts';
import type { Pace } from './pace.ts';
import type { Paces } from './paces.ts';
import { Pause } from './pause.ts';
import type { ReaderResponse } from './reader-response.ts';
import type { SendQueues } from './send-queues.ts';
import { tcpOf } from './tcp-of.ts';
import type { ServerClock } from '../time/server-clock.ts';

/** The bytes of a run in pieces that are made in one turn, so that other work has its turn. */
const maxTurnBytes = 32_768;

const ping = Buffer.from(': ping\n\n');
const noLarge: LargeRun[] = [];

/** Headers that keep proxies from buffering, caching or compressing an event stream. */
const unbuffered = {
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const;

export interface ClientResponseOptions {
  /** The format in which the client gets errors. */
  readonly format: Format;
  readonly paces: Paces;
  readonly clock: ServerClock;
  /** The path at which the stream can be read again; `undefined`: it cannot. */
  readonly streamUrl: string | undefined;
  /** The id of the request that opened the stream, for errors. Default: none. */
  readonly requestId?: string | undefined;
  /** The time that the client wants between two writes, so that chunks are merged meanwhile. Default: 0. */
  readonly mergeMs?: number;
  /**
   * Whether the client takes comments and error events for pieces of the answer. It then gets none, and an error cuts
   * the connection. Default: `false`.
   */
  readonly answersOnly?: boolean;
  /** Called when the client leaves before it has got everything. */
  readonly onLeave: () => void;
}

/**
 * The response to one client by HTTP. The client gets an error as a status with a body, as an event, or by a cut of
 * the connection.
 */
export class ClientResponse implements ReaderResponse {
  readonly settled: Promise<void>;
  readonly #response: ServerResponse;
  readonly #format: Format;
  readonly #requestId: string | undefined;
  readonly #pace: Pace | undefined;
  readonly #streamUrl: string | undefined;
  /** The body, where it can be written without Node's response. */
  #body: ChunkedBody | undefined;
  /** The bytes of the connection before the body. */
  #headBytes = 0;
  #isEventStream = false;
  #isSettled = false;
  /** Whether the connection is cut: only bytes written before still go out. */
  #isCut = false;
  /** Large events that were written and that the connection has not taken. */
  #large: LargeRun[] = noLarge;
  /**
   * The rest of the latest run, not made yet. Pieces are made as the connection takes them, so that only one waits
   * for a reader.
   */
  #pieces: Pieces | undefined;
  #hasTurn = false;
  readonly #clock: ServerClock;
  readonly #pause: Pause;
  readonly #mergeMs: number;
  readonly #answersOnly: boolean;
  #lastWriteMs = Number.NEGATIVE_INFINITY;

  constructor(
    response: ServerResponse,
    {
      answersOnly = false,
      clock,
      format,
      mergeMs = 0,
      onLeave,
      paces,
      requestId,
      streamUrl,
    }: ClientResponseOptions,
  ) {
    this.#response = response;
    this.#clock = clock;
    this.#pause = new Pause(clock);
    this.#mergeMs = mergeMs;
    this.#answersOnly = answersOnly;
    this.#format = format;
    this.#requestId = requestId;
    this.#streamUrl = streamUrl;
    const { socket } = response;
    this.#pace = socket === null ? undefined : paces.of(socket);
    // One listener for the whole response, not one for each wait. A close ends a wait as a drain does.
    const onDrain = (): void => this.#drained();
    // A client that closes its sending half has left: HTTP clients of a model do not half-close.
    const onHalfClosed = (): void => {
      if (this.#isSettled) return;
      onLeave();
      response.destroy();
    };
    const settled = Promise.withResolvers<void>();
    const settle = (): void => {
      if (this.#isSettled) return;
      this.#isSettled = true;
      this.#pieces = undefined;
      socket?.off('end', onHalfClosed);
      socket?.off('drain', onDrain);
      onDrain();
      settled.resolve();
      if (!response.writableFinished) onLeave();
    };
    this.settled = settled.promise;
    response.on('drain', onDrain);
    response.on('finish', settle);
    response.on('close', settle);
    socket?.on('end', onHalfClosed);
    socket?.on('drain', onDrain);
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  get keptBytes(): number {
    const { socket, writableLength } = this.#response;
    return writableLength + (socket?.writableLength ?? 0);
  }

  get isDelivered(): boolean {
    return this.#isSettled;
  }

  get undoesCodings(): boolean {
    return true;
  }

  get headersSent(): boolean {
    return this.#response.headersSent;
  }

  get isClosed(): boolean {
    return this.#isCut || this.#response.destroyed || this.#response.writableEnded;
  }

  get isBlocked(): boolean {
    return this.#pieces !== undefined || this.#isConnectionBlocked;
  }

  get #isConnectionBlocked(): boolean {
    return this.#body?.isBlocked ?? this.#response.writableNeedDrain;
  }

  startEventStream(headers: Readonly<Record<string, string>>): void {
    if (this.#response.headersSent || this.isClosed) return;
    this.#isEventStream = true;
    this.#startChunked(200, {
      ...headers,
      ...(this.#streamUrl === undefined ? {} : { 'content-location': this.#streamUrl }),
      'content-type': 'text/event-stream; charset=utf-8',
      ...unbuffered,
    });
  }

  #startChunked(status: number, headers: Readonly<Record<string, string>>): void {
    const response = this.#response;
    const { req, socket } = response;
    // Node gives the response of a pipelined request its socket later. HTTP/1.0 has no chunks.
    if (socket === null || req.httpVersion !== '1.1') {
      response.writeHead(status, headers);
      return;
    }
    response.writeHead(status, { ...headers, 'transfer-encoding': 'chunked' });
    // The head goes out together with the writes of the same turn.
    socket.cork();
    this.#clock.nextTick(uncork, socket);
    // Not flushHeaders: it would write non-ASCII characters in UTF-8, and the provider's bytes are in UTF-8 already.
    response.write('', 'latin1');
    this.#headBytes = socket.bytesWritten;
    this.#body = new ChunkedBody(socket);
  }

  start(status: number, headers: Readonly<Record<string, string>>, reason: string): void {
    if (this.isClosed) return;
    const isEvents = headers['content-type']?.toLowerCase().startsWith('text/event-stream') === true;
    const sent = isEvents ? { ...headers, ...unbuffered } : headers;
    // Without a reason phrase, Node's own is sent.
    if (reason === '') this.#response.writeHead(status, sent);
    else this.#response.writeHead(status, reason, sent);
  }

  get isHeldBack(): boolean {
    return this.isBlocked || this.#pause.isTimed;
  }

  /** HTTP has no acknowledgements. */
  get acknowledgedTokens(): undefined {
    return undefined;
  }

  get acknowledgedOffset(): undefined {
    return undefined;
  }

  write({ bytes }: EventRun, _from: number, _to: number): boolean {
    return this.send(bytes);
  }

  hold(run: LargeRun): void {
    if (this.#isSettled) return;
    run.hold();
    this.#large = [...this.#large, run];
  }

  #releaseLarge(): void {
    if (this.#large.length === 0 || (this.isBlocked && !this.#isSettled)) return;
    for (const run of this.#large) run.release();
    this.#large = noLarge;
  }

  /** Adds bytes to the next flush, unchanged. */
  protected send(bytes: Uint8Array): boolean {
    if (this.isClosed) return true;
    return this.#body?.add(bytes) ?? this.#response.write(bytes);
  }

  /** Adds pieces in their order to the next flush and those after it. */
  protected sendPieces(pieces: Pieces): boolean {
    if (this.isClosed) return true;
    this.#pieces = pieces;
    return this.#addPieces();
  }

  /** Adds the pieces of one turn. Returns whether these were the last, and more may be added before the next flush. */
  #addPieces(): boolean {
    let takesMore = true;
    for (let bytes = 0; this.#pieces !== undefined && takesMore && bytes < maxTurnBytes;) {
      const { done, value } = this.#pieces.next();
      if (done === true) this.#pieces = undefined;
      bytes += value.length;
      takesMore = this.send(value);
    }
    return takesMore && this.#pieces === undefined;
  }

  /** The connection has taken what was written. */
  #drained(): void {
    if (this.#pieces === undefined) {
      this.#releaseLarge();
      this.#pause.end();
    } else {
      // A connection that takes everything at once drains within the same turn. The next pieces wait for a later
      // turn.
      this.#goOnSoon();
    }
  }

  #goOnSoon(): void {
    if (!this.#hasTurn) this.#clock.nextTurn(() => this.#goOn());
    this.#hasTurn = true;
  }

  /** Makes and writes more pieces. A wait for the connection ends when all pieces are written. */
  #goOn(): void {
    this.#hasTurn = false;
    if (this.#pieces === undefined || this.#isConnectionBlocked) return;
    this.#addPieces();
    if (this.flush()) this.#pause.end();
  }

  flush(): boolean {
    if (this.isClosed) return true;
    this.#body?.flush();
    this.#releaseLarge();
    this.#lastWriteMs = this.#clock.nowMs();
    this.#pace?.wrote(this.#lastWriteMs, this.#writtenBytes);
    // If the connection is blocked, its drain continues this.
    if (this.#pieces !== undefined && !this.#isConnectionBlocked) this.#goOnSoon();
    return !this.isBlocked;
  }

  delayMs(): number {
    if (this.isClosed) return 0;
    const nowMs = this.#clock.nowMs();
    const linkMs = this.#pace?.delayMs(nowMs) ?? 0;
    return this.#mergeMs === 0 ? linkMs : Math.max(linkMs, this.#lastWriteMs + this.#mergeMs - nowMs);
  }

  drained(): Promise<void> {
    return this.isClosed || !this.isBlocked ? Promise.resolve() : this.#pause.wait();
  }

  rest(delayMs: number): Promise<void> {
    return this.isClosed ? Promise.resolve() : this.#pause.wait(delayMs);
  }

  /** Sends a comment, which clients skip. Call it only between events, so only while nothing is being written. */
  ping(): void {
    if (this.#answersOnly) return;
    this.startEventStream({});
    this.send(ping);
    this.flush();
  }

  complete(): void {
    if (this.isClosed) return;
    this.#body?.flush();
    this.#response.end();
  }

  fail(error: GatewayError): void {
    if (this.isClosed) return;
    this.#body?.flush();
    if (error.code === 'upstream_reported') {
      // The client has got the provider's own error event.
      this.#response.end();
    } else if (!this.#response.headersSent) {
      const { body, headers, reason } = error.answer(this.#format, this.#requestId);
      this.start(error.status, { ...headers, 'content-length': String(body.length) }, reason);
      this.#response.end(body);
    } else if (this.#isEventStream && !this.#answersOnly) {
      this.#response.end(this.#format.errorEvent(asFormatError(error, this.#requestId)));
    } else {
      // Half an answer was sent: only a cut shows that the rest is missing.
      this.#cut();
    }
  }

  close(): void {
    const { socket } = this.#response;
    if (socket === null || this.#isDelimited) this.#response.destroy();
    else tcpOf(socket).resetAndDestroy();
  }

  /**
   * Cuts the connection in the middle of the body, after the bytes that were written. If the client does not take
   * those, its progress check ends the connection.
   */
  #cut(): void {
    const { socket } = this.#response;
    if (socket === null) {
      this.#response.destroy();
      return;
    }
    this.#isCut = true;
    if (this.#isDelimited) socket.destroySoon();
    else socket.write('', () => this.close());
  }

  /**
   * Whether the body itself shows its end. In HTTP/1.0 the connection's end is the body's end, so only a reset shows
   * a cut.
   */
  get #isDelimited(): boolean {
    return this.#response.req.httpVersion === '1.1';
  }

  progress(queues: SendQueues | undefined): { readonly bytes: number; readonly isOwed: boolean } {
    const { socket } = this.#response;
    if (socket === null) return { bytes: 0, isOwed: false };
    const unacknowledgedBytes = queues?.bytesOf(socket) ?? 0;
    // The bytes that the client has acknowledged: those that left this process, less those that the kernel still
    // holds.
    const bytes = socket.bytesWritten - socket.writableLength - unacknowledgedBytes;
    return { bytes, isOwed: this.#isCut || this.isBlocked || unacknowledgedBytes > 0 };
  }

  /**
   * The connection's bytes so far. Until the end of the turn Node keeps writes in the response, which the socket's
   * own count leaves out.
   */
  get #writtenBytes(): number {
    if (this.#body !== undefined) return this.#headBytes + this.#body.writtenBytes;
    const { socket, writableLength } = this.#response;
    return socket === null ? 0 : socket.bytesWritten + writableLength - socket.writableLength;
  }
}

function uncork(socket: Socket): void {
  socket.uncork();
}
