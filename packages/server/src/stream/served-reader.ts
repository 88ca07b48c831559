import { type Credit, type Gap, openCredit, type Overflow, type Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { Bookmark } from './bookmarks.ts';
import { asGatewayError, clientLeft, fellBehind, GatewayError } from '../errors.ts';
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

/** What became of a reader: it got everything, it left, it was let go, or it was told of an error. */
export type ReaderEndReason = 'delivered' | 'failed' | 'left' | 'stalled';

/** One reader of a stream: takes from its channel, and writes to a response, to the end of either. */
export class ServedReader implements WriteListener {
  /** 1 for the first of its stream. */
  readonly number: number;
  readonly via: ReaderVia;
  readonly address: string;
  readonly response: ReaderResponse;
  /** What was written to it, in tokens, and how many of their events became part of others. */
  tokens = 0;
  mergedEvents = 0;
  gaps = 0;
  lostTokens = 0;
  readonly #stream: ReadStream<ServedReader>;
  readonly #options: StreamReaderOptions;
  readonly #deadlines: StreamDeadlines;
  readonly #clock: ServerClock;
  readonly #progress: Progress;
  /** The same for one that holds back its credit: with more patience, and with an end. */
  readonly #patience: Progress | undefined;
  /** While it holds back its credit for longer than others may take. */
  #pause: BodyHold | undefined;
  #bytesAtPause = 0;
  #credit: readonly Credit[];
  #reader: Reader<EventRun | Gap> | undefined;
  #left: GatewayError | undefined;
  #lastSentMs: number;
  /** When its connection was lost; `undefined`: it has one. */
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
    this.response = response;
    this.#options = options;
    this.#deadlines = deadlines;
    this.#progress = new Progress(deadlines);
    if (options.credit !== undefined) this.#patience = patientProgress(deadlines);
    this.#credit = options.credit ?? [];
    this.#clock = clock;
    this.#lastSentMs = clock.nowMs();
  }

  /** Whether its connection is gone, and it may come back. */
  get isLost(): boolean {
    return this.#lostMs !== undefined;
  }

  /** Its program holds back its credit, and takes nothing, for longer than `stallTimeoutMs`: it is not let go before `pauseMs`. */
  get isPaused(): boolean {
    return this.#pause !== undefined;
  }

  /** The bytes that wait for it in the channel. */
  get waitingBytes(): number {
    return this.#reader?.waitingBytes ?? 0;
  }

  /** The chunks that wait for it in the channel. */
  get waitingItems(): number {
    return this.#reader?.waitingItems ?? 0;
  }

  /** The age of the oldest chunk that it has not got. */
  get waitingMs(): number {
    return this.#reader?.ageMs ?? 0;
  }

  /** What happens when it falls behind. */
  get overflow(): Overflow {
    return this.#options.overflow ?? this.#stream.overflow;
  }

  /** The bytes that may wait for it. */
  get maxWaitingBytes(): number {
    return Math.min(this.#options.maxBytes ?? Infinity, this.#stream.windowBytes);
  }

  /** The most that may come to it at once, of several events: the smallest of its bounds. */
  get maxRunBytes(): number {
    const { maxBytes = Infinity } = this.#options;
    return Math.min(maxBytes, this.maxCreditBytes ?? Infinity);
  }

  /** Whether it has yet to take the chunk at that offset, of a channel whose oldest chunk has the other one. */
  awaits(offset: number, oldestOffset: number): boolean {
    const reader = this.#reader;
    if (reader === undefined || reader.end !== undefined) return false;
    if (offset >= Math.max(reader.offset, oldestOffset)) return true;
    // It keeps what waits for itself, and the channel does not.
    const isKept = this.overflow === 'drop-newest' && offset >= reader.offset;
    return isKept && offset < reader.offset + reader.waitingItems;
  }

  /** What may be sent to it now: of all its windows, the smallest; `undefined`: it has none. */
  get creditBytes(): number | undefined {
    if (this.#credit.length === 0) return undefined;
    return Math.min(...this.#credit.map(({ available }) => available.bytes));
  }

  /** The most that may be sent to it without its grant. */
  get maxCreditBytes(): number | undefined {
    if (this.#credit.length === 0) return undefined;
    return Math.min(...this.#credit.map(({ max }) => max.bytes));
  }

  /** What keeps from it what waits for it; `undefined`: nothing waits, or it is just about to be written. */
  get waitsFor(): StallCause | undefined {
    if (this.isLost) return 'connection_lost';
    if (this.waitingItems === 0) return undefined;
    if (this.response.isHeldBack) return 'link';
    return this.#credit.length > 0 ? 'credit' : undefined;
  }

  /** Its stream has a body. A reader for which it cannot be opened is told when it is written. */
  begin(): void {
    if (this.#left !== undefined || this.#reader !== undefined) return;
    try {
      this.#reader = this.#openReader();
    } catch {}
  }

  /** Writes the stream, to its end or the reader's. Every error is told to the reader; it rejects only if that fails. */
  async serve(): Promise<ReaderEndReason> {
    const { response } = this;
    try {
      await this.#stream.started;
      if (this.#left === undefined) await this.#write();
    } catch (thrown) {
      const error = asGatewayError(this.#left ?? thrown);
      // An error of the stream's is told where the stream ends.
      if (this.#stream.isAnswered && !error.isCancel) error.isFinal = true;
      if (error.code === 'internal_error' && error !== thrown) this.#stream.defect('reader', thrown);
      try {
        response.fail(error);
      } catch (failed) {
        // A connection that cannot even be told of it would stay open.
        this.#stream.defect('reader', failed);
        response.destroy(error);
      }
      await this.#handedOver();
      return reasonOf(this.#left) ?? reasonOf(error) ?? 'failed';
    }
    await this.#handedOver();
    return reasonOf(this.#left) ?? 'delivered';
  }

  async #write(): Promise<void> {
    let reader: Reader<EventRun | Gap>;
    do {
      reader = this.#open();
      await writeEvents(reader, this.response, this, this.#clock);
      // With another one, it came back over a new connection.
    } while (reader !== this.#reader);
    this.#end(reader);
  }

  /** It needs the stream no more. What was handed over may still have to reach a slow client, whose progress is watched on. */
  #handedOver(): Promise<void> {
    this.#reader?.detach();
    this.#reader = undefined;
    this.#stream.checkDelivered();
    return this.response.settled;
  }

  /** It goes, and what waits for it does not matter any more. `mayReturn`: it may come back as another reader. */
  detach(reason: GatewayError, mayReturn = this.#options.returns === true): void {
    if (this.#left !== undefined) return;
    this.#left = reason;
    // Called by listeners, where a throw would end the process.
    try {
      this.#reader?.detach();
      this.#stream.detached(this, reason, mayReturn);
    } catch (error) {
      this.#stream.defect('leave of a reader', error);
      this.response.destroy(asGatewayError(error));
    }
  }

  /** It gets no more than it has got; it may come back. */
  finish(): void {
    this.#reader?.detach();
  }

  /** Its connection is gone, and it may come back. */
  connectionLost(nowMs: number): void {
    this.#lostMs = nowMs;
    this.endPause();
    this.#stream.journal.add('reader_lost', this.number);
  }

  /**
   * It is there again, with credit of its new connection. What the old one granted is void, so it takes up
   * the stream with a cursor of its own at the same place.
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

  /** Keeps a silent connection alive, and lets go of a reader that does not come back. */
  tick(nowMs: number, graceMs: number): void {
    const { response } = this;
    if (this.#lostMs !== undefined) {
      if (nowMs - this.#lostMs < graceMs) return;
      const reason = clientLeft(`did not come back within ${graceMs} ms (detachGraceMs)`);
      this.detach(reason, false);
      response.destroy(reason);
      return;
    }
    // Who asked in a way that only the provider understands, got events; comments have no place in an answer that is none, although
    // they were wanted.
    const { isEvents = this.#options.wantsEvents === true } = this.#stream.body ?? {};
    if (!isEvents || response.isClosed || response.isBlocked || this.waitingBytes > 0) return;
    if (nowMs - this.#lastSentMs < this.#deadlines.keepAliveMs) return;
    response.ping();
    this.#stream.hasEventsBegun ||= response.headersSent;
    this.#lastSentMs = nowMs;
  }

  /** Lets the reader go if it makes no progress, or too little. One that holds back its credit is paused before. */
  checkProgress(nowMs: number, queues: SendQueues | undefined): void {
    const { response } = this;
    if (response.isSettled || this.#lostMs !== undefined) return;
    const { bytes, holdsCredit = false, isOwed } = response.progress(queues);
    const isDue = isOwed || this.waitingBytes > 0;
    const verdict = this.#progress.observe(nowMs, bytes, isDue);
    const isOverdue = this.#patience?.observe(nowMs, bytes, isDue) !== undefined;
    if (!isDue || bytes > this.#bytesAtPause) this.endPause();
    if (isOverdue) {
      const { pauseMs } = this.#deadlines;
      const what = holdsCredit ? 'held back its credit' : 'took nothing, or too little';
      // Whoever answers may come back when its program goes on.
      const mayReturn = holdsCredit && this.#options.returns === true;
      const kept = mayReturn && this.#takePause(bytes) && this.#leaveBookmark(nowMs) ? this.#howLongKept : '';
      this.#letGo(`The reader ${what} for ${pauseMs} ms (pauseMs).${kept}`, mayReturn);
    } else if (verdict !== undefined && !(holdsCredit && this.#takePause(bytes))) {
      const { minBytesPerSecond, stallTimeoutMs } = this.#deadlines;
      const why =
        verdict === 'no_progress'
          ? `The reader took nothing for ${stallTimeoutMs} ms (stallTimeoutMs)`
          : `The reader took less than ${minBytesPerSecond} bytes a second (minBytesPerSecond)`;
      const more = holdsCredit ? ', and its client has too many that are paused' : '';
      this.#letGo(`${why}${more}.`, false);
    }
  }

  /** It is not paused, or not any more. */
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
    if (this.#stream.end !== undefined) return ' Its place is kept for as long as the stream (retainMs).';
    if (this.overflow === 'disconnect')
      return ' Its place is kept while its window holds what follows (windowBytes).';
    return ` Its place is kept for ${detachGraceMs} ms (detachGraceMs).`;
  }

  /** Its place is kept, if it allows no loss: there it can go on. Returns whether it is. */
  #leaveBookmark(nowMs: number): boolean {
    const reader = this.#reader;
    const place = this.#pause;
    if (reader === undefined || place === undefined || reader.end !== undefined) return false;
    const { maxCreditBytes, maxRunBytes, overflow } = this;
    const stream = this.#stream;
    const isStopped =
      stream.detach === 'cancel' && stream.end === undefined && stream.audience.readers.size === 1;
    if (!['block', 'coalesce', 'disconnect'].includes(overflow) || isStopped) return false;
    // Nothing that waits becomes larger than what can be sent to it. Not its own credit: that would hold on to its connection.
    const credit = maxCreditBytes === undefined ? [] : [openCredit({ maxBytes: maxCreditBytes })];
    const options = { ...this.#options, credit };
    const openAt: Bookmark['openAt'] = (from, how) => stream.openReader({ ...options, from, overflow: how });
    const { name } = this.#options;
    const { offset } = reader;
    stream.audience.bookmarks.add({ name, offset, overflow, openAt, maxRunBytes, place }, nowMs);
    this.#pause = undefined;
    return true;
  }

  #letGo(message: string, mayReturn: boolean): void {
    const reason = new GatewayError('reader_stalled', message);
    this.detach(reason, mayReturn);
    this.response.destroy(reason);
  }

  #open(): Reader<EventRun | Gap> {
    this.#reader ??= this.#openReader();
    if (this.#options.returns === true) this.start();
    return this.#reader;
  }

  /** Its options, with what tells its client that credit is missing. */
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

  /** It got what there was for it. */
  #end({ end }: Reader<EventRun | Gap>): void {
    if (end?.state === 'detached' && this.#left !== undefined) throw this.#left;
    if (end?.state === 'disconnected') throw fellBehind(end.offset);
    if (end !== undefined && 'error' in end) throw end.error;
    this.start();
    this.response.end();
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
    // Behind the end nothing can be merged with what waits.
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
