import { randomBytes, randomUUID } from 'node:crypto';
import type { Channel, Gap, Reader, ReaderOptions } from '@spillway/core';
import type { Format } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import type { Provider } from './config/load.ts';
import type { Config, DetachPolicy } from './config/schema.ts';
import { GatewayError, overloaded } from './errors.ts';
import type { Meter } from './meter.ts';
import type { ReaderResponse } from './sink/reader-response.ts';
import type { SendQueues } from './sink/send-queues.ts';
import { clientLeft, type ReaderEndReason, StreamReader, type StreamReaderOptions } from './stream-reader.ts';

/** What a stream costs beside its chunks: the objects that make it. */
const overheadBytes = 8192;

/**
 * Where a stream is: waiting for a free place, waiting for the provider's reply (and trying again),
 * or handing on its body.
 */
export type StreamPhase = 'opening' | 'streaming' | 'waiting';

/** How a stream ended. */
export type StreamState = 'cancelled' | 'completed' | 'failed';

/** What streams need of the configuration. */
export type StreamDeadlines = Pick<
  Config,
  | 'detachGraceMs'
  | 'finishEvents'
  | 'finishMs'
  | 'idleTimeoutMs'
  | 'keepAliveMs'
  | 'maxDurationMs'
  | 'minBytesPerSecond'
  | 'stallTimeoutMs'
  | 'waitTimeoutMs'
  | 'windowBytes'
>;

/** What a provider answered, from when its headers have come. */
export interface StreamBody {
  readonly channel: Channel<EventRun>;
  /** Of events; `undefined`: just bytes. */
  readonly format: Format | undefined;
  readonly isEvents: boolean;
  readonly status: number;
  /** For readers. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Whose a stream is, and what becomes of it when nobody reads it. */
export interface StreamOwner {
  readonly provider: Provider;
  /** Who may read it; see `ownerOf`. */
  readonly owner: string;
  readonly detach: DetachPolicy;
}

/**
 * One request's life: its clock, its readers, and the one signal that stops everything done for it. Time is
 * checked from outside, by `tick`: no stream has a timer of its own.
 */
export class GatewayStream implements StreamOwner {
  readonly id = randomUUID();
  /** What its URL has and nobody can guess. Never logged: the id is. */
  readonly token = randomBytes(24).toString('base64url');
  readonly provider: Provider;
  readonly owner: string;
  readonly detach: DetachPolicy;
  readonly startedMs: number;
  readonly readers = new Set<StreamReader>();
  phase: StreamPhase = 'waiting';
  firstEventMs: number | undefined;
  events = 0;
  bytes = 0;
  /** How it ended, and when; `undefined` while the provider is at work or may be. */
  end: { readonly state: StreamState; readonly atMs: number } | undefined;
  readonly #controller = new AbortController();
  readonly #started = Promise.withResolvers<StreamBody>();
  readonly #deadlines: StreamDeadlines;
  readonly #meter: Meter;
  readonly #onReaderEnd: (stream: GatewayStream, reason: ReaderEndReason) => void;
  #body: StreamBody | undefined;
  #isPaused = false;
  #lastEventMs: number;
  /** With nobody left: when, and after how many events, the model is stopped. */
  #deserted: { readonly untilMs: number; readonly untilEvents: number; readonly why: string } | undefined;
  /** When somebody last looked in who is no reader: who polls comes back. */
  #visitedMs = Number.NEGATIVE_INFINITY;

  constructor(
    { detach, owner, provider }: StreamOwner,
    deadlines: StreamDeadlines,
    meter: Meter,
    onReaderEnd: (stream: GatewayStream, reason: ReaderEndReason) => void,
    nowMs: number,
  ) {
    this.provider = provider;
    this.owner = owner;
    this.detach = detach;
    this.#deadlines = deadlines;
    this.#meter = meter;
    this.#onReaderEnd = onReaderEnd;
    this.startedMs = nowMs;
    this.#lastEventMs = nowMs;
    // Whoever waits for it hears of it; without readers nobody does.
    this.#started.promise.catch(() => undefined);
  }

  /** Aborted as soon as the stream has to stop; the reason is a {@link GatewayError}. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Resolves when the provider has answered; rejects with the reason why there will be no answer. */
  get started(): Promise<StreamBody> {
    return this.#started.promise;
  }

  get body(): StreamBody | undefined {
    return this.#body;
  }

  /** Where it can be read. */
  get url(): string {
    return `/streams/${this.token}`;
  }

  /** Whether a reader was told already that events will come. */
  get hasEventsBegun(): boolean {
    return [...this.readers].some(({ response }) => response.headersSent);
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Something is still done for it. */
  get isLive(): boolean {
    return this.end === undefined || this.readers.size > 0;
  }

  /** Whether it can be read from its URL. */
  get hasUrl(): boolean {
    return this.#body === undefined ? this.end === undefined : this.#body.isEvents;
  }

  /** What it costs to keep it for those who come back. */
  get retainedBytes(): number {
    return overheadBytes + (this.#body?.channel.heldBytes ?? 0);
  }

  /** The bytes that wait for the slowest reader. */
  get waitingBytes(): number {
    let bytes = 0;
    for (const reader of this.readers) bytes = Math.max(bytes, reader.waitingBytes);
    return bytes;
  }

  /** Adds a reader, and serves it. It is gone when its response has settled. */
  attach(response: ReaderResponse, options: StreamReaderOptions = {}): StreamReader {
    const reader = new StreamReader(this, response, options, this.#deadlines, performance.now());
    this.readers.add(reader);
    this.#deserted = undefined;
    void this.#serve(reader);
    return reader;
  }

  async #serve(reader: StreamReader): Promise<void> {
    const reason = await reader.serve();
    // Whoever fell behind has left, too, and may come back.
    const hasMore = this.#body !== undefined && this.#body.channel.end === undefined;
    if (hasMore && this.readers.has(reader)) this.left(reader, clientLeft('fell behind'), true);
    this.readers.delete(reader);
    this.#onReaderEnd(this, reason);
  }

  /** Opens a cursor on what the provider sends. The stream has to have started. */
  openReader({
    credit = [],
    from = 'start',
    maxBytes,
    overflow,
  }: StreamReaderOptions): Reader<EventRun | Gap> {
    const body = this.#body;
    if (body === undefined) throw new Error('a stream has no chunks before it has started');
    if (typeof from === 'number' && from > body.channel.nextOffset) {
      const { nextOffset } = body.channel;
      throw new GatewayError('invalid_request', `The offset: expected at most ${nextOffset}, got ${from}.`);
    }
    const options: ReaderOptions<EventRun> = {
      overflow: overflow ?? (body.format === undefined ? 'block' : 'coalesce'),
      merges: body.format !== undefined,
      credit,
      from,
      ...(maxBytes === undefined ? {} : { maxBytes }),
    };
    return body.channel.reader(options);
  }

  /** Somebody takes what is there, and may come back for more. */
  visited(nowMs: number): void {
    this.#visitedMs = nowMs;
    if (this.#deserted !== undefined && this.detach === 'grace') this.#desert(nowMs);
  }

  #desert(nowMs: number): void {
    const { detachGraceMs } = this.#deadlines;
    const why = `Nobody came back within ${detachGraceMs} ms (detachGraceMs).`;
    this.#deserted = { untilMs: nowMs + detachGraceMs, untilEvents: Infinity, why };
  }

  /** A reader has gone for good. The last one decides what becomes of the model. */
  left(reader: StreamReader, reason: GatewayError, mayReturn: boolean): void {
    this.readers.delete(reader);
    if (this.readers.size > 0 || this.end !== undefined) return;
    const { detachGraceMs, finishEvents, finishMs } = this.#deadlines;
    const nowMs = performance.now();
    if (this.detach === 'finish') {
      const why = `Nobody read on for ${finishMs} ms (finishMs) or ${finishEvents} events (finishEvents).`;
      this.#deserted = { untilMs: nowMs + finishMs, untilEvents: this.events + finishEvents, why };
      return;
    }
    const isPolled = nowMs - this.#visitedMs < detachGraceMs;
    if (this.detach === 'grace' && (isPolled || (mayReturn && reason.code !== 'reader_stalled'))) {
      this.#desert(nowMs);
    } else {
      this.stop(reason);
    }
  }

  /** Stops everything that is done for this stream. The first reason counts, but for what still waits. */
  stop(reason: GatewayError): void {
    if (this.end !== undefined) return;
    this.#controller.abort(reason);
    if (reason.isCancel) this.#body?.channel.cancel(reason);
  }

  /** The provider's reply has come; from now on its silence counts. */
  start(body: StreamBody, nowMs: number): void {
    this.phase = 'streaming';
    this.#lastEventMs = nowMs;
    this.#body = body;
    this.#started.resolve(body);
  }

  /** The provider is done, or nobody waits for it any more. */
  finish(state: StreamState, error: GatewayError | undefined, nowMs: number): void {
    this.end = { state, atMs: nowMs };
    if (error !== undefined) this.#started.reject(error);
  }

  /** Bytes came from the provider. */
  received(events: number, bytes: number, isProgress: boolean, nowMs: number): void {
    this.bytes += bytes;
    this.events += events;
    this.#meter.received(events, bytes);
    if (!isProgress) return;
    this.firstEventMs ??= nowMs;
    this.#lastEventMs = nowMs;
  }

  /** Something was written to a reader. */
  sent({ byteLength, events }: EventRun): void {
    this.#meter.sent(events, byteLength);
  }

  /** The provider is made to wait, or may go on. Its silence is then no fault of its own. */
  paused(isPaused: boolean, nowMs: number): void {
    this.#isPaused = isPaused;
    this.#lastEventMs = nowMs;
    if (isPaused) this.#meter.stalls += 1;
  }

  /** Checks the deadlines of everything, and keeps silent connections alive. */
  tick(nowMs: number): void {
    const { detachGraceMs } = this.#deadlines;
    for (const reader of this.readers) reader.tick(nowMs, detachGraceMs);
    if (this.end !== undefined || this.signal.aborted) return;
    const { idleTimeoutMs, maxDurationMs, waitTimeoutMs } = this.#deadlines;
    const deserted = this.#deserted;
    if (deserted !== undefined && (nowMs >= deserted.untilMs || this.events >= deserted.untilEvents)) {
      this.stop(new GatewayError('client_left', deserted.why));
    } else if (this.phase === 'waiting' && nowMs - this.startedMs >= waitTimeoutMs) {
      this.stop(overloaded(`No place became free within ${waitTimeoutMs} ms (waitTimeoutMs).`));
    } else if (nowMs - this.startedMs >= maxDurationMs) {
      this.stop(
        new GatewayError(
          'stream_timeout',
          `The stream lasted longer than ${maxDurationMs} ms (maxDurationMs).`,
        ),
      );
    } else if (this.phase === 'streaming' && !this.#isPaused && nowMs - this.#lastEventMs >= idleTimeoutMs) {
      this.stop(
        new GatewayError(
          'upstream_idle',
          `The provider sent no event for ${idleTimeoutMs} ms (idleTimeoutMs).`,
        ),
      );
    }
  }

  /** Lets readers go that make no progress, or too little. */
  checkReaders(nowMs: number, queues: SendQueues | undefined): void {
    for (const reader of this.readers) reader.checkProgress(nowMs, queues);
  }
}
