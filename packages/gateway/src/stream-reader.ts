import type { Credit, Gap, Overflow, Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { asGatewayError, GatewayError } from './errors.ts';
import { Progress } from './sink/progress.ts';
import type { ReaderResponse } from './sink/reader-response.ts';
import type { SendQueues } from './sink/send-queues.ts';
import { writeEvents } from './sink/write-events.ts';
import type { GatewayStream, StreamBody, StreamDeadlines } from './stream.ts';

/** What became of a reader: it got everything, it left, it was let go, or it was told of an error. */
export type ReaderEndReason = 'delivered' | 'failed' | 'left' | 'stalled';

export interface StreamReaderOptions {
  /** Default: `coalesce` where the format can, else `block`. */
  readonly overflow?: Overflow;
  /** Default: from the start. */
  readonly from?: number | 'now' | 'start';
  /** The bytes that may wait for it. Default: the channel's. */
  readonly maxBytes?: number;
  /** What may be sent to it. Default: whatever its connection takes. */
  readonly credit?: readonly Credit[];
  /** Whether it asked for events, so that comments may be sent while it waits. */
  readonly wantsEvents?: boolean;
  /** Whether it may come back: when it is the last to leave, the model is not stopped at once. */
  readonly returns?: boolean;
}

/** One reader of a stream: takes from its channel, and writes to a response, to the end of either. */
export class StreamReader {
  readonly response: ReaderResponse;
  readonly #stream: GatewayStream;
  readonly #options: StreamReaderOptions;
  readonly #deadlines: StreamDeadlines;
  readonly #progress: Progress;
  #credit: readonly Credit[];
  #reader: Reader<EventRun | Gap> | undefined;
  #left: GatewayError | undefined;
  #lastSentMs: number;
  /** When its connection was lost; `undefined`: it has one. */
  #lostMs: number | undefined;

  constructor(
    stream: GatewayStream,
    response: ReaderResponse,
    options: StreamReaderOptions,
    deadlines: StreamDeadlines,
    nowMs: number,
  ) {
    this.#stream = stream;
    this.response = response;
    this.#options = options;
    this.#deadlines = deadlines;
    this.#progress = new Progress(deadlines);
    this.#credit = options.credit ?? [];
    this.#lastSentMs = nowMs;
  }

  /** Whether its connection is gone, and it may come back. */
  get isLost(): boolean {
    return this.#lostMs !== undefined;
  }

  /** The bytes that wait for it in the channel. */
  get waitingBytes(): number {
    return this.#reader?.waitingBytes ?? 0;
  }

  /** The chunks that wait for it in the channel. */
  get waitingItems(): number {
    return this.#reader?.waitingItems ?? 0;
  }

  /** Writes the stream, to its end or the reader's. Never rejects: every error is told to the reader. */
  async serve(): Promise<ReaderEndReason> {
    const { response } = this;
    try {
      const body = await this.#stream.started;
      if (this.#left === undefined) await this.#write(body);
    } catch (thrown) {
      const error = asGatewayError(this.#left ?? thrown);
      response.fail(error);
      // What was handed over may still have to reach a slow client, whose progress is watched on.
      await response.settled;
      return reasonOf(this.#left) ?? reasonOf(error) ?? 'failed';
    }
    await response.settled;
    return reasonOf(this.#left) ?? 'delivered';
  }

  /** It goes, and what waits for it does not matter any more. `mayReturn`: it may come back as another reader. */
  leave(reason: GatewayError, mayReturn = this.#options.returns === true): void {
    if (this.#left !== undefined) return;
    this.#left = reason;
    this.#reader?.detach();
    this.#stream.left(this, reason, mayReturn);
  }

  /** It gets no more than it has got; it may come back. */
  finish(): void {
    this.#reader?.detach();
  }

  /** Its connection is gone, and it may come back. */
  lost(nowMs: number): void {
    this.#lostMs = nowMs;
  }

  /**
   * It is there again, with credit of its new connection. What the old one granted is void, so it takes up
   * the stream with a cursor of its own at the same place.
   */
  resumed(credit: readonly Credit[]): void {
    this.#lostMs = undefined;
    this.#credit = credit;
    const before = this.#reader;
    if (before === undefined || before.end !== undefined) return;
    this.#reader = this.#stream.openReader({ ...this.#options, credit, from: before.offset });
    before.detach();
  }

  /** Keeps a silent connection alive, and lets go of a reader that does not come back. */
  tick(nowMs: number, graceMs: number): void {
    const { response } = this;
    if (this.#lostMs !== undefined) {
      if (nowMs - this.#lostMs < graceMs) return;
      const reason = clientLeft(`did not come back within ${graceMs} ms (detachGraceMs)`);
      this.leave(reason, false);
      response.destroy(reason);
      return;
    }
    const { wantsEvents = false } = this.#options;
    if (!wantsEvents || response.isClosed || response.isBlocked || this.waitingBytes > 0) return;
    if (nowMs - this.#lastSentMs < this.#deadlines.keepAliveMs) return;
    response.ping();
    this.#lastSentMs = nowMs;
  }

  /** Lets the reader go if it makes no progress, or too little. */
  checkProgress(nowMs: number, queues: SendQueues | undefined): void {
    const { response } = this;
    if (response.isSettled || this.#lostMs !== undefined) return;
    const { bytes, isOwed } = response.progress(queues);
    const verdict = this.#progress.observe(nowMs, bytes, isOwed || this.waitingBytes > 0);
    if (verdict === undefined) return;
    const { minBytesPerSecond, stallTimeoutMs } = this.#deadlines;
    const reason = new GatewayError(
      'reader_stalled',
      verdict === 'no_progress'
        ? `The reader took nothing for ${stallTimeoutMs} ms (stallTimeoutMs).`
        : `The reader took less than ${minBytesPerSecond} bytes a second (minBytesPerSecond).`,
    );
    this.leave(reason);
    response.destroy(reason);
  }

  async #write(body: StreamBody): Promise<void> {
    const { response } = this;
    const { channel, headers, isEvents, status } = body;
    const start = (): void => {
      if (isEvents) response.startEventStream(headers);
      else if (!response.headersSent) response.start(status, headers);
    };
    const options = {
      start,
      onWritten: (run: EventRun) => {
        this.#lastSentMs = performance.now();
        this.#stream.sent(run);
      },
      // Behind the end nothing can be merged with what waits.
      delayMs: () => (body.format === undefined || channel.end !== undefined ? 0 : response.delayMs()),
    };
    const { from = 'start' } = this.#options;
    this.#reader = this.#stream.openReader({ ...this.#options, credit: this.#credit, from });
    if (this.#options.returns === true) start();
    let reader: Reader<EventRun | Gap>;
    do {
      reader = this.#reader;
      await writeEvents(reader, response, options);
      // With another one, it came back over a new connection.
    } while (reader !== this.#reader);
    const { end } = reader;
    if (end?.state === 'detached' && this.#left !== undefined) throw this.#left;
    if (end?.state === 'disconnected') throw fellBehind(end.offset);
    if (end !== undefined && 'error' in end) throw end.error;
    start();
    response.end('completed');
  }
}

export function clientLeft(how: string): GatewayError {
  return new GatewayError('client_left', `The client ${how}.`);
}

function fellBehind(offset: number): GatewayError {
  return new GatewayError(
    'reader_disconnected',
    `The reader fell behind by more than its window (windowBytes). It can come back at offset ${offset}.`,
  );
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
