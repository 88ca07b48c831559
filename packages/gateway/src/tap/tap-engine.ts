import { type Durability, type RecordSink, type SinkRecord, SpillwayError } from '@spillway/core';
import { hasCode } from '@spillway/server/tap/sinks/sink-error';
import type { TapLog } from '@spillway/server/tap/record-tap';
import type { ServerClock, ServerTimer } from '@spillway/server/time/server-clock';

/** An engine that cannot be opened is tried again after this time. */
const retryMs = 1000;
/** The log says a reason that has changed, at most so often. */
const tellEveryMs = 10_000;

export interface TapEngineOptions<Sink extends RecordSink> {
  /** The tap's name, for the log. */
  readonly name: string;
  readonly open: () => Promise<Sink>;
  /** Why the tap must not write to an engine that is open, such as a grade that is too low; `undefined`: it may. */
  readonly unfitness: (engine: Sink) => string | undefined;
  /** Called each time that an engine was opened to which the tap may write. Must not throw. */
  readonly onOpen?: (engine: Sink) => void;
  /** Called after each write that it has taken. Must not throw. */
  readonly onWritten?: (engine: Sink) => void;
  /** What a kept record is worth while the engine is not open. */
  readonly durability: Durability;
  /** Whether a disk takes what the engine does not. */
  readonly isSpilled: boolean;
  /** Whether one that answers and does not let the gateway in is an error, and not only away. */
  readonly isDenialAnError: boolean;
  /** How long the start waits for the engine; `undefined`: it waits until it knows, and an engine that is away is an error. */
  readonly timeoutMs: number | undefined;
  readonly clock: ServerClock;
  readonly log: TapLog;
}

/**
 * What a tap writes to, and which may be away when the gateway starts: it is tried once a second until it can be opened.
 * Until then each write rejects at once. An engine that turns out to be unfit while it is written to is closed, and opened
 * again in the same way: its grade may have been mended.
 */
export class TapEngine<Sink extends RecordSink> implements RecordSink {
  readonly #options: TapEngineOptions<Sink>;
  /** `undefined`: it is not open. */
  #engine: Sink | undefined;
  #opening: Promise<Sink> | undefined;
  #retry: ServerTimer | undefined;
  #awaySinceMs: number | undefined;
  /** The reason for which the log says that it is away, and when it was told; `undefined`: the log does not say so. */
  #told: { readonly reason: string; readonly atMs: number } | undefined;
  #problem: string | undefined;
  #isClosed = false;
  /** How often it was found without records that it had acknowledged. */
  forgotten = 0;

  private constructor(options: TapEngineOptions<Sink>) {
    this.#options = options;
  }

  /** @throws what `open` rejects with, unless the engine may be away and is; {@link UnfitEngine}. */
  static async open<Sink extends RecordSink>(options: TapEngineOptions<Sink>): Promise<TapEngine<Sink>> {
    const { clock, isDenialAnError, timeoutMs } = options;
    const made = new TapEngine(options);
    if (timeoutMs === undefined) {
      await made.#open();
      return made;
    }
    const late = Promise.withResolvers<never>();
    const timer = clock.after(timeoutMs, () =>
      late.reject(failed(`The engine could not be opened within ${timeoutMs} ms.`)),
    );
    try {
      await Promise.race([made.#open(), late.promise]);
    } catch (error) {
      if (!hasCode(error, 'sink_failed') || error instanceof UnfitEngine) throw error;
      if (isDenialAnError && isDenied(error)) throw error;
      made.#away(error);
      made.#openLater();
    } finally {
      timer.stop();
    }
    return made;
  }

  /** The engine, while it is open. */
  get engine(): Sink | undefined {
    return this.#engine;
  }

  get durability(): Durability {
    return this.#engine?.durability ?? this.#options.durability;
  }

  /** Whether the engine has taken its last write, or could be opened. */
  get isUp(): boolean {
    return this.#awaySinceMs === undefined;
  }

  /** Why it could not be opened, or did not take its last write; `undefined`: it could, and did. */
  get problem(): string | undefined {
    return this.#problem;
  }

  async write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    if (this.#isClosed) throw new SpillwayError('sink_closed', 'The engine is closed.');
    signal.throwIfAborted();
    const engine = this.#engine;
    // Nobody waits for an engine that opens: that may take for ever. Why it is not open was said when that was found.
    if (engine === undefined) throw failed(this.#problem ?? 'The engine could not be opened so far.');
    try {
      await this.#writeTo(engine, records, signal);
    } catch (error) {
      if (hasCode(error, 'records_refused')) this.#back();
      else if (!isOfRecords(error)) this.#away(error);
      throw error;
    }
    this.#back();
  }

  async #writeTo(engine: Sink, records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    try {
      await engine.write(records, signal);
      this.#options.onWritten?.(engine);
    } catch (error) {
      // The others are kept.
      if (hasCode(error, 'records_refused')) this.#expectFit(engine);
      throw error;
    }
    // A failover or a new setting may have made less of it meanwhile.
    this.#expectFit(engine);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#retry?.stop();
    await this.#opening?.catch(() => undefined);
    await this.#engine?.close();
  }

  #expectFit(engine: Sink): void {
    const problem = this.#options.unfitness(engine);
    if (problem === undefined) return;
    this.#engine = undefined;
    // It has settled its write, and nobody waits for it any more.
    void engine.close().catch(() => undefined);
    this.#openLater();
    throw new UnfitEngine(problem);
  }

  #open(): Promise<Sink> {
    // A try that the start did not wait for may have come to an end.
    if (this.#engine !== undefined) return Promise.resolve(this.#engine);
    this.#opening ??= this.#openFit().finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  async #openFit(): Promise<Sink> {
    const { onOpen, open, unfitness } = this.#options;
    const engine = await open();
    const problem = unfitness(engine);
    if (problem !== undefined) {
      await engine.close().catch(() => undefined);
      throw new UnfitEngine(problem);
    }
    this.#engine = engine;
    onOpen?.(engine);
    return engine;
  }

  #openLater(): void {
    if (this.#isClosed) return;
    this.#retry = this.#options.clock.after(retryMs, () => {
      this.#open().then(
        () => this.#back(),
        (error: unknown) => {
          if (this.#isClosed) return;
          this.#away(error);
          this.#openLater();
        },
      );
    });
  }

  #away(error: unknown): void {
    const { clock, isSpilled, log, name } = this.#options;
    const reason = error instanceof Error ? error.message : String(error);
    const nowMs = clock.nowMs();
    const told = this.#told;
    const isNews = told === undefined || (told.reason !== reason && nowMs - told.atMs >= tellEveryMs);
    this.#problem = reason;
    this.#awaySinceMs ??= nowMs;
    // What an open engine does not keep is said by the tap itself.
    if (!isNews || (!isSpilled && this.#engine !== undefined)) return;
    this.#told = { reason, atMs: nowMs };
    const message = isSpilled
      ? 'what a tap writes to is away: its spill takes the records'
      : 'a tap is down: what it writes to cannot be opened';
    log.error({ tap: name, reason }, message);
  }

  #back(): void {
    const { clock, isSpilled, log, name } = this.#options;
    if (this.#awaySinceMs === undefined) return;
    const awayMs = Math.round(clock.nowMs() - this.#awaySinceMs);
    this.#awaySinceMs = undefined;
    this.#problem = undefined;
    if (this.#told === undefined) return;
    this.#told = undefined;
    const message = isSpilled
      ? 'what a tap writes to is back: it gets what is in the spill'
      : 'what a tap writes to is open';
    log.info({ tap: name, awayMs }, message);
  }
}

/** The engine is there, and the tap must not write to it. */
class UnfitEngine extends SpillwayError<'sink_failed'> {
  constructor(message: string) {
    super('sink_failed', message);
  }
}

/** Whether an engine answers, and waiting does not mend what it says: `SinkDenied`, of whatever copy of it. */
function isDenied(error: unknown): boolean {
  return error instanceof Error && 'isDenied' in error && error.isDenied === true;
}

/** Whether an error says something of the records, or of who closes the sink, and nothing of the engine. */
function isOfRecords(error: unknown): boolean {
  return ['invalid_option', 'sink_closed'].some((code) => hasCode(error, code));
}

function failed(message: string): SpillwayError {
  return new SpillwayError('sink_failed', message);
}
