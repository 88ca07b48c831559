import { Gap, type Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { ReaderResponse } from './reader-response.ts';

/** At most this much is taken from the channel at once; the rest waits where it is bounded. */
const maxTakeBytes = 32_768;

/** Who hears of what is written to a reader. */
export interface WriteListener {
  /** Called before every write; the headers go out with the first one. */
  start(): void;
  written(run: EventRun): void;
  lost(gap: Gap): void;
  /** How long to wait before the next write, so that what waits can be merged; 0: not at all. */
  delayMs(): number;
}

/**
 * Writes what a reader gets, until its end: everything that is there at once, and then nothing until the connection has taken it and its link is due
 * again. A reader that keeps up gets each run as it came; one that falls behind gets larger writes by
 * itself, merged as far as its channel can.
 */
export function writeEvents(
  reader: Reader<EventRun | Gap>,
  response: ReaderResponse,
  listener: WriteListener,
): Promise<void> {
  return new Promise((resolve, reject) => {
    new EventWriter(reader, response, listener, resolve, reject).run();
  });
}

/** Not an async function: on the path of every token, a callback costs a fraction of three promises. */
class EventWriter {
  readonly #reader: Reader<EventRun | Gap>;
  readonly #response: ReaderResponse;
  readonly #listener: WriteListener;
  readonly #resolve: () => void;
  readonly #reject: (error: unknown) => void;

  constructor(
    reader: Reader<EventRun | Gap>,
    response: ReaderResponse,
    listener: WriteListener,
    resolve: () => void,
    reject: (error: unknown) => void,
  ) {
    this.#reader = reader;
    this.#response = response;
    this.#listener = listener;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Waits for something to write, and writes what is there already. */
  run(): void {
    try {
      while (this.#reader.whenReady(this.#onReady)) if (!this.#write()) return;
    } catch (error) {
      this.#reject(error);
    }
  }

  /** When the provider's read is dealt with, so that all that it brought is written at once. */
  readonly #onReady = (): void => process.nextTick(go, this);

  go(): void {
    if (this.#write()) this.run();
  }

  /** Writes what is there. Returns whether to go on at once. */
  #write(): boolean {
    try {
      const waitMs = this.#listener.delayMs();
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
    wait.then(() => this.run(), this.#reject);
    return false;
  }

  /** Returns whether there was something. */
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
