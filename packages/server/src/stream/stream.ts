import type { Gap, Overflow, Reader } from '@spillway/core';
import type { Format, TokenUsage } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import { Audience } from './audience.ts';
import { Desertion } from './desertion.ts';
import { openCursor } from './open-cursor.ts';
import type { StreamHost } from './stream-host.ts';
import { asGatewayError, clientLeft, GatewayError } from '../errors.ts';
import { GatedLog } from './gated-log.ts';
import { Journal } from './journal.ts';
import { identityIn, LimitCut } from './limit-cut.ts';
import type { LimitError } from '../limit/limit-error.ts';
import type { LargeRun } from '../memory/large-run.ts';
import { Meter, type StallCause } from './meter.ts';
import type { ProviderRefusal } from './provider-refusal.ts';
import type { BodyHold } from '../memory/request-memory.ts';
import type { ReaderResponse } from '../sink/reader-response.ts';
import { Silence } from './silence.ts';
import { Stalls } from './stalls.ts';
import type { SendQueues } from '../sink/send-queues.ts';
import type { StreamClient } from '../access/stream-client.ts';
import type { DetachPolicy } from './detach-policy.ts';
import type { StreamOrigin, StreamOwner } from './stream-owner.ts';
import { StreamLimits } from './stream-limits.ts';
import type { StreamBody, StreamDeadlines, StreamEnd, StreamOutcome } from './stream-body.ts';
import type { StreamReaderOptions } from './read-stream.ts';
import type { StreamLog } from './stream-log.ts';
import type { SentPart, Tap } from './tap.ts';
import { endUnkept, TapGates, tapUnavailable } from './tap-gates.ts';
import { TapReader } from './tap-reader.ts';
import { overdue } from './overdue.ts';
import { newestUsage, promptUsage } from './newest-usage.ts';
import { type ReaderEndReason, ServedReader } from './served-reader.ts';

/** The memory that an ended stream costs beside its chunks: the objects that make it. Measured: 8 to 11 kB. */
const overheadBytes = 12_288;

/**
 * Where a stream is: waiting for a free place, waiting for the provider's reply (and trying again),
 * or handing on its body.
 */
export type StreamPhase = 'opening' | 'streaming' | 'waiting';

/**
 * One request's life: its times, its readers, and the one signal that stops all work for it. The caller checks the
 * deadlines with `tick`: no stream has a timer of its own. This is one file because most events of a stream may end
 * it, and the end is the same for all. Readers, stalls and desertion have files of their own.
 */
export class GatewayStream implements StreamOwner {
  readonly id: string;
  /** The secret part of the stream's URL. Never logged: logs name `id`. */
  readonly token: string;
  /** Where it comes from: of several places that may answer, the one that is asked now. */
  origin: StreamOrigin;
  readonly errors: Format;
  readonly owner: string;
  readonly holder: string;
  /** What becomes of it when nobody reads it: of several places that may answer, as the one wants it that is asked now. */
  detach: DetachPolicy;
  readonly model: string | undefined;
  readonly client: StreamClient;
  readonly requestId: string | undefined;
  /** What of the request gave way to pressure, such as `max_tokens=1000`. Set it before the provider is asked: taps keep it then. */
  gaveWay: readonly string[] = [];
  readonly requestBody: (() => readonly Uint8Array[]) | undefined;
  /** The provider's own id of the request, once it has answered with one. */
  upstreamRequestId: string | undefined;
  readonly mayRead: StreamOwner['mayRead'];
  readonly startedMs: number;
  phase: StreamPhase = 'waiting';
  /**
   * Whether a reader got response headers before the provider answered. They said that events will come, and at which
   * URL.
   */
  hasEventsBegun = false;
  /** The place that it waits for; `undefined`: it has one, or needs none yet. */
  wait: { readonly position: number | undefined } | undefined;
  /** Whether the provider has answered, with a success or an error. */
  isAnswered = false;
  firstEventMs: number | undefined;
  events = 0;
  bytes = 0;
  /** What of them came in large events. Whoever finds one adds it. */
  readonly large = { events: 0, bytes: 0, tokens: 0 };
  /** How the stream ended, and when; `undefined` while the provider is at work or may be. */
  end: StreamEnd | undefined;
  /** Absent: no limit concerns the stream. Set it before there is a body. */
  limits: StreamLimits | undefined;
  /** What the provider said when it refused the request; `undefined`: it did not, or there was nothing to read. */
  refusal: ProviderRefusal | undefined;
  /** The tokens that the provider has reported at the beginning, or in the end, as far as somebody has looked. */
  reported: TokenUsage | undefined;
  readonly journal: Journal;
  readonly audience = new Audience(this);
  readonly gates = new TapGates();
  readonly stalls: Stalls;
  #readerCount = 0;
  /** Every tap that wanted this stream, also those that have finished. */
  #taps: TapReader[] | undefined;
  readonly #controller = new AbortController();
  readonly #started = Promise.withResolvers<void>();
  readonly #deadlines: StreamDeadlines;
  readonly #meter: Meter;
  readonly #host: StreamHost<GatewayStream>;
  /** The answer as readers see it: behind the gates, if there are any. */
  #body: StreamBody | undefined;
  #log: StreamLog | undefined;
  /** Settled when the stream is delivered. Made only if `delivered` is asked for. */
  #delivered: PromiseWithResolvers<void> | undefined;
  readonly #silence: Silence;
  readonly #desertion: Desertion;

  constructor(
    { client, detach, errors, holder, mayRead, model, origin, owner, requestBody, requestId }: StreamOwner,
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
    this.requestId = requestId;
    this.requestBody = requestBody;
    this.#deadlines = deadlines;
    // What nobody reads counts the program's own.
    this.#meter = origin.isOwn === true ? new Meter() : host.meter;
    this.#host = host;
    this.stalls = new Stalls(this.#meter, this.journal);
    this.#desertion = new Desertion(this, deadlines);
    this.startedMs = nowMs;
    this.#silence = new Silence(nowMs);
    // Readers await `started` and get its error. Without readers the rejection would count as unhandled.
    this.#started.promise.catch(() => undefined);
    this.journal.add('opened');
  }

  /** Aborted as soon as the stream has to stop. The reason is a {@link GatewayError}. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Resolves when the provider has answered and there is a body. Rejects with the reason why there will be no body. */
  get started(): Promise<void> {
    return this.#started.promise;
  }

  /** When the latest event came. */
  get lastEventMs(): number {
    return this.#silence.lastEventMs;
  }

  /** The chunks as they come, whatever taps hold back. */
  get log(): StreamLog | undefined {
    return this.#log;
  }

  get body(): StreamBody | undefined {
    return this.#body;
  }

  /** The path at which the stream can be read. */
  get url(): string {
    return `/streams/${this.token}`;
  }

  /** The number of readers so far, those that have left included. */
  get readerCount(): number {
    return this.#readerCount;
  }

  get isPaused(): boolean {
    return this.stalls.cause !== undefined;
  }

  /** Whether the provider, a reader or a tap is still at work on the stream. */
  get isLive(): boolean {
    return this.end === undefined || this.audience.readers.size > 0 || this.audience.taps.size > 0;
  }

  /** Whether the provider is at work, or a reader or tap still needs something from the channel. */
  get isOpen(): boolean {
    return this.isLive && !this.isDelivered;
  }

  /** Whether the stream has ended and no reader or tap needs more from its channel. */
  get isDelivered(): boolean {
    return this.end !== undefined && this.audience.hasGotAll;
  }

  /** Resolves when the stream is delivered for the first time. */
  get delivered(): Promise<void> {
    if (this.isDelivered) return Promise.resolve();
    this.#delivered ??= Promise.withResolvers();
    return this.#delivered.promise;
  }

  /** Call this when a reader may have got everything. */
  checkDelivered(): void {
    if (!this.isDelivered) return;
    // First resolve, so that a throw below cannot lose it. Waiting code runs after this turn, when the history is
    // kept or dropped.
    this.#delivered?.resolve();
    this.#host.delivered(this);
  }

  /**
   * Since when the stream is kept only for readers that come back: its end, or the latest bookmark if that is later.
   * `undefined`: not yet.
   */
  get retainedSinceMs(): number | undefined {
    return this.end === undefined ? undefined : Math.max(this.end.atMs, this.audience.bookmarks.lastAddedMs);
  }

  /** Drops the stream's history and bookmarks. Call it only when the stream is delivered. */
  forget(): void {
    this.audience.forgetBookmarks();
    this.#log = undefined;
    this.#body = undefined;
  }

  /** Nobody can read the stream any more: its taps are told nothing behind that. */
  forgotten(): void {
    for (const tap of this.#taps ?? []) tap.forgotten();
    this.#taps = undefined;
  }

  /** Whether the stream can be read from its URL. */
  get hasUrl(): boolean {
    return this.#body === undefined ? this.end === undefined : this.#body.isEvents;
  }

  /** The bytes in the stream's channel: chunks that wait, and chunks kept for later readers. */
  get heldBytes(): number {
    return this.#log?.heldBytes ?? 0;
  }

  /** The bytes that may wait for a reader that has no bound of its own. */
  get windowBytes(): number {
    return this.#body?.maxWaitingBytes ?? this.#deadlines.windowBytes;
  }

  /** The bytes that one run of several events may have in the channel. */
  get maxRunBytes(): number {
    return this.audience.maxRunBytes;
  }

  /** The memory that the stream costs while it is kept for readers that come back. */
  get retainedBytes(): number {
    return overheadBytes + this.heldBytes;
  }

  /**
   * The memory that the stream costs until its readers have it. A chunk may wait in the channel and be kept in a
   * response too, so both count.
   */
  get undeliveredBytes(): number {
    let bytes = this.retainedBytes;
    for (const { response, waitingBytes } of this.audience.readers)
      bytes += waitingBytes + response.keptBytes;
    return bytes;
  }

  /** Lets a tap read the stream, if the tap wants to. Call it before there is a body. */
  tap(tap: Tap): void {
    try {
      const opened = tap.open(this);
      if (opened === undefined) return;
      const reader = new TapReader(this, tap, opened);
      this.audience.addTap(reader);
      if (opened.gate !== undefined) this.gates.add(opened.gate);
      (this.#taps ??= []).push(reader);
    } catch (error) {
      if (!(error instanceof GatewayError)) this.defect(`tap ${tap.name}`, error);
      if (error instanceof GatewayError) this.#gateFailed(error);
      else if (tap.isRequired === true) this.#gateFailed(tapUnavailable(tap.name));
    }
  }

  /** A tap that is required cannot keep the stream. */
  tapFailed(tap: TapReader): void {
    this.#gateFailed(tapUnavailable(tap.name));
  }

  /** The tap has finished with the stream. */
  tapDone(tap: TapReader): void {
    const { audience } = this;
    audience.removeTap(tap);
    if (tap.gate !== undefined && this.#log !== undefined && tap.gate.chunks.openTo < Infinity)
      this.#gateFailed(tapUnavailable(tap.name));
    if (tap.isAudience) this.#checkDeserted(clientLeft(`left: ${tap.name}`), false);
    this.checkDelivered();
    this.#host.tapEnded();
  }

  /** Adds a reader, and serves it. The reader is removed when its response has settled. */
  attach(response: ReaderResponse, options: StreamReaderOptions = {}): ServedReader {
    this.#readerCount += 1;
    const { clock } = this.#host;
    // The stream may be forgotten before a reader is that a gate has failed.
    const taps = this.#taps ?? [];
    const reader = new ServedReader(this, this.#readerCount, response, options, this.#deadlines, clock);
    this.audience.add(reader);
    this.#desertion.end();
    this.journal.add('reader_joined', reader.number, `${reader.via}, ${reader.overflow}`);
    reader
      .serve()
      .then((reason) => this.#served(reader, reason, taps))
      .catch((error: unknown) => this.defect('end of a reader', error))
      .finally(() => reader.endPause());
    return reader;
  }

  #served(reader: ServedReader, reason: ReaderEndReason, taps: readonly TapReader[]): void {
    // A reader that fell behind has left, too. It may come back.
    const hasMore = this.#body !== undefined && this.#body.log.end === undefined;
    if (hasMore && this.audience.readers.has(reader)) this.detached(reader, clientLeft('fell behind'), true);
    this.journal.add('reader_left', reader.number, reason);
    const ended = this.audience.noteEnd(reader, reason, this.#host.clock.dateMs());
    for (const tap of taps) tap.readerEnded(ended);
    this.audience.remove(reader);
    this.checkDelivered();
    this.#host.readerEnded(reason, reader, this);
  }

  /** The policy of a reader that named none: `coalesce`, or `block` where chunks cannot be merged. */
  get overflow(): Overflow {
    return this.#body !== undefined && this.#body.format === undefined ? 'block' : 'coalesce';
  }

  /** Opens a cursor on the stream's chunks. Throws if the stream has not started. */
  openReader(options: StreamReaderOptions): Reader<EventRun | Gap> {
    if (this.#body === undefined) throw new Error('a stream has no chunks before it has started');
    return openCursor(this.#body, { overflow: this.overflow, ...options });
  }

  /** Takes a place for a reader that holds back its credit; `undefined`: no place is free. */
  openPause(): BodyHold | undefined {
    return this.#host.openPause(this);
  }

  /** Reports an error that nobody foresaw in a part of the stream. The caller ends that part. */
  defect(where: string, error: unknown): void {
    this.#host.defect(where, error);
  }

  /** A request takes the chunks that are there. Its client may come back for more. */
  visited(nowMs: number): void {
    this.#desertion.visited(nowMs);
  }

  /** A reader has detached. When the last reader has, the detach policy decides about the model. */
  detached(reader: ServedReader, reason: GatewayError, mayReturn: boolean): void {
    this.audience.remove(reader);
    this.#checkDeserted(reason, mayReturn);
  }

  /** Stops the model, now or later, if nobody reads the stream any more. */
  #checkDeserted(reason: GatewayError, mayReturn: boolean): void {
    const { bookmarks, isEmpty } = this.audience;
    if (!isEmpty || this.end !== undefined) return;
    const nowMs = this.#host.clock.nowMs();
    const goesOn = this.#desertion.begin(nowMs, this.events, mayReturn || bookmarks.areHeld);
    if (!goesOn) this.cancel(reason);
  }

  /**
   * Stops all work for the stream. The signal keeps its first reason; a later cancel still drops the chunks that
   * wait.
   */
  cancel(reason: GatewayError): void {
    if (this.end !== undefined) return;
    if (reason.isCancel) {
      // Before the signal: whoever hears it may cancel the log at once.
      for (const tap of this.audience.taps) tap.cancelled();
      this.reported = newestUsage(this);
    }
    this.#controller.abort(reason);
    if (reason.isCancel) {
      this.#body?.log.cancel(reason);
      this.audience.forgetBookmarks();
    }
    this.audience.releaseLarge();
  }

  /**
   * Ends the answer by a limit: the model is stopped, and every reader gets what came, and behind it the events that make
   * a whole message of it. The stream is then `cancelled`. Where nothing came yet, or no message can be made of what came
   * (a body that is no stream of events), the error ends it, as by `cancel`. Does nothing once the stream is stopped, or
   * the provider is done.
   *
   * @param counted The tokens so far as they were counted here, an estimate: for the usage in the closing events, where the
   * provider has not reported them. Default: they are not known.
   */
  cut(error: LimitError, counted?: TokenUsage): void {
    if (this.end !== undefined || this.signal.aborted || this.limits?.cut !== undefined) return;
    if (this.events === 0 || this.#body?.format === undefined) return this.cancel(error);
    this.reported = newestUsage(this);
    for (const tap of this.audience.taps) tap.cut();
    this.limits ??= new StreamLimits(this.signal);
    this.limits.cut = new LimitCut(this, error, counted);
    // Later, because whoever counts may call this in the midst of what the provider has just sent.
    this.#host.clock.nextTick((controller) => controller.abort(error), this.#controller);
  }

  /** The provider is asked from now on. */
  asked(): void {
    this.phase = 'opening';
    for (const tap of this.#taps ?? []) tap.asked();
  }

  /** The provider has answered. From now on its silence is measured. */
  answered(nowMs: number): void {
    this.phase = 'streaming';
    this.#silence.restart(nowMs);
  }

  /** Bytes of the reply came which are not handed on yet. `isProgress`: they are more than a comment. */
  heard(isProgress: boolean, nowMs: number): void {
    this.#silence.heard(nowMs);
    if (isProgress) this.#silence.restart(nowMs);
  }

  /** The status and headers of the provider's reply are known. */
  start(body: StreamBody, nowMs: number): void {
    this.answered(nowMs);
    this.open(body);
    this.journal.add('responded', null, String(body.status));
  }

  /** The stream has a body: its readers and taps begin to read. */
  open(body: StreamBody): void {
    this.#log = body.log;
    this.#body = this.gates.areNone ? body : { ...body, log: new GatedLog(body.log, this.gates) };
    this.audience.boundRuns();
    // Taps and readers need cursors before the first chunk: a chunk with no cursor before it may be dropped.
    for (const tap of this.audience.taps) tap.begin(body);
    for (const reader of this.audience.readers) reader.begin();
    if (this.gates.areNone) this.#started.resolve();
    else {
      const failed = (error: unknown): void => this.#gateFailed(asGatewayError(error));
      this.gates.head().then(() => this.#started.resolve(), failed);
    }
  }

  /** There will be no body, but a refusal of the provider. Taps read it as a body; readers get it as the error. */
  refused(body: StreamBody): void {
    this.#log = body.log;
    for (const tap of this.audience.taps) tap.begin(body);
  }

  /** A tap cannot keep what readers would get: they end, and the model is stopped. */
  #gateFailed(reason: GatewayError): void {
    this.gates.fail(reason);
    this.end = endUnkept(this.end, reason);
    if (this.end !== undefined) this.journal.add('ended', null, `${this.end.state}: ${reason.code}`);
    this.#started.reject(reason);
    for (const reader of this.audience.readers) reader.detach(reason, false);
    for (const visitor of this.audience.visitors) visitor.detach();
    this.cancel(reason);
  }

  /** The provider has completed, failed or been cancelled. */
  ended(outcome: StreamOutcome, nowMs: number): void {
    const { error, state } = outcome;
    this.limits?.pace?.release();
    const dateMs = this.#host.clock.dateMs();
    this.end = { state, atMs: nowMs, dateMs, code: error?.code, reason: error?.message };
    this.journal.add('ended', null, error === undefined ? state : `${state}: ${error.code}`);
    for (const tap of this.#taps ?? []) tap.ended(outcome);
    // Of an answer that was cut there is a body, for which readers may still wait at a gate.
    if (error !== undefined && this.#log?.end?.state !== 'cut') void this.#refuse(error);
    this.checkDelivered();
  }

  /** There will be no body. What the provider said of it passes the gates, as a body would. */
  async #refuse(error: GatewayError): Promise<void> {
    try {
      if (!this.gates.areNone && this.isAnswered && !error.isCancel) {
        await this.gates.head();
        if (error.isAnswer && this.#log !== undefined) await this.gates.whole();
      }
      this.#started.reject(error);
    } catch (failed) {
      this.#gateFailed(asGatewayError(failed));
    }
  }

  /** A run came from the provider. */
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
    if (this.limits !== undefined) this.limits.identity = identityIn(run, this.#body?.format);
    this.reported = promptUsage(run, this.#body?.format);
    const ttftMs = nowMs - this.startedMs;
    this.#meter.began(ttftMs);
    this.#host.began(this, ttftMs);
    this.journal.add('first_token');
  }

  /** A large event is in the channel. The event keeps its place in EventMemory until every reader has passed it. */
  accepted(run: LargeRun): void {
    this.audience.keepLarge(run);
  }

  /** A run was written to a reader. */
  sent(run: EventRun): void {
    this.#meter.sent(run);
    this.audience.releaseLarge();
  }

  /** A request got a part of the stream, and does not stay. */
  partSent(part: SentPart): void {
    for (const tap of this.#taps ?? []) tap.partSent(part);
  }

  /** A reader has acknowledged so many more tokens. */
  acknowledged(tokens: number): void {
    this.#meter.tokensAcknowledged += tokens;
    this.checkDelivered();
  }

  /** A reader's policy dropped chunks for that reader. */
  lost(reader: ServedReader, { from, reason, to }: Gap): void {
    this.#meter.gaps[reason] = (this.#meter.gaps[reason] ?? 0) + 1;
    this.#meter.tokensLost += to - from;
    this.journal.gap(reader.number, to - from, reason);
  }

  /** The provider is made to wait, or may go on. Silence while it waits is not its fault, so the silence restarts. */
  paused(isPaused: boolean, nowMs: number, cause?: StallCause): void {
    this.#silence.restart(nowMs);
    const { bookmarks } = this.audience;
    const waiting = this.audience.waitsFor;
    // A bookmark of a reader that held back its credit can be what the provider waits for.
    const other = bookmarks.areHeld ? 'credit' : 'burst';
    if (isPaused) this.stalls.begin(nowMs, cause ?? waiting.cause ?? other, waiting.reader);
    else this.stalls.end(nowMs);
  }

  /** Checks all deadlines of the stream, and keeps silent connections alive. */
  tick(nowMs: number): void {
    const { detachGraceMs, idleTimeoutMs } = this.#deadlines;
    const { bookmarks, readers } = this.audience;
    for (const reader of readers) reader.tick(nowMs, detachGraceMs);
    if (this.end === undefined) bookmarks.tick(nowMs, detachGraceMs);
    this.audience.releaseLarge();
    if (this.end !== undefined || this.signal.aborted) return;
    // What its own pace holds back waits for no reader.
    const { cause, reader: slowest } = this.limits?.waitsFor ?? this.audience.waitsFor;
    if (cause !== undefined) this.stalls.goesOn(nowMs, cause, slowest);
    const limit = this.limits?.limit;
    const limited = limit?.tick(nowMs);
    if (limited !== undefined) return this.cut(limited, limit?.counted);
    const deserted = this.#desertion.reason(nowMs, this.events);
    const due = overdue(this, this.#deadlines, nowMs);
    if (deserted !== undefined) {
      this.cancel(new GatewayError('client_left', deserted));
    } else if (due !== undefined) {
      this.cancel(due);
    } else if (this.phase === 'streaming' && !this.isPaused) {
      const silent = this.#silence.error(nowMs, idleTimeoutMs, this.origin.queueTimeoutMs);
      if (silent !== undefined) this.cancel(silent);
    }
  }

  /** Ends readers that make no progress, or too little. */
  checkReaders(nowMs: number, queues: SendQueues | undefined): void {
    for (const reader of this.audience.readers) reader.checkProgress(nowMs, queues);
  }
}
