import { isDeepStrictEqual } from 'node:util';
import type { Timer } from '@spillway/core/clock';
import type { Refusal } from '@spillway/server/access/refusal';
import type { TapLog } from '@spillway/server/tap/record-tap';
import type { DeadLetterSink } from '@spillway/server/tap/sinks/dead-letter-sink';
import type { SpillSink } from '@spillway/server/tap/sinks/spill-sink';
import type { TapDeadLetters, TapSpill, TapState } from '@spillway/server/tap/tap-state';
import type { Tap } from '@spillway/server/stream/tap';
import { ConfigError } from '../config/config-error.ts';
import { engineKindOf, shownPlace } from '../config/engine-url.ts';
import {
  type ConfiguredTap,
  haveOnePlace,
  haveOneSpill,
  keysUnlike,
  overflowOf,
  placeOf,
  sharedPlaces,
} from '../config/tap.ts';
import { wantsAll } from '../config/wants.ts';
import type * as Opening from './open-tap.ts';
import type { OpenTap, TapsOptions } from './open-tap.ts';

/** How often the head of an audit log is written to the program's log, if it has moved. */
const headEveryMs = 60_000;
/** How often it is looked whether the streams of a tap that was taken out are over. */
const leavingEveryMs = 1000;
/** How long a stop waits for what a sink has not kept. */
const maxCloseMs = 5000;
/** How long a reload waits for a tap that an earlier one took out: it writes what it has, and then its sink closes. */
const maxFreeMs = 2 * maxCloseMs;

/** Other taps, open and not in force. One of the two has to be called. */
export interface PreparedTaps {
  /** Streams that begin from now on are read by them, and by no others. */
  commit(): void;
  /** Closes those that were opened for it. */
  abort(): Promise<void>;
}

/**
 * The configured taps, and their sinks. A tap that a reload has taken out or changed stays for the streams that it reads,
 * its gate too, and for what is in its spill; it is closed when the last of them is over, and all is written.
 */
export class Taps implements Iterable<Tap> {
  readonly #options: TapsOptions;
  /** What makes records of streams and keeps them. It is loaded for the first tap: many gateways have none. */
  #opening: typeof Opening | undefined;
  #taps: readonly OpenTap[];
  /** Taps that were taken out, and whose streams are not over. */
  #leaving: readonly OpenTap[] = [];
  /** Those of them whose streams are over, until they have closed. */
  readonly #closing = new Map<OpenTap, Promise<void>>();
  /** Those of which the log says that they stay for their spill. */
  readonly #toldSpilled = new WeakSet<OpenTap>();
  #watch: Timer | undefined;
  #isClosed = false;
  readonly #log: TapLog;
  readonly #timer: Timer;
  /** The heads that were logged last, by tap. */
  readonly #heads = new Map<string, string>();

  constructor(taps: readonly OpenTap[], options: TapsOptions, opening: typeof Opening | undefined) {
    const { clock, log } = options;
    this.#options = options;
    this.#opening = opening;
    this.#taps = taps;
    this.#log = log;
    this.#timer = clock.every(headEveryMs, () => this.#logHeads());
    this.#logHeads();
  }

  /** Those that read a stream which begins now. */
  *[Symbol.iterator](): IterableIterator<Tap> {
    for (const { tap } of this.#taps) yield tap;
  }

  /**
   * Opens what other settings need. A tap whose settings stay goes on; one of the same place shares its writer, because no
   * file has two.
   *
   * @throws {ConfigError} for a tap that cannot be opened beside those that write now. Nothing stays open then.
   */
  async prepare(settings: readonly ConfiguredTap[]): Promise<PreparedTaps> {
    const opened: OpenTap[] = [];
    const abort = async (): Promise<void> => {
      for (const { lags } of opened) lags?.close();
      await Promise.all(opened.map(({ change, tap }) => Promise.all([tap.close(0), change?.abort()])));
    };
    const taps: OpenTap[] = [];
    try {
      for (const tap of settings) {
        const same = this.#taps.find((open) => isDeepStrictEqual(open.settings, tap));
        if (same === undefined) opened.push(await this.#openBeside(tap));
        const next = same ?? opened.at(-1);
        if (next !== undefined) taps.push(next);
      }
    } catch (error) {
      await abort();
      throw error;
    }
    return { abort, commit: () => this.#replace(taps, opened, abort) };
  }

  /** Whether no stream can begin: a tap that every stream needs is down. */
  get areRefusingAll(): boolean {
    return this.#taps.some(({ settings, tap }) => tap.isRefusing && wantsAll(settings));
  }

  /** What the operator is told of each tap. */
  get status(): readonly TapState[] {
    return this.#taps.map(({ lags, settings, sink, tap: { figures } }) => ({
      ...figures,
      lost: figures.lost + (sink.spill?.lostRecords ?? 0) + (sink.deadLetters?.lostRecords ?? 0),
      to: shownPlace(settings.to),
      content: settings.content,
      gate: settings.gate,
      overflow: overflowOf(settings),
      durability: sink.durability,
      problem: sink.problem,
      forgotten: sink.forgotten,
      facts: sink.facts,
      head: sink.head,
      spill: sink.spill && spillOf(sink.spill, settings.maxSpillBytes, sink.isEngineUp),
      deadLetters: sink.deadLetters && lettersOf(sink.deadLetters),
      groups: lags?.lags ?? [],
    }));
  }

  /** A request was refused by the gateway itself. */
  refused(refusal: Refusal): void {
    for (const { tap } of this.#taps) tap.refused(refusal);
  }

  /** Writes down what waits, as far as each tap's deadline allows, and closes the sinks. Call it when no stream is live. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer.stop();
    this.#watch?.stop();
    const left = [...this.#taps, ...this.#leaving].map((open) => this.#closeOne(open));
    await Promise.all([...left, ...this.#closing.values()]);
    this.#logHeads();
  }

  async #closeOne(open: OpenTap): Promise<void> {
    const { lags, log, settings, shared, sink, tap } = open;
    lags?.close();
    await tap.close(Math.min(settings.deadlineMs, maxCloseMs));
    const { records } = tap.figures.lag;
    if (records > 0)
      this.#log.error(
        { tap: settings.name, records },
        'a tap was closed with records that its sink has not kept',
      );
    const { spilledBytes = 0, spilledRecords = 0 } = sink.spill ?? {};
    if (spilledRecords === 0 || shared.isOpen) return;
    const left = { tap: settings.name, records: spilledRecords, bytes: spilledBytes, spill: settings.spill };
    const message = 'a tap was closed with records in its spill: a start with its to and spill writes them';
    if (this.#taps.includes(open)) log.info(left, message);
    else log.error(left, message);
  }

  async #openBeside(settings: ConfiguredTap): Promise<OpenTap> {
    this.#opening ??= await import('./open-tap.ts');
    const { changedTap, openTap, tapOn } = this.#opening;
    const { name, to } = settings;
    const place = placeOf(to);
    const writers = [...this.#taps, ...this.#leaving].filter(({ shared }) => shared.isOpen);
    const spiller = writers.find(({ sink }) => haveOneSpill(sink.settings, settings));
    if (spiller !== undefined)
      return await changedTap(settings, this.#joinable(settings, spiller), this.#options);
    const writer = writers.find((open) => placeOf(open.settings.to) === place);
    if (writer === undefined) {
      await this.#untilFree(settings, place);
      if (to !== 'stdout:') return await openTap(settings, this.#options, true);
      throw new ConfigError(
        `tap ${name}: expected another place than stdout:, which has words for people since the start, got it; it needs a restart`,
      );
    }
    const unlike = keysUnlike(settings, writer.sink.settings);
    if (unlike.length === 0) return tapOn(settings, writer, this.#options);
    if (engineKindOf(to) === undefined) throw writtenOtherwise(settings, writer, unlike);
    // A server has as many writers as come.
    await this.#untilFree(settings, place);
    return await openTap(settings, this.#options, true);
  }

  /** The tap whose spill is to be written to, too: the way from there to the engine may become another one. */
  #joinable(settings: ConfiguredTap, spiller: OpenTap): OpenTap {
    const { name, spill, to } = settings;
    const written = spiller.sink.settings;
    if (!haveOnePlace(settings, written))
      throw new ConfigError(
        `tap ${name}: expected another spill than ${spill}, where the tap ${written.name} keeps records for ${shownPlace(written.to)}, got the same one with to: ${shownPlace(to)}; take another folder, and what the old one may have is written out meanwhile`,
      );
    const unlike = keysUnlike(settings, written);
    if (unlike.length > 0 && engineKindOf(to) === undefined)
      throw writtenOtherwise(settings, spiller, unlike);
    return spiller;
  }

  /** Waits for who still closes what is written there, or its spill: no file has two writers. */
  async #untilFree(wanted: ConfiguredTap, place: string): Promise<void> {
    const { name, to } = wanted;
    const closing = [...this.#closing].filter(
      ([{ settings }]) => placeOf(settings.to) === place || haveOneSpill(settings, wanted),
    );
    if (closing.length === 0) return;
    const late = Promise.withResolvers<'late'>();
    const timer = this.#options.clock.after(maxFreeMs, () => late.resolve('late'));
    const closed = Promise.allSettled(closing.map(([, done]) => done));
    const result = await Promise.race([closed, late.promise]);
    timer.stop();
    if (result !== 'late') return;
    const others = closing.map(([{ settings }]) => settings.name).join(', ');
    throw new ConfigError(
      `tap ${name}: expected ${shownPlace(to)} to be free, got the tap ${others}, which a reload took out, and which has not closed it within ${maxFreeMs / 1000} s; load the configuration again when the log says that it is closed`,
    );
  }

  #replace(taps: readonly OpenTap[], opened: readonly OpenTap[], abort: () => Promise<void>): void {
    // The gateway has stopped meanwhile.
    if (this.#isClosed) return void abort();
    for (const { change } of opened) change?.commit();
    this.#leaving = [...this.#leaving, ...this.#taps.filter((open) => !taps.includes(open))];
    this.#taps = taps;
    for (const { lags, log, sink } of this.#leaving) {
      lags?.close();
      log.isLeaving = !taps.some((tap) => tap.sink === sink);
    }
    for (const { log } of taps) log.isLeaving = false;
    if (this.#leaving.length > 0)
      this.#watch ??= this.#options.clock.every(leavingEveryMs, () => this.#closeIdle());
    this.#closeIdle();
  }

  /** Closes the taps whose last stream is over, and whose spill has nothing that nobody else would write. */
  #closeIdle(): void {
    const idle = this.#leaving.filter((open) => open.tap.isIdle && !this.#staysForSpill(open));
    if (idle.length === 0) return;
    this.#logHeads();
    this.#leaving = this.#leaving.filter((open) => !idle.includes(open));
    if (this.#leaving.length === 0) {
      this.#watch?.stop();
      this.#watch = undefined;
    }
    for (const open of idle) this.#closing.set(open, this.#closeLeft(open));
  }

  #staysForSpill(open: OpenTap): boolean {
    const { log, settings, sink } = open;
    const { spilledBytes = 0, spilledRecords = 0 } = sink.spill ?? {};
    if (spilledRecords === 0 || this.#taps.some((tap) => tap.sink === sink)) return false;
    if (!this.#toldSpilled.has(open))
      log.error(
        {
          tap: settings.name,
          to: shownPlace(settings.to),
          records: spilledRecords,
          bytes: spilledBytes,
          spill: settings.spill,
        },
        'a tap that a reload took out stays until what is in its spill is written',
      );
    this.#toldSpilled.add(open);
    return true;
  }

  async #closeLeft(open: OpenTap): Promise<void> {
    try {
      await this.#closeOne(open);
    } finally {
      this.#closing.delete(open);
    }
    this.#log.info(
      { tap: open.settings.name },
      'a tap that a reload took out is closed: its last stream is over',
    );
  }

  /** Whoever keeps the log elsewhere can prove with it later that an audit log lacks nothing. */
  #logHeads(): void {
    for (const { settings, sink } of [...this.#taps, ...this.#leaving]) {
      if (sink.head === undefined) continue;
      const { count, hash, writer } = sink.head;
      if (count === 0 || this.#heads.get(settings.name) === hash) continue;
      this.#heads.set(settings.name, hash);
      this.#log.info({ tap: settings.name, writer, count, hash }, 'head of an audit log');
    }
  }
}

/**
 * Opens the sinks of all taps.
 *
 * @throws {ConfigError} for a sink that cannot be opened.
 */
export async function openTaps(settings: readonly ConfiguredTap[], options: TapsOptions): Promise<Taps> {
  for (const names of sharedPlaces(settings)) options.log.error({ taps: names }, 'taps write to one place');
  if (settings.length === 0) return new Taps([], options, undefined);
  const opening = await import('./open-tap.ts');
  // Side by side: engines that are silent delay the start by one timeout together.
  const tried = await Promise.allSettled(settings.map((tap) => opening.openTap(tap, options, false)));
  const taps = tried.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  const problem = tried.find((each) => each.status === 'rejected');
  if (problem === undefined) return new Taps(taps, options, opening);
  for (const { lags } of taps) lags?.close();
  await Promise.all(taps.map((open) => open.sink.sink.close()));
  throw problem.reason;
}

function writtenOtherwise(
  { name, to }: ConfiguredTap,
  { settings }: OpenTap,
  keys: readonly string[],
): ConfigError {
  return new ConfigError(
    `tap ${name}: expected ${keys.join(', ')} as of the tap ${settings.name}, because they say how ${shownPlace(to)} is written, and it is written now, got another; take another place, or restart`,
  );
}

function lettersOf({ letterBytes, letters, maxBytes, path }: DeadLetterSink): TapDeadLetters {
  return { path, records: letters, bytes: letterBytes, maxBytes };
}

function spillOf(
  { spilledBytes, spilledRecords }: SpillSink,
  maxBytes: number,
  isEngineUp: boolean,
): TapSpill {
  return { records: spilledRecords, bytes: spilledBytes, maxBytes, isEngineUp };
}
