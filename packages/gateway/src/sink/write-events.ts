import { Gap, type Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { ReaderResponse } from './reader-response.ts';

/** At most this much is taken from the channel at once; the rest waits where it is bounded. */
const maxTakeBytes = 32_768;

export interface WriteEventsOptions {
  /** Called before every write; the headers go out with the first one. */
  readonly start: () => void;
  readonly onWritten: (run: EventRun) => void;
  readonly onGap: (gap: Gap) => void;
  /** How long to wait before the next write, so that what waits can be merged; 0: not at all. */
  readonly delayMs: () => number;
}

/**
 * Writes what a reader gets, until its end: everything that is there at once, and then nothing until the connection has taken it and its link is due
 * again. A reader that keeps up gets each run as it came; one that falls behind gets larger writes by
 * itself, merged as far as its channel can.
 */
export function writeEvents(
  reader: Reader<EventRun | Gap>,
  response: ReaderResponse,
  options: WriteEventsOptions,
): Promise<void> {
  return new Promise((resolve, reject) => {
    new EventWriter(reader, response, options, resolve, reject).run();
  });
}

/** Not an async function: on the path of every token, a callback costs a fraction of three promises. */
class EventWriter {
  readonly #reader: Reader<EventRun | Gap>;
  readonly #response: ReaderResponse;
  readonly #options: WriteEventsOptions;
  readonly #resolve: () => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    reader: Reader<EventRun | Gap>,
    response: ReaderResponse,
    options: WriteEventsOptions,
    resolve: () => void,
    reject: (error: unknown) => void,
  ) {
    this.#reader = reader;
    this.#response = response;
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Waits for something to write, and writes what is there already. */
  readonly run = (): void => {
    while (this.#reader.whenReady(this.#onReady)) if (!this.#write()) return;
  };

  /** When the provider's read is dealt with, so that all that it brought is written at once. */
  readonly #onReady = (): void => process.nextTick(this.#go);

  readonly #go = (): void => {
    if (this.#write()) this.run();
  };

  /** Writes what is there. Returns whether to go on at once. */
  #write(): boolean {
    try {
      const waitMs = this.#options.delayMs();
      if (waitMs > 0 && this.#reader.end === undefined) return this.#runAfter(this.#response.rest(waitMs));
      if (!this.#writeWhatIsThere()) {
        // What was there may be held back again: credit that was there for it is gone with its connection.
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
    wait.then(this.run, this.#reject);
    return false;
  }

  /** Returns whether there was something. */
  #writeWhatIsThere(): boolean {
    const { onGap, onWritten, start } = this.#options;
    const reader = this.#reader;
    const response = this.#response;
    let isEmpty = true;
    let taken = 0;
    let wantsMore = true;
    while (wantsMore && taken < maxTakeBytes) {
      const from = reader.offset;
      const run = reader.take();
      if (run === undefined) break;
      if (isEmpty) start();
      isEmpty = false;
      if (run instanceof Gap) {
        response.gap?.(run);
        onGap(run);
        continue;
      }
      taken += run.byteLength;
      wantsMore = response.write(run, from, reader.offset);
      onWritten(run);
    }
    return !isEmpty;
  }
}
