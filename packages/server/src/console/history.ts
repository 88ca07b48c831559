import type { Meter, StallCause } from '../stream/meter.ts';
import { LoopDelay, type LoopDelayMs, physicalBytes } from '../time/loop-delay.ts';
import type { ServerClock } from '../time/server-clock.ts';
import type { GatewayStream } from '../stream/stream.ts';
import type { TapState } from '../tap/tap-state.ts';
import { tapRow, tapSample } from './rows.ts';
import type { PressureChange, TapRow, Totals } from './snapshot.ts';
import { type Survey, survey } from '../stream/survey.ts';

/** Ten minutes of samples, one a second. */
const maxSamples = 600;
/** One minute of delays, one a second. */
const maxDelays = 60;

/** The level of pressure, as it is looked at once a second. */
export interface WatchedPressure {
  /** Takes what was measured in the last second. `loopDelayMs`: p99 of the event loop's delays. */
  take(measured: { readonly waitingBytes: number; readonly loopDelayMs: number }): void;
  /** Whether anything gives way to it. */
  readonly isConfigured: boolean;
  /** 0 to 3. */
  readonly level: number;
  /** The latest changes, oldest first: at most 50. */
  readonly changes: readonly PressureChange[];
}

export interface HistoryOptions {
  readonly meter: Meter;
  readonly clock: ServerClock;
  /** All known streams, also ended ones that can still be read. */
  readonly streams: () => Iterable<GatewayStream>;
  readonly ended: () => Totals['ended'];
  readonly sessions: () => number;
  readonly refused: () => Totals['refused'];
  readonly intakeClosedAtMs: () => number | null;
  /** Whether the last reload was refused. Default: there are no reloads. */
  readonly hasReloadFailed?: () => boolean;
  /** Whether a store of keys fails. Default: there is none. */
  readonly hasKeyStoreFailed?: () => boolean;
  readonly heldLimitBytes: number;
  /** The stop that is under way. Default: none. */
  readonly draining?: () => Totals['draining'];
  /** The taps. Default: none. */
  readonly taps?: () => readonly TapState[];
  /** Default: nothing gives way. */
  readonly pressure?: WatchedPressure;
}

/** The gateway's last ten minutes: at most 600 samples of about half a kilobyte, and a tenth of one for each tap. */
export class History {
  readonly #options: HistoryOptions;
  readonly #loopDelay = new LoopDelay();
  readonly #samples: Totals[] = [];
  readonly #delays: LoopDelayMs[] = [];
  /** How each tap was in the latest sample, and since when. */
  readonly #tapTurns = new Map<string, { readonly isUp: boolean; readonly sinceMs: number }>();

  constructor(options: HistoryOptions) {
    this.#options = options;
  }

  /** The samples, oldest first. */
  get samples(): readonly Totals[] {
    return this.#samples;
  }

  /** The event loop's delays in the worst second of the last minute. */
  get loopDelayMs(): LoopDelayMs {
    const worst = { p50: 0, p99: 0, max: 0 };
    for (const { max, p50, p99 } of this.#delays) {
      worst.p50 = Math.max(worst.p50, p50);
      worst.p99 = Math.max(worst.p99, p99);
      worst.max = Math.max(worst.max, max);
    }
    return worst;
  }

  /** The taps as they are now. */
  get taps(): readonly TapRow[] {
    const atMs = this.#options.clock.dateMs();
    return (this.#options.taps?.() ?? []).map((tap) => {
      const turn = this.#tapTurns.get(tap.name);
      return tapRow(tap, turn?.isUp === tap.isUp ? turn.sinceMs : atMs);
    });
  }

  /** The latest changes of the level of pressure. */
  get pressureChanges(): readonly PressureChange[] {
    return this.#options.pressure?.changes ?? [];
  }

  /** Takes a sample. Call it once a second. */
  sample(): Totals {
    const { clock, draining, ended, heldLimitBytes, intakeClosedAtMs, meter, refused, sessions, streams } =
      this.#options;
    const nowMs = clock.nowMs();
    const loopDelay = this.#loopDelay.take();
    this.#delays.push(loopDelay);
    if (this.#delays.length > maxDelays) this.#delays.shift();
    const { stallMs: lastingMs, ...surveyed } = look(streams(), nowMs);
    const { pressure } = this.#options;
    pressure?.take({ waitingBytes: surveyed.waitingBytes, loopDelayMs: loopDelay.p99 });
    const { taps } = this;
    for (const { isUp, name, sinceMs } of taps) this.#tapTurns.set(name, { isUp, sinceMs });
    const totals: Totals = {
      atMs: clock.dateMs(),
      ...surveyed,
      sessions: sessions(),
      intakeClosedAtMs: intakeClosedAtMs(),
      hasReloadFailed: this.#options.hasReloadFailed?.() ?? false,
      hasKeyStoreFailed: this.#options.hasKeyStoreFailed?.() ?? false,
      draining: draining?.() ?? null,
      pressure: pressure?.isConfigured === true ? pressure.level : null,
      heldLimitBytes,
      rssBytes: physicalBytes(),
      loopDelayMs: rounded(loopDelay),
      ttftMs: quantiles(meter.takeTtftsMs()),
      tokensGenerated: meter.eventsIn,
      tokensDelivered: meter.tokensDelivered,
      tokensAcknowledged: meter.tokensAcknowledged,
      tokensSaved: meter.tokensSaved,
      bytesIn: meter.bytesIn,
      bytesOut: meter.bytesOut,
      mergedEvents: meter.mergedEvents,
      gaps: sum(meter.gaps),
      stalls: sum(meter.stalls),
      stallMs: added(meter.stallMs, lastingMs),
      retries: meter.retries,
      ended: ended(),
      refused: refused(),
      taps: taps.map(tapSample),
    };
    this.#samples.push(totals);
    if (this.#samples.length > maxSamples) this.#samples.shift();
    return totals;
  }

  /** The latest sample, with the state of the streams as it is now. */
  now(): Totals {
    const latest = this.#samples.at(-1) ?? this.sample();
    const { clock, streams } = this.#options;
    const { stallMs: _, ...surveyed } = look(streams(), clock.nowMs());
    return { ...latest, ...surveyed };
  }

  stop(): void {
    this.#loopDelay.stop();
  }
}

function look(streams: Iterable<GatewayStream>, nowMs: number): Omit<Survey, 'maxLagRatio'> {
  const { maxLagRatio: _, ...surveyed } = survey(streams, nowMs);
  return { ...surveyed, maxLagMs: Math.round(surveyed.maxLagMs) };
}

function quantiles(values: number[]): Totals['ttftMs'] {
  if (values.length === 0) return null;
  const sorted = values.toSorted((a, b) => a - b);
  const at = (q: number): number => sorted[Math.floor((sorted.length - 1) * q)] ?? 0;
  return rounded({ p50: at(0.5), p99: at(0.99) });
}

function rounded({ p50, p99 }: { p50: number; p99: number }): { p50: number; p99: number } {
  return { p50: Math.round(p50 * 10) / 10, p99: Math.round(p99 * 10) / 10 };
}

function sum(numbers: Readonly<Record<string, number>>): number {
  return Object.values(numbers).reduce((total, value) => total + value, 0);
}

/** Adds the present stalls to the ended ones, so that a long stall is seen before its end. */
function added(
  over: Readonly<Record<StallCause, number>>,
  lasting: Readonly<Record<StallCause, number>>,
): Record<StallCause, number> {
  const both = { ...over };
  for (const cause of Object.keys(both) as StallCause[])
    both[cause] = Math.round(both[cause] + lasting[cause]);
  return both;
}
