import { type Durability, type RecordSink, type SinkRecord, SpillwayError } from '@spillway/core';
import type { TapLog } from '@spillway/server/tap/record-tap';
import type { ServerClock, ServerTimer } from '@spillway/server/time/server-clock';

/** An engine that cannot be opened is tried again after this time. */
const retryMs = 1000;

export interface SpilledEngineOptions<Sink extends RecordSink> {
  /** The tap's name, for the log. */
  readonly name: string;
  readonly open: () => Promise<Sink>;
  /** What a kept record of the engine is worth, also while it is not open. */
  readonly durability: Durability;
  /** How long the start waits for the engine. */
  readonly timeoutMs: number;
  readonly clock: ServerClock;
  readonly log: TapLog;
}

/**
 * The engine behind a spill. It may be away when the gateway starts: it is tried once a second until it can be opened. The
 * log says when it goes away and when it is back.
 */
export class SpilledEngine<Sink extends RecordSink> implements RecordSink {
  readonly durability: Durability;
  readonly #options: SpilledEngineOptions<Sink>;
  /** `undefined`: it could not be opened so far. */
  #engine: Sink | undefined;
  #opening: Promise<Sink> | undefined;
  #retry: ServerTimer | undefined;
  #awaySinceMs: number | undefined;
  #isClosed = false;

  private constructor(options: SpilledEngineOptions<Sink>) {
    this.#options = options;
    this.durability = options.durability;
  }

  /** @throws {SpillwayError} `invalid_option` for an engine that would never take a record. */
  static async open<Sink extends RecordSink>(
    options: SpilledEngineOptions<Sink>,
  ): Promise<SpilledEngine<Sink>> {
    const { clock, timeoutMs } = options;
    const made = new SpilledEngine(options);
    const late = Promise.withResolvers<never>();
    const timer = clock.after(timeoutMs, () =>
      late.reject(failed(`The engine could not be opened within ${timeoutMs} ms.`)),
    );
    try {
      await Promise.race([made.#open(), late.promise]);
    } catch (error) {
      if (!(error instanceof SpillwayError && error.code === 'sink_failed')) throw error;
      made.#away(error);
      made.#openLater();
    } finally {
      timer.stop();
    }
    return made;
  }

  /** The engine, once it is open. */
  get engine(): Sink | undefined {
    return this.#engine;
  }

  /** Whether the engine has taken its last write, or could be opened. */
  get isUp(): boolean {
    return this.#awaySinceMs === undefined;
  }

  async write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    if (this.#isClosed) throw new SpillwayError('sink_closed', 'The engine is closed.');
    signal.throwIfAborted();
    try {
      // The spill keeps the records, so nobody waits for an engine that opens.
      if (this.#engine === undefined) throw failed('The engine could not be opened so far.');
      await this.#engine.write(records, signal);
    } catch (error) {
      if (!isOfRecords(error)) this.#away(error);
      throw error;
    }
    this.#back();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#retry?.stop();
    await this.#opening?.catch(() => undefined);
    await this.#engine?.close();
  }

  #open(): Promise<Sink> {
    this.#opening ??= this.#options
      .open()
      .then((engine) => (this.#engine = engine))
      .finally(() => (this.#opening = undefined));
    return this.#opening;
  }

  #openLater(): void {
    this.#retry = this.#options.clock.after(retryMs, () => {
      this.#open().then(
        () => this.#back(),
        () => {
          if (!this.#isClosed) this.#openLater();
        },
      );
    });
  }

  #away(error: unknown): void {
    const { clock, log, name } = this.#options;
    if (this.#awaySinceMs !== undefined) return;
    this.#awaySinceMs = clock.nowMs();
    const reason = error instanceof Error ? error.message : String(error);
    log.error({ tap: name, reason }, 'what a tap writes to is away: its spill takes the records');
  }

  #back(): void {
    const { clock, log, name } = this.#options;
    if (this.#awaySinceMs === undefined) return;
    const awayMs = Math.round(clock.nowMs() - this.#awaySinceMs);
    this.#awaySinceMs = undefined;
    log.info({ tap: name, awayMs }, 'what a tap writes to is back: it gets what is in the spill');
  }
}

/** Whether an error says something of the records, or of who closes the sink, and nothing of the engine. */
function isOfRecords(error: unknown): boolean {
  return error instanceof SpillwayError && ['invalid_option', 'sink_closed'].includes(error.code);
}

function failed(message: string): SpillwayError {
  return new SpillwayError('sink_failed', message);
}
