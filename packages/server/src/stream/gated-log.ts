import type { Gap, LosslessReaderOptions, Reader, ReaderOptions } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { StreamLog } from './stream-log.ts';
import type { TapGates } from './tap-gates.ts';

/**
 * A stream's log as its readers see it: up to the gates. Taps read the log itself. So nobody who reads a stream, in
 * whatever way, gets a chunk, an offset or an end that a tap holds back.
 */
export class GatedLog implements StreamLog {
  readonly #log: StreamLog;
  readonly #gates: TapGates;
  readonly refresh?: () => Promise<void>;

  constructor(log: StreamLog, gates: TapGates) {
    this.#log = log;
    this.#gates = gates;
    if (log.refresh !== undefined) this.refresh = () => log.refresh?.() ?? Promise.resolve();
  }

  get end(): StreamLog['end'] {
    const { end } = this.#log;
    return end === undefined || end.state === 'cancelled' || this.#openTo === Infinity ? end : undefined;
  }

  get heldBytes(): number {
    return this.#log.heldBytes;
  }

  /** For the stream's own accounts, and not for readers: what came last, also behind the gates. */
  newest(items: number): EventRun[] {
    return this.#log.newest(items);
  }

  get nextOffset(): number {
    return Math.max(this.oldestOffset, Math.min(this.#log.nextOffset, this.#openTo));
  }

  get oldestOffset(): number {
    return this.#log.oldestOffset;
  }

  get #openTo(): number {
    return Math.min(...this.#gates.chunks.map(({ openTo }) => openTo));
  }

  reader(options?: LosslessReaderOptions<EventRun>): Reader<EventRun>;
  reader(options: ReaderOptions<EventRun>): Reader<EventRun | Gap>;
  reader(options: ReaderOptions<EventRun> = {}): Reader<EventRun | Gap> {
    if (this.#gates.failure !== undefined) throw this.#gates.failure;
    return this.#log.reader({ ...options, gates: this.#gates.chunks });
  }

  cancel(reason: Error): void {
    this.#log.cancel(reason);
  }
}
