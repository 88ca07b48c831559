import { type Clock, systemClock } from './clock.ts';
import { expectWhole } from './invalid.ts';
import { SpillwayError } from './errors.ts';
import type { SinkRecord } from './sink-record.ts';
import type { RecordSink } from './sink/record-sink.ts';
import { RecordGap, type RecordSource, type SourceItem } from './source/record-source.ts';

/** The step of a copy that is done again. */
export type CopyStep = 'acknowledge' | 'gap' | 'read' | 'write';

/** What is done again, why, and when. */
export interface CopyRetry {
  /** What is done again; `gap` is a call of `onGap`. */
  readonly step: CopyStep;
  /** What the step rejected with. May quote what the sink was given, if the sink does. */
  readonly error: unknown;
  /** How long the copy waits until then. */
  readonly pauseMs: number;
}

/** How records are copied. */
export interface CopyOptions {
  /** The records and gaps of one batch: 1 to 10,000. Default: 100. */
  readonly maxItems?: number;
  /** The values of one batch in bytes: 1 or more. A record that is larger is a batch of its own. Default: 1 MiB. */
  readonly maxBytes?: number;
  /** The pause before a step is done again, 1 to 2^31 − 1; it doubles with each. Half of it is random. Default: 500. */
  readonly retryMs?: number;
  /** The longest pause: `retryMs` or more, to 2^31 − 1. Default: 30,000, or `retryMs` if that is more. */
  readonly maxRetryMs?: number;
  /** Ends the copy. */
  readonly signal: AbortSignal;
  /**
   * Called for each gap, in order between the records: those before it are written. One that rejects is called again, as
   * a write is. Default: gaps are counted.
   */
  readonly onGap?: (gap: RecordGap, signal: AbortSignal) => Promise<void> | void;
  /** Called when a step has rejected, before the pause. Must not throw. */
  readonly onRetry?: (retry: CopyRetry) => void;
  /** Time for the pauses. Default: the system's. */
  readonly clock?: Pick<Clock, 'after' | 'random'>;
}

/** What a copy has done: what was written and acknowledged. */
export interface CopyResult {
  /** Records that were acknowledged. */
  readonly records: number;
  /** Gaps that were told and acknowledged. */
  readonly gaps: number;
}

/** Done again they would say the same. */
const lastingCodes: ReadonlySet<string> = new Set(['invalid_option', 'sink_closed', 'source_closed']);

/**
 * Copies records from a source to a sink until the signal is aborted: reads a batch, writes it, acknowledges it, and reads
 * the next. One batch at most is in memory, whatever waits in the engine. A record is acknowledged only when it is
 * written, so that none is lost: a crash between the two writes it again. A sink that knows records by stream and number
 * then has each once.
 *
 * A step that rejects is unknown, and is done again until it works, with pauses that grow. A write that may hang needs a
 * deadline of its own: `AbortSignal.any([signal, AbortSignal.timeout(5000)])`. Closes neither source nor sink.
 *
 * @returns what was copied, when the signal is aborted. What was read and not acknowledged comes again from a later source.
 * @throws {SpillwayError} `invalid_option` for a wrong option, and what cannot be mended by doing it again: a rejection
 * with `invalid_option`, `source_closed` or `sink_closed`, and a mistake in the program: a `TypeError`, `ReferenceError` or
 * `RangeError` without a `cause`. (Node's `fetch` says with a cause that a server is away; in a browser wrap its error.)
 * @example
 * ```ts
 * import { copyRecords } from '@spillway/core/copy-records';
 *
 * const source = openMySource(queue, { name: 'search-index' });
 * const stop = new AbortController();
 * process.once('SIGTERM', () => stop.abort());
 * await copyRecords(source, { write: (records, signal) => index.put(records, signal) }, { signal: stop.signal });
 * await source.close();
 * ```
 */
export async function copyRecords(
  source: RecordSource,
  sink: Pick<RecordSink, 'write'>,
  options: CopyOptions,
): Promise<CopyResult> {
  const { maxBytes = 1_048_576, maxItems = 100, onGap, signal } = options;
  expectWhole('maxItems', maxItems, 1, 10_000);
  expectWhole('maxBytes', maxBytes, 1, Number.MAX_SAFE_INTEGER);
  const patience = new Patience(options);
  let records = 0;
  let gaps = 0;
  try {
    for (;;) {
      const items = await patience.until('read', () => source.read({ maxItems, maxBytes }, signal));
      for (const part of partsOf(items)) {
        if (part instanceof RecordGap) await patience.until('gap', () => onGap?.(part, signal));
        else await patience.until('write', () => sink.write(part, signal));
      }
      await patience.until('acknowledge', () => source.acknowledge(items, signal));
      const gapsOfBatch = items.filter((item) => item instanceof RecordGap).length;
      gaps += gapsOfBatch;
      records += items.length - gapsOfBatch;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
    return { records, gaps };
  }
}

/** Gaps, and the runs of records between them. */
function partsOf(items: readonly SourceItem[]): (RecordGap | SinkRecord[])[] {
  const parts: (RecordGap | SinkRecord[])[] = [];
  for (const item of items) {
    const last = parts.at(-1);
    if (item instanceof RecordGap) parts.push(item);
    else if (Array.isArray(last)) last.push(item);
    else parts.push([item]);
  }
  return parts;
}

/** Does a step again until it works, or the signal is aborted. */
class Patience {
  readonly #signal: AbortSignal;
  readonly #firstMs: number;
  readonly #maxMs: number;
  readonly #clock: Pick<Clock, 'after' | 'random'>;
  readonly #onRetry: ((retry: CopyRetry) => void) | undefined;

  constructor({ clock = systemClock, maxRetryMs, onRetry, retryMs = 500, signal }: CopyOptions) {
    expectWhole('retryMs', retryMs, 1, 2 ** 31 - 1);
    this.#maxMs = maxRetryMs ?? Math.max(retryMs, 30_000);
    expectWhole('maxRetryMs', this.#maxMs, retryMs, 2 ** 31 - 1);
    this.#firstMs = retryMs;
    this.#signal = signal;
    this.#clock = clock;
    this.#onRetry = onRetry;
  }

  async until<Value>(step: CopyStep, attempt: () => Promise<Value> | Value): Promise<Value> {
    for (let mostMs = this.#firstMs; ; mostMs = Math.min(mostMs * 2, this.#maxMs)) {
      this.#signal.throwIfAborted();
      try {
        return await attempt();
      } catch (error) {
        if (this.#signal.aborted || isLasting(error)) throw error;
        const pauseMs = Math.ceil(mostMs * (0.5 + this.#clock.random() / 2));
        this.#onRetry?.({ step, error, pauseMs });
        await this.#pause(pauseMs);
      }
    }
  }

  #pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#clock.after(ms, resolve);
    const stop = (): void => resolve();
    this.#signal.addEventListener('abort', stop, { once: true });
    return promise.finally(() => {
      timer.stop();
      this.#signal.removeEventListener('abort', stop);
    });
  }
}

function isLasting(error: unknown): boolean {
  if (error instanceof SpillwayError) return lastingCodes.has(error.code);
  return isDefect(error);
}

/** A mistake in a program, and not an engine that fails: `fetch` has a TypeError, too, with what failed as its cause. */
function isDefect(error: unknown): boolean {
  const isOfLanguage =
    error instanceof TypeError || error instanceof ReferenceError || error instanceof RangeError;
  return isOfLanguage && error.cause === undefined;
}
