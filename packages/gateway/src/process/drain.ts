import type { ServerClock } from '@spillway/server/time/server-clock';

/** The streams that a stop waits for. */
export interface DrainedStreams {
  readonly liveCount: number;
  drainAll(deadlineMs: number, onDeadline: () => void): Promise<void>;
  cancelAll(): void;
}

/** A step of a stop: for the log its stable message and figures, for people a sentence. */
interface DrainStep {
  readonly message: 'still stopping' | 'stopped' | 'stopping now' | 'stopping';
  readonly figures: Readonly<Record<string, number | string>>;
  readonly text: string;
}

interface DrainOptions {
  readonly streams: DrainedStreams;
  readonly clock: Pick<ServerClock, 'after' | 'dateMs' | 'nowMs'>;
  /** How long running streams may take. */
  readonly shutdownMs: number;
  /** Closes everything else, after the streams. */
  readonly close: () => Promise<void>;
  readonly tell: (step: DrainStep) => void;
}

/** Steps of a wait are told every 5 s, and at most 10 times. */
const minStepMs = 5000;
const maxSteps = 10;

/** The stop of a gateway: running streams may finish until a deadline, and each step is told. */
export class Drain {
  readonly #options: DrainOptions;
  #startedMs = 0;
  #deadlineMs = 0;
  #dates: { readonly sinceMs: number; readonly deadlineMs: number } | undefined;
  #isOver = false;
  /** The streams that were live at the start, and those that were ended before they were through. */
  #streams = 0;
  #cut: number | undefined;
  #done: Promise<void> | undefined;

  constructor(options: DrainOptions) {
    this.#options = options;
  }

  /** The start and the deadline of the stop, in milliseconds since 1970; `undefined`: it has not begun. */
  get dates(): { readonly sinceMs: number; readonly deadlineMs: number } | undefined {
    return this.#dates;
  }

  /** Begins to stop. A second call ends the streams that are left. Resolves when everything is closed. */
  stop(): Promise<void> {
    if (this.#done === undefined) this.#done = this.#run();
    else if (!this.#isOver) this.#cutStreams('a second request to stop');
    return this.#done;
  }

  async #run(): Promise<void> {
    const { clock, close, shutdownMs, streams, tell } = this.#options;
    this.#startedMs = clock.nowMs();
    this.#deadlineMs = this.#startedMs + shutdownMs;
    this.#dates = { sinceMs: clock.dateMs(), deadlineMs: clock.dateMs() + shutdownMs };
    this.#streams = streams.liveCount;
    tell({
      message: 'stopping',
      figures: { streams: this.#streams, deadlineMs: shutdownMs },
      text:
        this.#streams === 0
          ? 'Stopping: no stream is open.'
          : `Stopping: ${counted(this.#streams)} may finish, within ${seconds(shutdownMs)}. A second signal ends them now.`,
    });
    const drained = streams.drainAll(shutdownMs, () => this.#cutStreams('the deadline (shutdownMs)'));
    this.#tellLater(Math.max(minStepMs, shutdownMs / maxSteps));
    await drained;
    this.#isOver = true;
    await close();
    const tookMs = Math.round(clock.nowMs() - this.#startedMs);
    const cut = this.#cut ?? 0;
    const result =
      this.#streams === 0 ? '' : cut === 0 ? ': every stream finished' : `: ${counted(cut)} had to be ended`;
    tell({
      message: 'stopped',
      figures: { streams: this.#streams, cut, tookMs },
      text: `Stopped after ${seconds(tookMs)}${result}.`,
    });
  }

  #tellLater(everyMs: number): void {
    const { clock, streams, tell } = this.#options;
    clock
      .after(everyMs, () => {
        const leftMs = Math.round(this.#deadlineMs - clock.nowMs());
        if (this.#isOver || this.#cut !== undefined || leftMs <= 0) return;
        const live = streams.liveCount;
        tell({
          message: 'still stopping',
          figures: { streams: live, leftMs },
          text: `Still stopping: ${counted(live)}, ${seconds(leftMs)} left.`,
        });
        this.#tellLater(everyMs);
      })
      .unref();
  }

  #cutStreams(cause: string): void {
    const { clock, streams, tell } = this.#options;
    if (this.#cut !== undefined || this.#isOver) return;
    this.#cut = streams.liveCount;
    if (this.#dates !== undefined) this.#dates = { ...this.#dates, deadlineMs: clock.dateMs() };
    tell({
      message: 'stopping now',
      figures: { streams: this.#cut, cause },
      text: `Stopping now: ${counted(this.#cut)} ended by ${cause}.`,
    });
    streams.cancelAll();
  }
}

/** Several kinds of streams as one; asked for late, because some are made after the drain. */
export function drainTogether(kinds: () => readonly DrainedStreams[]): DrainedStreams {
  return {
    get liveCount() {
      return kinds().reduce((sum, { liveCount }) => sum + liveCount, 0);
    },
    drainAll: async (deadlineMs, onDeadline) => {
      await Promise.all(kinds().map((kind) => kind.drainAll(deadlineMs, onDeadline)));
    },
    cancelAll: () => {
      for (const kind of kinds()) kind.cancelAll();
    },
  };
}

function counted(streams: number): string {
  return streams === 1 ? '1 stream' : `${streams} streams`;
}

function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}
