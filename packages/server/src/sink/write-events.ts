import { Gap, type Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { ReaderResponse } from './reader-response.ts';
import type { ServerClock } from '../time/server-clock.ts';

/** The most bytes that are taken from the channel at once. The rest waits there, where it is bounded. */
const maxTakeBytes = 32_768;

/** Gets an event for each write to a reader. */
export interface WriteListener {
  /** Called before every write. The headers go out with the first one. */
  start(): void;
  written(run: EventRun): void;
  lost(gap: Gap): void;
  /** How long to wait before the next write, so that chunks can be merged; 0: write now. */
  delayMs(): number;
}

/**
 * Writes a reader's chunks until its cursor ends. Writes all that is there at once, then waits until the connection
 * has taken it and the link's pace allows more. A reader that keeps up gets each run as it came. A reader that falls
 * behind gets larger writes, merged as far as its channel can.
 */
export function writeEvents(
  reader: Reader<EventRun | Gap>,
  response: ReaderResponse,
  listener: WriteListener,
  clock: Pick<ServerClock, 'nextTick'>,
): Promise<void> {
  return new Promise((resolve, reject) => {
    new EventWriter(reader, response, listener, clock, resolve, reject).run();
  });
}

/** Callbacks instead of an async function: on the path of every token, a callback costs a fraction of three promises. */
class EventWriter {
  readonly #reader: Reader<EventRun | Gap>;
  readonly #response: ReaderResponse;
  readonly #listener: WriteListener;
  readonly #clock: Pick<ServerClock, 'nextTick'>;
  readonly #resolve: () => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    reader: Reader<EventRun | Gap>,
    response: ReaderResponse,
    listener: WriteListener,
    clock: Pick<ServerClock, 'nextTick'>,
    resolve: () => void,
    reject: (error: unknown) => void,
  ) {
    this.#reader = reader;
    this.#response = response;
    this.#listener = listener;
    this.#clock = clock;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Writes the chunks that are there, or waits for some. */
  run(): void {
    try {
      while (this.#reader.whenReady(this.#onReady)) if (!this.#write()) return;
    } catch (error) {
      this.#reject(error);
    }
  }

  /** Writes after the provider's read is handled, so that all its chunks go out in one write. */
  readonly #onReady = (): void => this.#clock.nextTick(go, this);

  go(): void {
    if (this.#write()) this.run();
  }

  /** Writes the chunks that are there. Returns whether to go on at once. */
  #write(): boolean {
    try {
      const waitMs = this.#listener.delayMs();
      if (waitMs > 0 && this.#reader.end === undefined) return this.#runAfter(this.#response.rest(waitMs));
      if (!this.#writeWhatIsThere()) {
        // The chunk may wait for credit again: its credit was lost with the connection.
        if (this.#reader.end === undefined) return true;
        this.#resolve();
        return false;
      }
      return this.#response.flush() || this.#runAfter(this.#response.drained());
    } catch (error) {
      this.#reject(error);
      return false;
    }
  }

  #runAfter(wait: Promise<void>): false {
    wait.then(() => this.run(), this.#reject);
    return false;
  }

  /** Returns whether there was a chunk or gap to write. */
  #writeWhatIsThere(): boolean {
    const listener = this.#listener;
    const reader = this.#reader;
    const response = this.#response;
    let isEmpty = true;
    let taken = 0;
    let wantsMore = true;
    while (wantsMore && taken < maxTakeBytes) {
      const from = reader.offset;
      const run = reader.take();
      if (run === undefined) break;
      if (isEmpty) listener.start();
      isEmpty = false;
      if (run instanceof Gap) {
        response.gap?.(run);
        listener.lost(run);
        continue;
      }
      taken += run.byteLength;
      wantsMore = response.write(run, from, reader.offset);
      listener.written(run);
    }
    return !isEmpty;
  }
}

function go(writer: EventWriter): void {
  writer.go();
}
