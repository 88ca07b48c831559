import { type Credit, type Gap, openCredit } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { type CutReason, frameOverheadBytes } from '@spillway/core/session';
import { asFormatError, type GatewayError } from '../errors.ts';
import { requestIdHeader } from '../http/request-id.ts';
import { LargeRun } from '../memory/large-run.ts';
import { tokensOf } from '../stream/meter.ts';
import { Pause } from '../sink/pause.ts';
import type { ReaderProgress, ReaderResponse, Waiting } from '../sink/reader-response.ts';
import { holdable } from '../memory/run-memory.ts';
import type { StreamState } from '../stream/stream-body.ts';
import type { SessionLine } from './carrier.ts';
import { FrameCredit } from './frame-credit.ts';
import type { SessionResponseOptions } from './session-response-options.ts';

/** A chunk that was sent and not acknowledged. */
interface Sent {
  readonly from: number;
  readonly to: number;
  readonly bytes: Uint8Array;
  /** The playing time that the chunk takes of the stream's window. */
  readonly ms: number;
  readonly tokens: number;
  large?: LargeRun;
}

type LastFrame =
  | { readonly type: 'end'; readonly state: StreamState; readonly reason?: CutReason }
  | { readonly type: 'error'; readonly code: string; readonly message: string; readonly offset: number };

/**
 * The response to one reader over a session. It outlives its connection. Chunks that were sent and not acknowledged
 * are kept, at most a window. They are sent again to a client that comes back without them.
 * One file, because what is sent, acknowledged and kept is one window, which every frame and the loss of a connection move.
 */
export class SessionResponse implements ReaderResponse {
  /** The reader's own credit. */
  readonly credit: Credit;
  readonly settled: Promise<void>;
  readonly #settle: () => void;
  readonly #options: SessionResponseOptions;
  readonly #sent: Sent[] = [];
  #line: SessionLine | undefined;
  #number = 0;
  #head: { readonly status: number; readonly headers: Readonly<Record<string, string>> } | undefined;
  #isEventStream = false;
  /** An error that the gateway itself puts into the answer, after all chunks. */
  #word: Uint8Array | undefined;
  #last: LastFrame | undefined;
  /** The offset after the last sent chunk or gap; before the first, the reader's start. */
  #offset: number;
  /**
   * The offset after the last acknowledged chunk or gap. Chunks before it are not kept, so no reader can go on before
   * it.
   */
  #goneTo = 0;
  #ackedBytes = 0;
  #ackedTokens = 0;
  #isSettled = false;
  /** Whether the client was told of waiting chunks, and not yet that none wait. */
  #hasLag = false;
  /** Whether the client was told that credit is missing, and has acknowledged nothing since. */
  #isLagTold = false;
  readonly #pause: Pause;

  constructor(options: SessionResponseOptions) {
    this.#options = options;
    this.#pause = new Pause(options.clock);
    const { from = 0, windowBytes, windowMs } = options;
    this.#offset = from;
    this.credit = openCredit(
      windowMs === undefined
        ? { maxBytes: windowBytes, initial: { bytes: windowBytes } }
        : { maxBytes: windowBytes, maxMs: windowMs, initial: { bytes: windowBytes, ms: windowMs } },
    );
    const settled = Promise.withResolvers<void>();
    this.settled = settled.promise;
    this.#settle = settled.resolve;
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  /** The bytes that may be sent and not acknowledged. */
  get windowBytes(): number {
    return this.#options.windowBytes;
  }

  get keptBytes(): number {
    return this.#sent.reduce((sum, { bytes }) => sum + bytes.length + frameOverheadBytes, 0);
  }

  get isDelivered(): boolean {
    return this.#isSettled || (this.hasEnded && this.#sent.length === 0);
  }

  /** Data frames are plain bytes, whatever the headers say. */
  get undoesCodings(): boolean {
    return false;
  }

  get headersSent(): boolean {
    return this.#head !== undefined;
  }

  get isClosed(): boolean {
    return this.#isSettled || this.#last !== undefined;
  }

  get isBlocked(): boolean {
    return this.#line?.isBlocked ?? false;
  }

  get untakenBytes(): number {
    return this.#line?.untakenBytes ?? 0;
  }

  get isHeldBack(): boolean {
    return this.isBlocked || this.#pause.isTimed;
  }

  get acknowledgedOffset(): number {
    return this.#goneTo;
  }

  get acknowledgedTokens(): number {
    return this.#ackedTokens;
  }

  /** Whether the last frame was sent, so that only acknowledgements are missing. */
  get hasEnded(): boolean {
    return this.#last !== undefined;
  }

  /**
   * Goes on over a connection, under that number, from `offset`. The client has consumed everything before `acked`.
   * Returns `false`, and sends nothing, if that is impossible: chunks from the offset on are gone, or cost more than
   * the connection's window.
   */
  bind(line: SessionLine, number: number, offset: number, acked: number): boolean {
    // The acknowledgement itself may have been lost with the old connection.
    if (this.#sent.some(({ to }) => to === acked)) this.ack(acked);
    if (!this.#canGoOnAt(offset)) return false;
    let spentBytes = 0;
    for (const { bytes } of this.#sent) {
      const cost = this.#lineCostOf(bytes, line);
      if (!line.credit.spend(0, cost)) {
        line.credit.grant({ bytes: spentBytes });
        return false;
      }
      spentBytes += cost;
    }
    this.#line = line;
    this.#number = number;
    if (this.#head !== undefined) this.#sendHead(this.#head);
    for (const { bytes, from, large, to } of this.#sent) {
      if (from >= offset) line.sendData(number, from, to, bytes, large);
    }
    this.#sendWord();
    this.#sendLast();
    return true;
  }

  /**
   * The connection is gone, or another one takes over. After a takeover the old connection gets no credit back,
   * because sent chunks may still wait in it. So each connection is sent at most one window, even if a client goes to
   * and fro between two.
   */
  unbind({ isTakenOver = false }: { readonly isTakenOver?: boolean } = {}): void {
    const line = this.#line;
    if (line === undefined) return;
    this.#line = undefined;
    this.#isLagTold = false;
    if (!isTakenOver) {
      const spentBytes = this.#sent.reduce((sum, { bytes }) => sum + this.#lineCostOf(bytes, line), 0);
      line.credit.grant({ bytes: spentBytes });
    }
    this.resume();
  }

  /** The client has consumed everything before the offset. Returns `false` if no sent chunk ends there. */
  ack(offset: number): boolean {
    const index = this.#sent.findIndex(({ to }) => to === offset);
    if (index === -1) return false;
    this.#goneTo = Math.max(this.#goneTo, offset);
    this.#isLagTold = false;
    const line = this.#line;
    let tokens = 0;
    let spentBytes = 0;
    let spentMs = 0;
    let spentOfLineBytes = 0;
    for (const { bytes, large, ms, tokens: sent } of this.#sent.splice(0, index + 1)) {
      large?.release();
      this.#ackedBytes += bytes.length + frameOverheadBytes;
      tokens += sent;
      spentBytes += costOf(bytes, this.#options.windowBytes);
      spentMs += ms;
      if (line !== undefined) spentOfLineBytes += this.#lineCostOf(bytes, line);
    }
    // One grant for all chunks: each grant wakes the readers that wait for it, and a connection's grant wakes all its
    // readers.
    this.credit.grant({ bytes: spentBytes, ms: spentMs });
    line?.credit.grant({ bytes: spentOfLineBytes });
    this.#ackedTokens += tokens;
    this.#options.onAck(tokens);
    return true;
  }

  /** The client has consumed every sent chunk. */
  ackAll(): void {
    const last = this.#sent.at(-1);
    if (last !== undefined) this.ack(last.to);
  }

  /** Sends the client its lag: the chunks that wait in the gateway. The last such frame says that none wait. */
  tellLag({ waitingBytes, waitingItems }: Waiting): void {
    if (this.isBlocked || (waitingItems === 0 && !this.#hasLag)) return;
    this.#hasLag = waitingItems > 0;
    this.#line?.send({ type: 'lag', stream: this.#number, items: waitingItems, bytes: waitingBytes });
  }

  /** Sends the lag at once. A client that has consumed everything then acknowledges without delay. */
  creditBlocked(reader: Waiting): void {
    if (this.#isLagTold || this.isClosed) return;
    this.#isLagTold = true;
    this.tellLag(reader);
  }

  /** The connection has taken what was written, or another connection has come. */
  resume(): void {
    this.#pause.end();
  }

  startEventStream(headers: Readonly<Record<string, string>>): void {
    if (this.#head !== undefined || this.isClosed) return;
    this.#isEventStream = true;
    this.start(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8' });
  }

  start(status: number, headers: Readonly<Record<string, string>>): void {
    if (this.isClosed) return;
    const { requestId } = this.#options;
    const id = requestId === undefined ? {} : { [requestIdHeader]: requestId };
    this.#head = { status, headers: { ...headers, ...id } };
    this.#sendHead(this.#head);
  }

  write(run: EventRun, from: number, to: number): boolean {
    if (this.isClosed) return true;
    // A chunk that is not acknowledged may be kept for long.
    const bytes = holdable(run.bytes);
    this.#sent.push({ from, to, bytes, ms: this.#msOf(run), tokens: tokensOf(run) });
    this.#offset = to;
    this.#line?.sendData(this.#number, from, to, bytes, run instanceof LargeRun ? run : undefined);
    return !this.isBlocked;
  }

  hold(run: LargeRun): void {
    const sent = this.#sent.at(-1);
    if (this.isClosed || sent?.bytes !== run.bytes) return;
    run.hold();
    sent.large = run;
  }

  flush(): boolean {
    return !this.isBlocked;
  }

  gap({ bytes, from, reason, to }: Gap): void {
    this.#offset = to;
    this.#goneTo = to;
    this.#line?.send({ type: 'gap', stream: this.#number, from, to, bytes, reason });
  }

  delayMs(): number {
    return this.isClosed ? 0 : (this.#line?.delayMs() ?? 0);
  }

  drained(): Promise<void> {
    return this.isClosed || !this.isBlocked ? Promise.resolve() : this.#pause.wait();
  }

  rest(delayMs: number): Promise<void> {
    return this.isClosed ? Promise.resolve() : this.#pause.wait(delayMs);
  }

  /** Sends nothing: the session keeps its connection alive. */
  ping(): void {}

  complete(cutBy?: CutReason): void {
    if (cutBy === undefined) this.#finish({ type: 'end', state: 'completed' });
    else this.#finish({ type: 'end', state: 'cancelled', reason: cutBy });
  }

  fail(error: GatewayError): void {
    if (this.isClosed) return;
    const { format, streamRequestId } = this.#options;
    const state = error.isCancel ? 'cancelled' : 'failed';
    if (error.code === 'upstream_reported') {
      // The client has got the provider's own error event as a chunk.
    } else if (
      (this.#head === undefined && !this.#options.answersErrors) ||
      ['history_gone', 'reader_disconnected', 'reader_stalled'].includes(error.code)
    ) {
      this.#finish(this.#errorFrame(error));
      return;
    } else if (this.#head === undefined) {
      const { body, headers } = error.answer(format, streamRequestId?.());
      this.start(error.status, headers);
      this.#word = body;
    } else if (this.#isEventStream && this.#options.answersOnly !== true) {
      this.#word = format.errorEvent(asFormatError(error, streamRequestId?.()));
    } else {
      this.#finish(this.#errorFrame(error));
      return;
    }
    this.#sendWord();
    this.#finish({ type: 'end', state });
  }

  /** Closes the response: no client will come back for the rest. With a reason, the client is told it. */
  close(reason?: GatewayError): void {
    if (reason !== undefined && this.#last === undefined) this.#finish(this.#errorFrame(reason));
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.unbind();
    for (const { large } of this.#sent.splice(0)) large?.release();
    this.credit.close();
    this.#settle();
    this.#options.onClose();
  }

  /**
   * The progress of acknowledgements. A session that answers no pings is ended, so a line here means a client that
   * answers.
   */
  progress(): ReaderProgress {
    const holdsCredit = this.#line !== undefined && !this.isBlocked;
    return { bytes: this.#ackedBytes, isOwed: this.#sent.length > 0, holdsCredit };
  }

  /** The connection's credit, as this stream may spend it. */
  creditOf(line: SessionLine): Credit {
    return new FrameCredit(line, this.#askedWindowBytes);
  }

  get #askedWindowBytes(): number {
    return this.#options.askedWindowBytes ?? this.#options.windowBytes;
  }

  /**
   * Whether every chunk from the offset on is kept: at the start, at either end of a sent chunk, or after all of
   * them.
   */
  #canGoOnAt(offset: number): boolean {
    if (offset < this.#goneTo) return false;
    const isStart = offset <= (this.#sent[0]?.from ?? this.#offset);
    return (
      isStart ||
      offset === this.#offset ||
      this.#sent.some(({ from, to }) => from === offset || to === offset)
    );
  }

  /**
   * The part of the time window that a chunk costs; 0 without a time window. Cost ≤ windowMs always, so that a longer
   * chunk can be sent.
   */
  #msOf(run: EventRun): number {
    const { durationMs, windowMs } = this.#options;
    return windowMs === undefined || durationMs === undefined ? 0 : Math.min(durationMs(run), windowMs);
  }

  #lineCostOf(bytes: Uint8Array, { windowBytes }: SessionLine): number {
    return costOf(bytes, Math.min(this.#askedWindowBytes, windowBytes));
  }

  #errorFrame({ code, message }: GatewayError): LastFrame {
    return { type: 'error', code, message, offset: this.#offset };
  }

  #sendHead({ headers, status }: { status: number; headers: Readonly<Record<string, string>> }): void {
    const url = this.#isEventStream ? this.#options.url() : '';
    this.#line?.send({ type: 'response', stream: this.#number, url, status, headers });
  }

  #sendWord(): void {
    if (this.#word !== undefined) this.#line?.sendData(this.#number, this.#offset, this.#offset, this.#word);
  }

  #sendLast(): void {
    if (this.#last !== undefined) this.#line?.send({ ...this.#last, stream: this.#number });
  }

  #finish(last: LastFrame): void {
    if (this.isClosed) return;
    this.#last = last;
    this.#sendLast();
    this.resume();
  }
}

/** The part of a window that a frame costs. Cost ≤ windowBytes always, so that a larger frame can be sent. */
function costOf(bytes: Uint8Array, windowBytes: number): number {
  return Math.min(bytes.length + frameOverheadBytes, windowBytes);
}
