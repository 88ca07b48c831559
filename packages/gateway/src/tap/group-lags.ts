import type { EngineSink } from '@spillway/core/engine';
import type { Timer } from '@spillway/core/clock';
import { orAborted } from '@spillway/core/or-aborted';
import type { TapLog } from '@spillway/server/tap/record-tap';
import type { TapGroup } from '@spillway/server/tap/tap-state';
import type { ServerClock } from '@spillway/server/time/server-clock';

/** How often an engine is asked. */
const everyMs = 10_000;
/** How long one answer may take. Less than the time between two: an engine that hangs is asked once at a time. */
const deadlineMs = 5000;

export interface GroupLagsOptions {
  /** The tap's name, for the log. */
  readonly tap: string;
  readonly groups: readonly string[];
  /** `undefined`: it is not open. */
  readonly engine: () => Pick<EngineSink, 'lagOf'> | undefined;
  readonly clock: ServerClock;
  readonly log: TapLog;
}

/** How far groups of readers of an engine are behind. The engine is asked every 10 s. */
export class GroupLags {
  readonly #options: GroupLagsOptions;
  readonly #timer: Timer;
  readonly #lags: Map<string, TapGroup>;
  /** The groups of which the log says that their lag is not known. */
  readonly #told = new Set<string>();
  /** Ends the questions that are under way. */
  #asking: AbortController | undefined;
  #isClosed = false;

  constructor(options: GroupLagsOptions) {
    const { clock, groups } = options;
    this.#options = options;
    this.#lags = new Map(groups.map((group) => [group, unknown(group, 'It was not asked so far.')]));
    this.#timer = clock.every(everyMs, () => void this.#ask());
    void this.#ask();
  }

  get lags(): readonly TapGroup[] {
    return [...this.#lags.values()];
  }

  close(): void {
    this.#isClosed = true;
    this.#timer.stop();
    this.#asking?.abort(new Error('The tap is closed.'));
  }

  async #ask(): Promise<void> {
    if (this.#asking !== undefined) return;
    const { clock, engine } = this.#options;
    const asking = new AbortController();
    this.#asking = asking;
    const late = clock.after(deadlineMs, () =>
      asking.abort(new Error(`The engine did not answer within ${deadlineMs} ms.`)),
    );
    await Promise.all([...this.#lags.keys()].map((group) => this.#askOne(group, engine(), asking.signal)));
    late.stop();
    this.#asking = undefined;
  }

  async #askOne(
    group: string,
    engine: Pick<EngineSink, 'lagOf'> | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      if (engine?.lagOf === undefined) throw new Error('The engine is not open.');
      const { entries, ms } = await orAborted(engine.lagOf(group, signal), signal);
      this.#put({ group, entries, ms, problem: undefined });
    } catch (error) {
      if (this.#isClosed) return;
      this.#put(unknown(group, error instanceof Error ? error.message : String(error)));
    }
  }

  #put(lag: TapGroup): void {
    const { engine, log, tap } = this.#options;
    const { group, problem } = lag;
    this.#lags.set(group, lag);
    const isTold = this.#told.has(group);
    // An engine that is away is said elsewhere.
    if (problem !== undefined && !isTold && engine() !== undefined) {
      this.#told.add(group);
      log.error({ tap, group, reason: problem }, 'how far readers of a tap are behind is not known');
    }
    if (problem === undefined && isTold) {
      this.#told.delete(group);
      log.info({ tap, group }, 'how far readers of a tap are behind is known again');
    }
  }
}

function unknown(group: string, problem: string): TapGroup {
  return { group, entries: undefined, ms: undefined, problem };
}
