import type { Gap, Overflow, Reader } from '@spillway/core';
import type { Format } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import { Audience } from './audience.ts';
import { Desertion } from './desertion.ts';
import { openCursor } from './open-cursor.ts';
import type { StreamHost } from './stream-host.ts';
import { clientLeft, GatewayError, overloaded } from '../errors.ts';
import { Journal } from './journal.ts';
import type { LargeRun } from '../memory/large-run.ts';
import type { Meter, StallCause } from './meter.ts';
import type { BodyHold } from '../memory/request-memory.ts';
import type { ReaderResponse } from '../sink/reader-response.ts';
import { Silence } from './silence.ts';
import { Stalls } from './stalls.ts';
import type { SendQueues } from '../sink/send-queues.ts';
import type { StreamClient } from '../access/stream-client.ts';
import type { DetachPolicy } from './detach-policy.ts';
import type { StreamOrigin, StreamOwner } from './stream-owner.ts';
import type { StreamBody, StreamDeadlines, StreamOutcome, StreamState } from './stream-body.ts';
import type { StreamReaderOptions } from './read-stream.ts';
import type { Tap } from './tap.ts';
import { TapReader } from './tap-reader.ts';
import { type ReaderEndReason, ServedReader } from './served-reader.ts';

/** What a stream costs beside its chunks when it has ended: the objects that make it. Measured: 8 to 11 kB. */
const overheadBytes = 12_288;

/**
 * Where a stream is: waiting for a free place, waiting for the provider's reply (and trying again),
 * or handing on its body.
 */
export type StreamPhase = 'opening' | 'streaming' | 'waiting';

/**
 * One request's life: its times, its readers, and the one signal that stops everything done for it. Time is
 * checked from outside, by `tick`: no stream has a timer of its own. One file, because each thing that happens to a stream may be its end,
 * and the end is the same for all; who reads it, why it stalls and who has left are in files of their own.
 */
export class GatewayStream implements StreamOwner {
  readonly id: string;
  /** What its URL has and nobody can guess. Never logged: the id is. */
  readonly token: string;
  readonly origin: StreamOrigin;
  readonly errors: Format;
  readonly owner: string;
  readonly holder: string;
  readonly detach: DetachPolicy;
  readonly model: string | undefined;
  readonly client: StreamClient;
  readonly mayRead: StreamOwner['mayRead'];
  readonly startedMs: number;
  phase: StreamPhase = 'waiting';
  /** A reader was told already, before the provider's answer, that events will come, and at which URL. */
  hasEventsBegun = false;
  /** The provider has answered, in whatever way. */
  isAnswered = false;
  firstEventMs: number | undefined;
  events = 0;
  bytes = 0;
  /** How it ended, and when; `undefined` while the provider is at work or may be. */
  end: { readonly state: StreamState; readonly atMs: number; readonly code: string | undefined } | undefined;
  readonly journal: Journal;
  readonly audience = new Audience(this);
  readonly stalls: Stalls;
  #readerCount = 0;
  readonly #controller = new AbortController();
  readonly #started = Promise.withResolvers<void>();
  readonly #deadlines: StreamDeadlines;
  readonly #meter: Meter;
  readonly #host: StreamHost<GatewayStream>;
  #body: StreamBody | undefined;
  /** For whoever waits until it is delivered. */
  #delivered: PromiseWithResolvers<void> | undefined;
  readonly #silence: Silence;
  readonly #desertion: Desertion;

  constructor(
    { client, detach, errors, holder, mayRead, model, origin, owner }: StreamOwner,
    deadlines: StreamDeadlines,
    host: StreamHost<GatewayStream>,
  ) {
    const nowMs = host.clock.nowMs();
    this.id = host.tokens.id();
    this.token = host.tokens.token();
    this.journal = new Journal(host.clock);
    this.origin = origin;
    this.mayRead = mayRead;
    this.errors = errors;
    this.owner = owner;
    this.holder = holder;
    this.detach = detach;
    this.model = model;
    this.client = client;
    this.#deadlines = deadlines;
    this.#meter = host.meter;
    this.#host = host;
    this.stalls = new Stalls(host.meter, this.journal);
    this.#desertion = new Desertion(detach, deadlines);
    this.startedMs = nowMs;
    this.#silence = new Silence(nowMs);
    // Whoever waits for it hears of it; without readers nobody does.
    this.#started.promise.catch(() => undefined);
    this.journal.add('opened');
  }

  /** Aborted as soon as the stream has to stop; the reason is a {@link GatewayError}. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Resolves when the provider has answered, and there is a body; rejects with the reason why there will be no answer. */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  /** When the latest event came. */
  get lastEventMs(): number {
    return this.#silence.lastEventMs;
  }

  get body(): StreamBody | undefined {
    return this.#body;
  }

  /** Where it can be read. */
  get url(): string {
    return `/streams/${this.token}`;
  }

  get isPaused(): boolean {
    return this.stalls.cause !== undefined;
  }

  /** Something is still done for it. */
  get isLive(): boolean {
    return this.end === undefined || this.audience.readers.size > 0 || this.audience.taps.size > 0;
  }

  /** It has ended, and no reader has to get any of it from its channel. */
  get isDelivered(): boolean {
    return this.end !== undefined && this.audience.hasGotAll;
  }

  /** Resolves when it is delivered for the first time. */
  get delivered(): Promise<void> {
    if (this.isDelivered) return Promise.resolve();
    this.#delivered ??= Promise.withResolvers();
    return this.#delivered.promise;
  }

  /** To be called when a reader may have got everything. */
  checkDelivered(): void {
    if (!this.isDelivered) return;
    // Whoever waits goes on behind this turn, when its history has room or is gone; and also if that fails.
    this.#delivered?.resolve();
    this.#host.delivered(this);
  }

  /** Since when it is only kept for those who come back: its end, or later, when the last reader was let go that may; `undefined`: not yet. */
  get retainedSinceMs(): number | undefined {
    return this.end === undefined ? undefined : Math.max(this.end.atMs, this.audience.bookmarks.lastAddedMs);
  }

  /** Lets go of its history. Only when it is delivered. */
  forget(): void {
    this.audience.forgetBookmarks();
    this.#body = undefined;
  }

  /** Whether it can be read from its URL. */
  get hasUrl(): boolean {
    return this.#body === undefined ? this.end === undefined : this.#body.isEvents;
  }

  /** What its channel holds: what waits, and what is kept for readers to come. */
  get heldBytes(): number {
    return this.#body?.log.heldBytes ?? 0;
  }

  /** What may wait for a reader that has no bound of its own. */
  get windowBytes(): number {
    return this.#body?.maxWaitingBytes ?? this.#deadlines.windowBytes;
  }

  /** Of several events, no more may come to the channel at once. */
  get maxRunBytes(): number {
    return this.audience.maxRunBytes;
  }

  /** What it costs to keep it for those who come back. */
  get retainedBytes(): number {
    return overheadBytes + this.heldBytes;
  }

  /** What it costs until its readers have it: what waits for one may be sent, and be kept in both places. */
  get undeliveredBytes(): number {
    let bytes = this.retainedBytes;
    for (const { response, waitingBytes } of this.audience.readers)
      bytes += waitingBytes + response.keptBytes;
    return bytes;
  }

  /** Lets a tap read it, if that wants to. Before there is a body. */
  tap(tap: Tap): void {
    try {
      const opened = tap.open(this);
      if (opened !== undefined) this.audience.addTap(new TapReader(this, tap.name, opened));
    } catch (error) {
      this.defect(`tap ${tap.name}`, error);
    }
  }

  /** A tap is through with it. */
  tapDone(tap: TapReader): void {
    const { audience } = this;
    audience.removeTap(tap);
    if (tap.isAudience) this.#checkDeserted(clientLeft(`left: ${tap.name}`), false);
    this.checkDelivered();
  }

  /** Adds a reader, and serves it. It is gone when its response has settled. */
  attach(response: ReaderResponse, options: StreamReaderOptions = {}): ServedReader {
    this.#readerCount += 1;
    const { clock } = this.#host;
    const reader = new ServedReader(this, this.#readerCount, response, options, this.#deadlines, clock);
    this.audience.add(reader);
    this.#desertion.end();
    this.journal.add('reader_joined', reader.number, `${reader.via}, ${reader.overflow}`);
    reader
      .serve()
      .then((reason) => this.#served(reader, reason))
      .catch((error: unknown) => this.defect('end of a reader', error))
      .finally(() => reader.endPause());
    return reader;
  }

  #served(reader: ServedReader, reason: ReaderEndReason): void {
    // Whoever fell behind has left, too, and may come back.
    const hasMore = this.#body !== undefined && this.#body.log.end === undefined;
    if (hasMore && this.audience.readers.has(reader)) this.detached(reader, clientLeft('fell behind'), true);
    this.audience.remove(reader);
    this.checkDelivered();
    this.journal.add('reader_left', reader.number, reason);
    this.#host.readerEnded(reason);
  }

  /** What happens to a reader that falls behind and did not say what shall: its chunks are merged if they can be. */
  get overflow(): Overflow {
    return this.#body !== undefined && this.#body.format === undefined ? 'block' : 'coalesce';
  }

  /** Opens a cursor on what the provider sends. The stream has to have started. */
  openReader(options: StreamReaderOptions): Reader<EventRun | Gap> {
    if (this.#body === undefined) throw new Error('a stream has no chunks before it has started');
    return openCursor(this.#body, { overflow: this.overflow, ...options });
  }

  /** Room for a reader that holds back its credit; `undefined`: there is none. */
  openPause(): BodyHold | undefined {
    return this.#host.openPause(this);
  }

  /** Something of it failed that nobody foresaw. Who calls this ends that part. */
  defect(where: string, error: unknown): void {
    this.#host.defect(where, error);
  }

  /** Somebody takes what is there, and may come back for more. */
  visited(nowMs: number): void {
    this.#desertion.visited(nowMs);
  }

  /** A reader has gone for good. The last one decides what becomes of the model. */
  detached(reader: ServedReader, reason: GatewayError, mayReturn: boolean): void {
    this.audience.remove(reader);
    this.#checkDeserted(reason, mayReturn);
  }

  /** Decides what becomes of the model if nobody reads it any more. */
  #checkDeserted(reason: GatewayError, mayReturn: boolean): void {
    const { bookmarks, isEmpty } = this.audience;
    if (!isEmpty || this.end !== undefined) return;
    const goesOn = this.#desertion.begin(
      this.#host.clock.nowMs(),
      this.events,
      mayReturn || bookmarks.areHeld,
    );
    if (!goesOn) this.stop(reason);
  }

  /** Stops everything that is done for this stream. The first reason counts, but for what still waits. */
  stop(reason: GatewayError): void {
    if (this.end !== undefined) return;
    this.#controller.abort(reason);
    if (reason.isCancel) {
      this.#body?.log.cancel(reason);
      this.audience.forgetBookmarks();
    }
    this.audience.letGoOfLarge();
  }

  /** The provider has answered; from now on its silence counts. */
  answered(nowMs: number): void {
    this.phase = 'streaming';
    this.#silence.restart(nowMs);
  }

  /** What the provider's reply is, is known. */
  start(body: StreamBody, nowMs: number): void {
    this.answered(nowMs);
    this.open(body);
    this.journal.add('responded', null, String(body.status));
  }

  /** There is something to read, for those who wait for it and those who come. */
  open(body: StreamBody): void {
    this.#body = body;
    this.audience.boundRuns();
    // Before anything comes: what there is no cursor for may be let go.
    for (const tap of this.audience.taps) tap.begin(body);
    for (const reader of this.audience.readers) reader.begin();
    this.#started.resolve();
  }

  /** The provider is done, or nobody waits for it any more. */
  finish({ error, state }: StreamOutcome, nowMs: number): void {
    this.end = { state, atMs: nowMs, code: error?.code };
    this.journal.add('ended', null, error === undefined ? state : `${state}: ${error.code}`);
    if (error !== undefined) this.#started.reject(error);
    for (const tap of this.audience.taps) tap.ended({ state, error });
    this.checkDelivered();
  }

  /** Bytes came from the provider. */
  received(run: EventRun, isProgress: boolean, nowMs: number): void {
    const { byteLength, events } = run;
    this.#silence.heard(nowMs);
    this.bytes += byteLength;
    this.events += events;
    this.#meter.received(events, byteLength);
    if (!isProgress) return;
    this.#silence.restart(nowMs);
    if (this.firstEventMs !== undefined) return;
    this.firstEventMs = nowMs;
    const ttftMs = nowMs - this.startedMs;
    this.#meter.began(ttftMs);
    this.#host.began(this, ttftMs);
    this.journal.add('first_token');
  }

  /** A large event is in the channel, and has its place until every reader has passed it. */
  accepted(run: LargeRun): void {
    this.audience.keepLarge(run);
  }

  /** Something was written to a reader. */
  sent(run: EventRun): void {
    this.#meter.sent(run);
    this.audience.letGoOfLarge();
  }

  /** A reader says that it has consumed so much more. */
  acknowledged(tokens: number): void {
    this.#meter.tokensAcknowledged += tokens;
    this.checkDelivered();
  }

  /** A reader's policy left something out for it. */
  lost(reader: ServedReader, { from, reason, to }: Gap): void {
    this.#meter.gaps[reason] = (this.#meter.gaps[reason] ?? 0) + 1;
    this.#meter.tokensLost += to - from;
    this.journal.gap(reader.number, to - from, reason);
  }

  /** The provider is made to wait, or may go on. Its silence is then no fault of its own. */
  paused(isPaused: boolean, nowMs: number, cause?: StallCause): void {
    this.#silence.restart(nowMs);
    const { bookmarks } = this.audience;
    const waiting = this.#waitsFor();
    // Whoever was let go for its credit and may come back is waited for, too.
    const other = bookmarks.areHeld ? 'credit' : 'burst';
    if (isPaused) this.stalls.begin(nowMs, cause ?? waiting.cause ?? other, waiting.reader);
    else this.stalls.end(nowMs);
  }

  /** Whom the model would wait for, if it had to: the reader or the tap for which most waits. */
  #waitsFor(): { readonly cause: StallCause | undefined; readonly reader: number | null } {
    const { slowest, slowestTap } = this.audience;
    const isTap = (slowestTap?.waitingBytes ?? 0) > (slowest?.waitingBytes ?? 0);
    return isTap
      ? { cause: 'tap', reader: null }
      : { cause: slowest?.waitsFor, reader: slowest?.number ?? null };
  }

  /** Checks the deadlines of everything, and keeps silent connections alive. */
  tick(nowMs: number): void {
    const { detachGraceMs } = this.#deadlines;
    const { bookmarks, readers } = this.audience;
    for (const reader of readers) reader.tick(nowMs, detachGraceMs);
    if (this.end === undefined) bookmarks.tick(nowMs, detachGraceMs);
    this.audience.letGoOfLarge();
    if (this.end !== undefined || this.signal.aborted) return;
    const { cause, reader: slowest } = this.#waitsFor();
    if (cause !== undefined) this.stalls.goesOn(nowMs, cause, slowest);
    const { maxDurationMs, waitTimeoutMs } = this.#deadlines;
    const deserted = this.#desertion.reason(nowMs, this.events);
    if (deserted !== undefined) {
      this.stop(new GatewayError('client_left', deserted));
    } else if (this.phase === 'waiting' && nowMs - this.startedMs >= waitTimeoutMs) {
      this.stop(overloaded(`No place became free within ${waitTimeoutMs} ms (waitTimeoutMs).`));
    } else if (nowMs - this.startedMs >= maxDurationMs) {
      this.stop(
        new GatewayError(
          'stream_timeout',
          `The stream lasted longer than ${maxDurationMs} ms (maxDurationMs).`,
        ),
      );
    } else if (this.phase === 'streaming' && !this.isPaused) {
      const { idleTimeoutMs } = this.#deadlines;
      const silent = this.#silence.error(nowMs, idleTimeoutMs, this.origin.queueTimeoutMs);
      if (silent !== undefined) this.stop(silent);
    }
  }

  /** Lets readers go that make no progress, or too little. */
  checkReaders(nowMs: number, queues: SendQueues | undefined): void {
    for (const reader of this.audience.readers) reader.checkProgress(nowMs, queues);
  }
}
