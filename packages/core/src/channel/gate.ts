import { invalid } from '../invalid.ts';

/**
 * Holds readers back until something else has happened to the chunks, such as a write to a log: readers with this gate
 * take only chunks that lie below `openTo`, and see the end only after all is open. A gate changes when a reader gets
 * chunks, and which of them are merged; it loses nothing. What it holds back counts as waiting for the reader.
 */
export interface Gate {
  /** Readers may take chunks whose offsets lie below this number. `Infinity`: all chunks, and the end of the stream. */
  readonly openTo: number;
  /**
   * Opens the gate up to an offset. A gate never closes again: an earlier offset than before does nothing.
   *
   * @param to An offset, or `Infinity`. Readers of a chunk that was merged wait until all of it lies below `to`.
   * @throws {SpillwayError} `invalid_option` for `NaN`.
   */
  open(to: number): void;
  /** Calls back when the gate has opened further. Returns a function that removes the listener. */
  onOpen(listener: () => void): () => void;
}

/**
 * Creates a gate that is closed: `openTo` is 0.
 *
 * @example
 * ```ts
 * const durable = createGate();
 * const auditor = channel.reader();
 * const client = channel.reader({ gates: [durable] });
 * while (await auditor.ready()) {
 *   await log.append(auditor.takeAll());
 *   durable.open(auditor.offset); // the client may have what the log has
 * }
 * durable.open(Infinity);
 * ```
 */
export function createGate(): Gate {
  return new OpeningGate();
}

class OpeningGate implements Gate {
  readonly #listeners = new Set<() => void>();
  #openTo = 0;

  get openTo(): number {
    return this.#openTo;
  }

  open(to: number): void {
    if (Number.isNaN(to)) throw invalid('open: expected an offset or Infinity, got NaN.');
    if (to <= this.#openTo) return;
    this.#openTo = to;
    for (const listener of this.#listeners) listener();
  }

  onOpen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
