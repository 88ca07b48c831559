import { type Credit, type Gap, openCredit, type Overflow, type Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { awaitsChunk } from './awaits-chunk.ts';
import type { Bookmark } from './bookmarks.ts';
import { asGatewayError, clientLeft, fellBehind, GatewayError } from '../errors.ts';
import { cutReasonOf } from '../limit/limit-error.ts';
import { LargeRun } from '../memory/large-run.ts';
import { type StallCause, tokensOf } from './meter.ts';
import type { BodyHold } from '../memory/request-memory.ts';
import { patientProgress, Progress } from '../sink/progress.ts';
import type { ReaderResponse } from '../sink/reader-response.ts';
import type { SendQueues } from '../sink/send-queues.ts';
import { writeEvents, type WriteListener } from '../sink/write-events.ts';
import type { ServerClock } from '../time/server-clock.ts';
import type { ReadStream, ReaderVia, StreamReaderOptions } from './read-stream.ts';
import type { StreamDeadlines } from './stream-body.ts';

/** What became of a reader: it got everything, it left, it was ended for a stall, or it got an error. */
export type ReaderEndReason = 'delivered' | 'failed' | 'left' | 'stalled';

/**
 * One reader of a stream. Takes chunks from the channel and writes them to a response, until the stream or the reader
 * ends. One file, because each of the reader's ends (left, stalled, lost, done) has to undo what the others began.
 */
export class ServedReader implements WriteListener {
  /** The first reader of a stream is 1. */
  readonly number: number;
  readonly via: ReaderVia;
  readonly address: string;
  /** The id of the request that opened the reader; `undefined`: it has none. */
  readonly requestId: string | undefined;
  readonly response: ReaderResponse;
  /** The tokens that were written to this reader. `mergedEvents`: the events of these that were merged into others. */
  tokens = 0;
  mergedEvents = 0;
  gaps = 0;
  lostTokens = 0;
  /** The offset behind the last chunk that was written to this reader. Known when it is done; `undefined`: it got none. */
  deliveredOffset: number | undefined;
  readonly #stream: ReadStream<ServedReader>;
  readonly #options: StreamReaderOptions;
  readonly #deadlines: StreamDeadlines;
  readonly #clock: ServerClock;
  readonly #progress: Progress;
  /** Progress of a reader with credit, measured against `pauseMs` instead of `stallTimeoutMs`. */
  readonly #patience: Progress | undefined;
  /** A place among the paused readers. Held while this reader holds back its credit for longer than `stallTimeoutMs`. */
  #pause: BodyHold | undefined;
  #bytesAtPause = 0;
  #credit: readonly Credit[];
  #reader: Reader<EventRun | Gap> | undefined;
  #left: GatewayError | undefined;
  /** The error that the reader was told. */
  #told: GatewayError | undefined;
  #lastSentMs: number;
  /** When the connection was lost; `undefined`: the reader is connected. */
  #lostMs: number | undefined;

  constructor(
    stream: ReadStream<ServedReader>,
    number: number,
    response: ReaderResponse,
    options: StreamReaderOptions,
    deadlines: StreamDeadlines,
    clock: ServerClock,
  ) {
    this.#stream = stream;
    this.number = number;
    this.via = options.via ?? 'http';
    this.address = options.address ?? '';
    this.requestId = options.requestId;
    this.response = response;
    this.#options = options;
    this.#deadlines = deadlines;
    this.#progress = new Progress(deadlines);
    if (options.credit !== undefined) this.#patience = patientProgress(deadlines);
    this.#credit = options.credit ?? [];
    this.#clock = clock;
    this.#lastSentMs = clock.nowMs();
  }

  /** Whether the connection is gone, and the reader may come back. */
  get isLost(): boolean {
    return this.#lostMs !== undefined;
  }

  /**
   * Whether the client holds back credit, and takes nothing, for longer than `stallTimeoutMs`. A paused reader is
   * kept for `pauseMs`.
   */
  get isPaused(): boolean {
    return this.#pause !== undefined;
  }

  /** Why the reader has ended before it had everything; `undefined`: it has not. */
  get endError(): GatewayError | undefined {
    return this.#told ?? this.#left;
  }

  /** The bytes that wait for this reader in the channel. */
  get waitingBytes(): number {
    return this.#reader?.waitingBytes ?? 0;
  }

  /** The chunks that wait for this reader in the channel. */
  get waitingItems(): number {
    return this.#reader?.waitingItems ?? 0;
  }

  /** Whether a chunk waits for this reader that no tap holds back. */
  get #hasDue(): boolean {
    return this.waitingBytes > 0 && !this.#stream.gates.holdBack(this.#reader?.offset ?? 0);
  }

  /** The age of the oldest chunk that waits for this reader. */
  get waitingMs(): number {
    return this.#reader?.ageMs ?? 0;
  }

  /** What happens when this reader falls behind. */
  get overflow(): Overflow {
    return this.#options.overflow ?? this.#stream.overflow;
  }

  /** The bytes that may wait for this reader. */
  get maxWaitingBytes(): number {
    return Math.min(this.#options.maxBytes ?? Infinity, this.#stream.windowBytes);
  }

  /**
   * The bytes that one run of several events may have for this reader: the smaller of its own bound and its credit
   * window.
   */
  get maxRunBytes(): number {
    const { maxBytes = Infinity } = this.#options;
    return Math.min(maxBytes, this.maxCreditBytes ?? Infinity);
  }

  /** Whether this reader has yet to take the chunk at `offset`. `oldestOffset`: the channel's oldest chunk. */
  awaits(offset: number, oldestOffset: number): boolean {
    return awaitsChunk(this.#reader, this.overflow, offset, oldestOffset);
  }

  /**
   * The bytes that may be sent now: the smallest of all credit windows; `undefined`: the reader has no credit
   * windows.
   */
  get creditBytes(): number | undefined {
    if (this.#credit.length === 0) return undefined;
    return Math.min(...this.#credit.map(({ available }) => available.bytes));
  }

  /** The bytes of the smallest full credit window: no more is ever sent at once. */
  get maxCreditBytes(): number | undefined {
    if (this.#credit.length === 0) return undefined;
    return Math.min(...this.#credit.map(({ max }) => max.bytes));
  }

  /** Why the waiting chunks are not written; `undefined`: no chunk waits, or the next write is about to happen. */
  get waitsFor(): StallCause | undefined {
    if (this.isLost) return 'connection_lost';
    if (this.waitingItems === 0) return undefined;
    if (!this.#hasDue) return 'tap';
    if (this.response.isHeldBack) return 'link';
    return this.#credit.length > 0 ? 'credit' : undefined;
  }

  /**
   * The stream has a body, so the cursor can be opened. An error here is ignored: `serve` meets it again and reports
   * it.
   */
  begin(): void {
    if (this.#left !== undefined || this.#reader !== undefined) return;
    // A log that is kept elsewhere has to find out first where it is.
    if (this.#stream.body?.log.refresh !== undefined) return;
    try {
      this.#reader = this.#openReader();
    } catch {}
  }

  /** Writes the stream until the stream or the reader ends. Errors go to the reader. Rejects only if that fails, too. */
  async serve(): Promise<ReaderEndReason> {
    const { response } = this;
    try {
      await this.#stream.started;
      const { log } = this.#stream.body ?? {};
      if (log?.refresh !== undefined) await log.refresh();
      if (this.#left === undefined) await this.#write();
    } catch (thrown) {
      const error = asGatewayError(this.#left ?? thrown);
      this.#told = error;
      // The provider was asked already, and a retry by the client would ask it again.
      if (this.#stream.isAnswered && !error.isCancel) error.isFinal = true;
      // The stream's own internal error is a GatewayError already (error === thrown), and is logged where the stream ends.
      if (error.code === 'internal_error' && error !== thrown) this.#stream.defect('reader', thrown);
      try {
        response.fail(error);
      } catch (failed) {
        // A connection that did not get the error would stay open.
        this.#stream.defect('reader', failed);
        response.close(error);
      }
      // With a head, the client has got all of it; a session may have told it the error alone.
      const isAnswered = error.isAnswer && response.headersSent;
      await this.#handedOver();
      if (isAnswered && this.#left === undefined) return this.#gotRefusal();
      return reasonOf(this.#left) ?? reasonOf(error) ?? 'failed';
    }
    await this.#handedOver();
    return reasonOf(this.#left) ?? 'delivered';
  }

  #gotRefusal(): ReaderEndReason {
    this.deliveredOffset = this.#stream.log?.nextOffset;
    return 'delivered';
  }

  async #write(): Promise<void> {
    let reader: Reader<EventRun | Gap>;
    do {
      reader = this.#open();
      await writeEvents(reader, this.response, this, this.#clock);
      // Another cursor means that the reader came back over a new connection.
    } while (reader !== this.#reader);
    this.#end(reader);
  }

  /**
   * The reader needs the channel no more. A slow client may still have bytes to receive, so its progress is watched
   * until the response settles.
   */
  #handedOver(): Promise<void> {
    this.deliveredOffset = this.#reader?.offset;
    this.#reader?.detach();
    this.#reader = undefined;
    this.#stream.checkDelivered();
    return this.response.settled;
  }

  /**
   * Detaches the reader. Chunks that wait for it are not sent. `mayReturn`: the client may come back as another
   * reader.
   */
  detach(reason: GatewayError, mayReturn = this.#options.returns === true): void {
    if (this.#left !== undefined) return;
    this.#left = reason;
    // Listeners call this: a throw would end the process.
    try {
      this.#reader?.detach();
      this.#stream.detached(this, reason, mayReturn);
    } catch (error) {
      this.#stream.defect('leave of a reader', error);
      this.response.close(asGatewayError(error));
    }
  }

  /** Detaches the reader, and ends its response at once: its client is not to come back as this reader. */
  close(reason: GatewayError): void {
    this.detach(reason, false);
    this.response.close(reason);
  }

  /** Ends the reader after what it has got. The client may come back. */
  complete(): void {
    this.#reader?.detach();
  }

  /** The connection is gone, and the client may come back. */
  connectionLost(nowMs: number): void {
    this.#lostMs = nowMs;
    this.endPause();
    this.#stream.journal.add('reader_lost', this.number);
  }

  /**
   * The client is back over a new connection, with new credit. The old connection's credit is void. So the reader
   * gets a new cursor at the same offset.
   */
  resumed(credit: readonly Credit[]): void {
    this.#lostMs = undefined;
    this.#credit = credit;
    this.#stream.journal.add('reader_resumed', this.number);
    const before = this.#reader;
    if (before === undefined || before.end !== undefined) return;
    this.#reader = this.#stream.openReader({ ...this.#whenBlocked, credit, from: before.offset });
    before.detach();
  }

  /** Keeps a silent connection alive, and ends a reader that does not come back. */
  tick(nowMs: number, graceMs: number): void {
    const { response } = this;
    if (this.#lostMs !== undefined) {
      if (nowMs - this.#lostMs < graceMs) return;
      this.close(clientLeft(`did not come back within ${graceMs} ms (detachGraceMs)`));
      return;
    }
    // Comments may stand only in an event stream. The body says whether the answer is one. Before there is a body,
    // the request says it.
    const { isEvents = this.#options.wantsEvents === true } = this.#stream.body ?? {};
    if (!isEvents || response.isClosed || response.isBlocked || this.#hasDue) return;
    if (nowMs - this.#lastSentMs < this.#deadlines.keepAliveMs) return;
    response.ping();
    this.#stream.hasEventsBegun ||= response.headersSent;
    this.#lastSentMs = nowMs;
  }

  /** Ends the reader if it makes no progress, or too little. A reader that holds back its credit is paused first. */
  checkProgress(nowMs: number, queues: SendQueues | undefined): void {
    const { response } = this;
    if (response.isSettled || this.#lostMs !== undefined) return;
    const { bytes, holdsCredit = false, isOwed } = response.progress(queues);
    const isDue = isOwed || this.#hasDue;
    const verdict = this.#progress.observe(nowMs, bytes, isDue);
    const isOverdue = this.#patience?.observe(nowMs, bytes, isDue) !== undefined;
    if (!isDue || bytes > this.#bytesAtPause) this.endPause();
    if (isOverdue) {
      const { pauseMs } = this.#deadlines;
      const what = holdsCredit ? 'held back its credit' : 'took nothing, or too little';
      // A client that answers may come back when its program goes on.
      const mayReturn = holdsCredit && this.#options.returns === true;
      const kept = mayReturn && this.#takePause(bytes) && this.#leaveBookmark(nowMs) ? this.#howLongKept : '';
      this.#detachStalled(`The reader ${what} for ${pauseMs} ms (pauseMs).${kept}`, mayReturn);
    } else if (verdict !== undefined && !(holdsCredit && this.#takePause(bytes))) {
      const { minBytesPerSecond, stallTimeoutMs } = this.#deadlines;
      const why =
        verdict === 'no_progress'
          ? `The reader took nothing for ${stallTimeoutMs} ms (stallTimeoutMs)`
          : `The reader took less than ${minBytesPerSecond} bytes a second (minBytesPerSecond)`;
      const more = holdsCredit ? ', and its client has too many that are paused' : '';
      this.#detachStalled(`${why}${more}.`, false);
    }
  }

  /** The reader is not paused, or no longer. */
  endPause(): void {
    this.#pause?.release();
    this.#pause = undefined;
  }

  #takePause(bytes: number): boolean {
    this.#bytesAtPause = bytes;
    this.#pause ??= this.#stream.openPause();
    return this.isPaused;
  }

  get #howLongKept(): string {
    const { detachGraceMs } = this.#deadlines;
    if (this.#stream.end !== undefined) return ' Its position is kept for as long as the stream (retainMs).';
    if (this.overflow === 'disconnect')
      return ' Its position is kept while its window holds what follows (windowBytes).';
    return ` Its position is kept for ${detachGraceMs} ms (detachGraceMs).`;
  }

  /**
   * Leaves a bookmark where the reader stands, if its policy allows no loss: it can read on from there. Returns
   * whether it did.
   */
  #leaveBookmark(nowMs: number): boolean {
    const reader = this.#reader;
    const place = this.#pause;
    if (reader === undefined || place === undefined || reader.end !== undefined) return false;
    const { maxCreditBytes, maxRunBytes, overflow } = this;
    const stream = this.#stream;
    const isStopped =
      stream.detach === 'cancel' && stream.end === undefined && stream.audience.readers.size === 1;
    if (!['block', 'coalesce', 'disconnect'].includes(overflow) || isStopped) return false;
    // Waiting chunks must not become larger than what can be sent. A new credit, because the reader's own would keep
    // its connection alive.
    const credit = maxCreditBytes === undefined ? [] : [openCredit({ maxBytes: maxCreditBytes })];
    const options = { ...this.#options, credit };
    const openAt: Bookmark['openAt'] = (from, how) => stream.openReader({ ...options, from, overflow: how });
    const { name } = this.#options;
    const { offset } = reader;
    stream.audience.bookmarks.add({ name, offset, overflow, openAt, maxRunBytes, place }, nowMs);
    this.#pause = undefined;
    return true;
  }

  #detachStalled(message: string, mayReturn: boolean): void {
    const reason = new GatewayError('reader_stalled', message);
    this.detach(reason, mayReturn);
    this.response.close(reason);
  }

  #open(): Reader<EventRun | Gap> {
    this.#reader ??= this.#openReader();
    if (this.#options.returns === true) this.start();
    return this.#reader;
  }

  /** The reader's options, with a listener that tells the client when credit is missing. */
  get #whenBlocked(): StreamReaderOptions {
    if (this.response.creditBlocked === undefined) return this.#options;
    const onCreditBlocked = (): void => {
      if (this.#reader !== undefined) this.response.creditBlocked?.(this.#reader);
    };
    return { ...this.#options, onCreditBlocked };
  }

  #openReader(): Reader<EventRun | Gap> {
    const { from = 'start', name } = this.#options;
    const reader = this.#stream.openReader({ ...this.#whenBlocked, credit: this.#credit, from });
    if (name !== undefined) this.#stream.audience.bookmarks.cameBack(name);
    return reader;
  }

  /** The cursor has ended: ends the response, or throws why. */
  #end({ end }: Reader<EventRun | Gap>): void {
    if (end?.state === 'detached' && this.#left !== undefined) throw this.#left;
    if (end?.state === 'disconnected') throw fellBehind(end.offset);
    const cutBy = end?.state === 'cut' ? cutReasonOf(end.error) : undefined;
    if (end !== undefined && 'error' in end && cutBy === undefined) throw end.error;
    this.start();
    this.response.complete(cutBy);
  }

  start(): void {
    const { body } = this.#stream;
    if (body === undefined) return;
    if (body.isEvents) this.response.startEventStream(body.headers);
    else if (!this.response.headersSent) this.response.start(body.status, body.headers, body.reason);
  }

  written(run: EventRun): void {
    this.#lastSentMs = this.#clock.nowMs();
    this.tokens += tokensOf(run);
    this.mergedEvents += run.mergedEvents ?? 0;
    if (run instanceof LargeRun) this.response.hold(run);
    this.#stream.sent(run);
  }

  lost(gap: Gap): void {
    this.gaps += 1;
    this.lostTokens += gap.to - gap.from;
    this.#stream.lost(this, gap);
  }

  delayMs(): number {
    const { body } = this.#stream;
    // After the stream's end no more chunks come to merge with, so a delay gains nothing.
    if (body?.format === undefined || body.log.end !== undefined) return 0;
    return this.response.delayMs();
  }
}

function reasonOf(error: GatewayError | undefined): ReaderEndReason | undefined {
  switch (error?.code) {
    case 'client_left':
      return 'left';
    case 'reader_stalled':
      return 'stalled';
    default:
      return undefined;
  }
}
