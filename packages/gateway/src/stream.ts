import { randomUUID } from 'node:crypto';
import type { Config } from './config/schema.ts';
import { GatewayError, overloaded } from './errors.ts';
import type { ClientResponse } from './sink/client-response.ts';
import { Progress } from './sink/progress.ts';
import type { SendQueues } from './sink/send-queues.ts';

/**
 * Where a stream is: waiting for a free place, waiting for the provider's reply (and trying again),
 * or handing on its body.
 */
export type StreamPhase = 'opening' | 'streaming' | 'waiting';

/** How a stream ended. */
export type StreamState = 'cancelled' | 'completed' | 'failed';

/** What became of a stream's reader: it got everything, it left, it was let go, or it was told of an error. */
export type ReaderEndReason = 'delivered' | 'failed' | 'left' | 'stalled';

/** The deadlines of a stream, out of the configuration. */
export type StreamDeadlines = Pick<
  Config,
  'idleTimeoutMs' | 'keepAliveMs' | 'maxDurationMs' | 'minBytesPerSecond' | 'stallTimeoutMs' | 'waitTimeoutMs'
>;

/**
 * One request's life: its clock and the one signal that stops everything done for it. Time is
 * checked from outside, by `tick`: no stream has a timer of its own.
 */
export class GatewayStream {
  readonly id = randomUUID();
  readonly startedMs: number;
  readonly response: ClientResponse;
  phase: StreamPhase = 'waiting';
  /** Whether the client asked for events, so that comments may be sent while it waits. */
  wantsEvents = false;
  /** The bytes that wait in its channel. */
  waitingBytes: () => number = noBytes;
  /** The provider's reply was whole, whatever became of its reader. */
  hasCompleted = false;
  firstEventMs: number | undefined;
  events = 0;
  bytes = 0;
  readonly #controller = new AbortController();
  readonly #deadlines: StreamDeadlines;
  readonly #progress: Progress;
  #isPaused = false;
  #lastEventMs: number;
  #lastSentMs: number;

  constructor(response: ClientResponse, deadlines: StreamDeadlines, nowMs: number) {
    this.response = response;
    this.#deadlines = deadlines;
    this.#progress = new Progress(deadlines);
    this.startedMs = nowMs;
    this.#lastEventMs = nowMs;
    this.#lastSentMs = nowMs;
  }

  /** Aborted as soon as the stream has to stop; the reason is a {@link GatewayError}. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Stops everything that is done for this stream. The first reason counts. */
  stop(reason: GatewayError): void {
    this.#controller.abort(reason);
  }

  /** The provider's reply has come; from now on its silence counts. */
  startStreaming(nowMs: number): void {
    this.phase = 'streaming';
    this.#lastEventMs = nowMs;
  }

  /** Bytes came from the provider. */
  received(events: number, bytes: number, isProgress: boolean, nowMs: number): void {
    this.bytes += bytes;
    this.events += events;
    if (!isProgress) return;
    this.firstEventMs ??= nowMs;
    this.#lastEventMs = nowMs;
  }

  /** Something was written to the client. */
  sent(nowMs: number): void {
    this.#lastSentMs = nowMs;
  }

  /** The provider is made to wait, or may go on. Its silence is then no fault of its own. */
  paused(isPaused: boolean, nowMs: number): void {
    this.#isPaused = isPaused;
    this.#lastEventMs = nowMs;
  }

  /** Checks the deadlines of everything but the reader, and keeps a silent connection alive. */
  tick(nowMs: number): void {
    if (this.signal.aborted) return;
    const { idleTimeoutMs, maxDurationMs, waitTimeoutMs } = this.#deadlines;
    if (this.phase === 'waiting' && nowMs - this.startedMs >= waitTimeoutMs) {
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
    } else {
      this.#keepAlive(nowMs);
    }
  }

  /** Lets the reader go if it makes no progress, or too little. */
  checkReader(nowMs: number, queues: SendQueues | undefined): void {
    const { response } = this;
    const { socket } = response;
    if (socket === null || response.isSettled) return;
    const unacknowledgedBytes = queues?.bytesOf(socket) ?? 0;
    const isOwed = response.isBlocked || this.waitingBytes() > 0 || unacknowledgedBytes > 0;
    const acknowledgedBytes = response.flushedBytes - unacknowledgedBytes;
    const verdict = this.#progress.observe(nowMs, acknowledgedBytes, isOwed);
    if (verdict === undefined) return;
    const { minBytesPerSecond, stallTimeoutMs } = this.#deadlines;
    this.stop(
      new GatewayError(
        'reader_stalled',
        verdict === 'no_progress'
          ? `The reader took nothing for ${stallTimeoutMs} ms (stallTimeoutMs).`
          : `The reader took less than ${minBytesPerSecond} bytes a second (minBytesPerSecond).`,
      ),
    );
    // Nothing can be told to somebody who does not read.
    response.destroy();
  }

  #keepAlive(nowMs: number): void {
    const { response } = this;
    if (!this.wantsEvents || response.isClosed || response.isBlocked || this.waitingBytes() > 0) return;
    if (nowMs - this.#lastSentMs < this.#deadlines.keepAliveMs) return;
    response.ping();
    this.#lastSentMs = nowMs;
  }
}

function noBytes(): number {
  return 0;
}
