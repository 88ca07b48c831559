import { resolve } from 'node:path';
import { SpillwayError } from '@spillway/core';
import { expectWhole, invalid } from '@spillway/core/invalid';
import type { ReadLimits, RecordSource, SourceItem, SourceLag } from '@spillway/core/source/record-source';
import { orAborted } from '@spillway/core/or-aborted';
import { nodeClock } from '../time/node-clock.ts';
import type { ServerClock } from '../time/server-clock.ts';
import { FollowedLog, type LogRow } from './followed-log.ts';
import { loadPlace, savePlace } from './reading-place.ts';

/** Who reads an audit log. */
export interface AuditSourceOptions {
  /** The reader's name, which its place belongs to: 1 to 64 characters of `A-Z a-z 0-9 _ -`. */
  readonly name: string;
  /** Time for the looks, and dates for the lag. Default: Node's. */
  readonly clock?: Pick<ServerClock, 'after' | 'dateMs'>;
}

/** A waiting read looks so often whether there is something new. */
const lookMs = 100;

/**
 * Opens an audit log to read its records while others write it, in the order in which they were written. A read looks every
 * 100 ms while nothing is new; it decrypts in the thread that calls it, and the log is never written.
 *
 * The place of the name is in a file beside the log, `PATH.NAME.place`, for its owner alone (mode 0600). It is on the disk
 * when an acknowledgement resolves, and a name that is new gets one at once. One program at a time may read under a name.
 *
 * A gap's `from` and `to` are numbers of rows of the log, and its `reason` is `removed` (by retention or `prune`), `erased`,
 * or `damaged` (changed in the file, so that it does not decrypt). Some of what was removed may have been the log's own
 * rows, so that `maxRecords` is a bound; so is `records` of the lag, which knows no `bytes`.
 *
 * @throws {SpillwayError} `invalid_option` for a wrong name, or files that are something else; `source_failed` if there is no
 * log, or not the one that the name has read before (replaced, or an older copy of it). The same rejects a later call.
 * @example
 * ```ts
 * const source = await openAuditSource('audit.db', { name: 'search-index' });
 * const items = await source.read({ maxItems: 100 }, AbortSignal.timeout(60_000));
 * // … and when they are done with:
 * await source.acknowledge(items, AbortSignal.timeout(5000));
 * await source.close();
 * ```
 */
export async function openAuditSource(path: string, options: AuditSourceOptions): Promise<RecordSource> {
  const { clock = nodeClock, name } = options;
  if (!/^[\w-]{1,64}$/.test(name))
    throw invalid(`name: expected 1 to 64 characters of A-Z a-z 0-9 _ -, got ${JSON.stringify(name)}.`);
  const file = resolve(path);
  const placeFile = `${file}.${name}.place`;
  const known = await loadPlace(placeFile);
  const advice = `Give the reader another name, or remove ${placeFile}: then it begins with the oldest record.`;
  const log = new FollowedLog(file, known?.log, advice);
  try {
    if (known !== undefined) log.expect(known);
    const place = known ?? { v: 1, log: log.mark, row: log.oldestRow - 1, hash: '' };
    // What is removed from now on is a gap for whoever comes under this name.
    if (known === undefined) await savePlace(placeFile, place);
    return new FollowingSource(log, place.log, placeFile, place, clock);
  } catch (error) {
    log.close();
    throw error;
  }
}

/** An item that was given: the how many-th, and the last row that it stands for. */
interface Given extends LogRow {
  readonly order: number;
}

class FollowingSource implements RecordSource {
  readonly #log: FollowedLog;
  readonly #mark: string;
  readonly #placeFile: string;
  readonly #clock: Pick<ServerClock, 'after' | 'dateMs'>;
  /** Only for items that somebody still has. */
  readonly #given = new WeakMap<SourceItem, Given>();
  readonly #closing = new AbortController();
  #givenCount = 0;
  /** What the next read goes on behind. */
  #last: LogRow;
  /** Up to where all is acknowledged, on the disk. */
  #done: Given;
  #saving: Promise<void> = Promise.resolve();

  constructor(
    log: FollowedLog,
    mark: string,
    placeFile: string,
    place: LogRow,
    clock: Pick<ServerClock, 'after' | 'dateMs'>,
  ) {
    this.#log = log;
    this.#mark = mark;
    this.#placeFile = placeFile;
    this.#clock = clock;
    this.#last = place;
    this.#done = { row: place.row, hash: place.hash, order: 0 };
  }

  async read(limits: ReadLimits, signal: AbortSignal): Promise<readonly SourceItem[]> {
    expectWhole('maxItems', limits.maxItems, 1, 10_000);
    expectWhole('maxBytes', limits.maxBytes ?? 1, 1, Number.MAX_SAFE_INTEGER);
    for (;;) {
      this.#expectOpen(signal);
      const { items, last } = this.#log.itemsBehind(this.#last, limits);
      this.#last = last;
      for (const { hash, item, row } of items) {
        this.#givenCount += 1;
        this.#given.set(item, { row, hash, order: this.#givenCount });
      }
      if (items.length > 0) return items.map(({ item }) => item);
      await this.#pause(signal);
    }
  }

  async acknowledge(items: readonly SourceItem[], signal: AbortSignal): Promise<void> {
    this.#expectOpen(signal);
    const done = this.#doneWith(items);
    if (done === this.#done) return;
    this.#log.expect(this.#last);
    const saving = this.#saveNext(done);
    this.#saving = saving.catch(() => undefined);
    await orAborted(saving, signal);
  }

  async lag(signal: AbortSignal): Promise<SourceLag> {
    this.#expectOpen(signal);
    const { oldestMs, records } = this.#log.behind(this.#done);
    const ms = oldestMs === undefined ? 0 : Math.max(0, this.#clock.dateMs() - oldestMs);
    return Promise.resolve({ records, bytes: undefined, ms });
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#saving;
    this.#log.close();
  }

  #expectOpen(signal: AbortSignal): void {
    if (this.#closing.signal.aborted)
      throw new SpillwayError('source_closed', 'This reader of the audit log is closed. Open another one.');
    signal.throwIfAborted();
  }

  /** The last of what is done when these items are. */
  #doneWith(items: readonly SourceItem[]): Given {
    let done = this.#done;
    for (const item of items) {
      const given = this.#given.get(item);
      if (given === undefined || given.order > done.order + 1)
        throw invalid(
          'items: expected what this source has given, in that order and without leaving any out.',
        );
      if (given.order > done.order) done = given;
    }
    return done;
  }

  async #saveNext(done: Given): Promise<void> {
    // One that was aborted may still be at work.
    await this.#saving;
    if (done.order <= this.#done.order) return;
    try {
      await savePlace(this.#placeFile, { v: 1, log: this.#mark, row: done.row, hash: done.hash });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new SpillwayError('source_failed', `The place of a reader cannot be kept: ${why}`, {
        cause: error,
      });
    }
    this.#done = done;
  }

  /** Waits until it is time to look again, the signal is aborted or the source is closed. */
  #pause(signal: AbortSignal): Promise<void> {
    const { promise, resolve: end } = Promise.withResolvers<void>();
    const timer = this.#clock.after(lookMs, end);
    const stop = (): void => end();
    const signals = [signal, this.#closing.signal];
    for (const each of signals) each.addEventListener('abort', stop);
    return promise.finally(() => {
      timer.stop();
      for (const each of signals) each.removeEventListener('abort', stop);
    });
  }
}
