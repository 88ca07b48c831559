import type { ServerClock } from '@spillway/server/time/server-clock';

/** What a stop waits for. */
interface Drained {
  drainAll(deadlineMs: number, onDeadline: () => void): Promise<void>;
  cancelAll(): void;
}

/** Streams that a stop waits for. */
export interface DrainedStreams extends Drained {
  readonly liveCount: number;
}

/** A step of a stop: for the log its stable message and figures, for people a sentence. */
interface DrainStep {
  readonly message: 'still stopping' | 'stopped' | 'stopping now' | 'stopping';
  readonly figures: Readonly<Record<string, number | string>>;
  readonly text: string;
}

interface DrainOptions {
  readonly streams: DrainedStreams;
  /** `undefined`: none are served. */
  readonly calls: () => (Drained & { readonly size: number }) | undefined;
  readonly clock: Pick<ServerClock, 'after' | 'dateMs' | 'nowMs'>;
  /** How long running streams and calls may take. */
  readonly shutdownMs: number;
  /** Closes everything else, after them. */
  readonly close: () => Promise<void>;
  readonly tell: (step: DrainStep) => void;
}

/** Steps of a wait are told every 5 s, and at most 10 times. */
const minStepMs = 5000;
const maxSteps = 10;

/** The stop of a gateway: running streams and calls may finish until a deadline, and each step is told. */
export class Drain {
  readonly #options: DrainOptions;
  #startedMs = 0;
  #deadlineMs = 0;
  #dates: { readonly sinceMs: number; readonly deadlineMs: number } | undefined;
  #isOver = false;
  /** What was live at the start, and what was ended before it was through. */
  #began: Live = { streams: 0, calls: 0 };
  #cut: Live | undefined;
  #done: Promise<void> | undefined;

  constructor(options: DrainOptions) {
    this.#options = options;
  }

  /** The start and the deadline of the stop, in milliseconds since 1970; `undefined`: it has not begun. */
  get dates(): { readonly sinceMs: number; readonly deadlineMs: number } | undefined {
    return this.#dates;
  }

  /** Begins to stop. A second call ends what is left. Resolves when everything is closed. */
  stop(): Promise<void> {
    if (this.#done === undefined) this.#done = this.#run();
    else if (!this.#isOver) this.#cutAll('a second request to stop');
    return this.#done;
  }

  get #live(): Live {
    const { calls, streams } = this.#options;
    return { streams: streams.liveCount, calls: calls()?.size ?? 0 };
  }

  async #run(): Promise<void> {
    const { calls, clock, close, shutdownMs, streams, tell } = this.#options;
    this.#startedMs = clock.nowMs();
    this.#deadlineMs = this.#startedMs + shutdownMs;
    this.#dates = { sinceMs: clock.dateMs(), deadlineMs: clock.dateMs() + shutdownMs };
    this.#began = this.#live;
    const isIdle = isNone(this.#began);
    tell({
      message: 'stopping',
      figures: { ...figuresOf(this.#began), deadlineMs: shutdownMs },
      text: isIdle
        ? 'Stopping: no stream is open.'
        : `Stopping: ${counted(this.#began)} may finish, within ${seconds(shutdownMs)}. A second signal ends them now.`,
    });
    const onDeadline = (): void => this.#cutAll('the deadline (shutdownMs)');
    const drained = Promise.all([
      streams.drainAll(shutdownMs, onDeadline),
      calls()?.drainAll(shutdownMs, onDeadline),
    ]);
    this.#tellLater(Math.max(minStepMs, shutdownMs / maxSteps));
    await drained;
    this.#isOver = true;
    await close();
    const tookMs = Math.round(clock.nowMs() - this.#startedMs);
    const cut = this.#cut ?? { streams: 0, calls: 0 };
    tell({
      message: 'stopped',
      figures: {
        ...figuresOf(this.#began),
        cut: cut.streams,
        ...(this.#began.calls === 0 ? {} : { cutCalls: cut.calls }),
        tookMs,
      },
      text: `Stopped after ${seconds(tookMs)}${isIdle ? '' : resultOf(this.#began, cut)}.`,
    });
  }

  #tellLater(everyMs: number): void {
    const { clock, tell } = this.#options;
    clock
      .after(everyMs, () => {
        const leftMs = Math.round(this.#deadlineMs - clock.nowMs());
        if (this.#isOver || this.#cut !== undefined || leftMs <= 0) return;
        const live = this.#live;
        tell({
          message: 'still stopping',
          figures: { ...figuresOf(live), leftMs },
          text: `Still stopping: ${counted(live)}, ${seconds(leftMs)} left.`,
        });
        this.#tellLater(everyMs);
      })
      .unref();
  }

  #cutAll(cause: string): void {
    const { calls, clock, streams, tell } = this.#options;
    if (this.#cut !== undefined || this.#isOver) return;
    this.#cut = this.#live;
    if (this.#dates !== undefined) this.#dates = { ...this.#dates, deadlineMs: clock.dateMs() };
    tell({
      message: 'stopping now',
      figures: { ...figuresOf(this.#cut), cause },
      text: `Stopping now: ${counted(this.#cut)} ended by ${cause}.`,
    });
    streams.cancelAll();
    calls()?.cancelAll();
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

/** How many run. */
interface Live {
  readonly streams: number;
  readonly calls: number;
}

function isNone({ calls, streams }: Live): boolean {
  return calls === 0 && streams === 0;
}

/** A gateway without calls does not speak of them. */
function figuresOf({ calls, streams }: Live): Readonly<Record<string, number>> {
  return calls === 0 ? { streams } : { streams, calls };
}

function resultOf(began: Live, cut: Live): string {
  if (!isNone(cut)) return `: ${counted(cut)} had to be ended`;
  return began.calls === 0 ? ': every stream finished' : ': all finished';
}

function counted({ calls, streams }: Live): string {
  const parts = [
    ...(streams > 0 || calls === 0 ? [`${streams} ${streams === 1 ? 'stream' : 'streams'}`] : []),
    ...(calls > 0 ? [`${calls} ${calls === 1 ? 'call' : 'calls'}`] : []),
  ];
  return parts.join(' and ');
}

function seconds(ms: number): string {
  return `${Math.round(ms / 100) / 10} s`;
}
