import { GatewayError } from './errors.ts';
import type { ClientResponse } from './sink/client-response.ts';
import { readSendQueues, type SendQueues } from './sink/send-queues.ts';
import { GatewayStream, type StreamDeadlines } from './stream.ts';

/** All streams that live, and the one clock that watches their deadlines. */
export class Streams {
  readonly #live = new Set<GatewayStream>();
  readonly #deadlines: StreamDeadlines;
  readonly #timer: NodeJS.Timeout;
  readonly #queuesEveryMs: number;
  #queuesReadMs = 0;
  #isReadingQueues = false;
  #onEmpty: (() => void) | undefined;

  constructor(deadlines: StreamDeadlines) {
    this.#deadlines = deadlines;
    const { idleTimeoutMs, keepAliveMs, maxDurationMs, stallTimeoutMs } = deadlines;
    // A deadline is met within an eighth of it, or a second.
    const shortestMs = Math.min(idleTimeoutMs, keepAliveMs, maxDurationMs, stallTimeoutMs);
    this.#timer = setInterval(() => this.#tick(), Math.min(1000, Math.max(25, shortestMs / 8)));
    this.#timer.unref();
    // So a reader is let go between one and 7/6 of the timeout after its last progress.
    this.#queuesEveryMs = stallTimeoutMs / 6;
  }

  [Symbol.iterator](): IterableIterator<GatewayStream> {
    return this.#live.values();
  }

  open(response: ClientResponse): GatewayStream {
    const stream = new GatewayStream(response, this.#deadlines, performance.now());
    this.#live.add(stream);
    return stream;
  }

  close(stream: GatewayStream): void {
    this.#live.delete(stream);
    if (this.#live.size === 0) this.#onEmpty?.();
  }

  /** Waits until no stream is left; after the deadline those that are left are stopped. */
  async drain(deadlineMs: number): Promise<void> {
    if (this.#live.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      setTimeout(() => this.stopAll(), deadlineMs).unref();
      // A client that does not even take the goodbye is not waited for.
      setTimeout(resolve, deadlineMs + goodbyeMs).unref();
    });
  }

  stopWatching(): void {
    clearInterval(this.#timer);
  }

  /** Ends every stream that is left. */
  stopAll(): void {
    for (const stream of this.#live) {
      stream.stop(new GatewayError('shutting_down', 'The gateway is shutting down.', { retryAfterS: 1 }));
    }
  }

  #tick(): void {
    const nowMs = performance.now();
    for (const stream of this.#live) stream.tick(nowMs);
    if (this.#live.size === 0 || this.#isReadingQueues || nowMs - this.#queuesReadMs < this.#queuesEveryMs)
      return;
    this.#isReadingQueues = true;
    void readSendQueues().then((queues) => this.#checkReaders(queues));
  }

  #checkReaders(queues: SendQueues | undefined): void {
    const nowMs = performance.now();
    this.#isReadingQueues = false;
    this.#queuesReadMs = nowMs;
    for (const stream of this.#live) stream.checkReader(nowMs, queues);
  }
}

const goodbyeMs = 500;
