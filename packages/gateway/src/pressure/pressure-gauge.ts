/** How much gives way: 0 is nothing. */
export type Level = 0 | 1 | 2 | 3;

/** What pressure comes from, in the order in which it is told where several are as high. */
export const pressureCauses = [
  'memory',
  'loop_delay',
  'places',
  'provider_places',
  'provider_latency',
] as const;

export type PressureCause = (typeof pressureCauses)[number];

/** What was measured of each cause, in the unit of {@link thresholds}. Absent: nothing is known. */
export type Readings = Readonly<Partial<Record<PressureCause, number>>>;

/** A change of the level. */
export interface PressureChange {
  /** Milliseconds since 1970. */
  readonly atMs: number;
  readonly level: Level;
  readonly from: Level;
  /** Of a rise: what it comes from. Of a fall: what the level had come from. */
  readonly cause: PressureCause;
  /** What is measured of the cause at that moment. */
  readonly value: number;
}

/** From which reading on a cause asks for level 1, 2 and 3. */
export const thresholds: Readonly<Record<PressureCause, readonly [number, number, number]>> = {
  /** The part of its budget that is full: of what waits for readers, or of the bodies of requests. */
  memory: [0.6, 0.8, 0.9],
  /** The event loop's delay, p99 of a second, in milliseconds. */
  loop_delay: [100, 250, 500],
  /** The part of the places that is taken, and above 1 the part of the queue before them that is full. */
  places: [0.8, 1, 1.5],
  /** The same of the provider that has the least left. */
  provider_places: [0.8, 1, 1.5],
  /** The time to the first token, against what it is without load. */
  provider_latency: [2, 4, 8],
};

/** A cause asks for its level until it is below this part of the threshold. */
const hysteresis = 0.75;
/** So long a higher level must be asked for without a break: one pause of the garbage collector is none. */
const riseMs = 1500;
/** So long a level stays, at least, and a lower one must be enough without a break. */
const dwellMs = 5000;
/** A level that comes back within this time after it fell stays twice as long as before, up to the longest dwell. */
const relapseMs = 30_000;
const longestDwellMs = 20_000;

/**
 * The level of pressure, by what is measured. It rises when a cause has stood above a threshold for 1.5 s. It falls when all
 * causes have stood below three quarters of it for 5 s. What gave way makes the pressure less, so a level that falls too soon comes
 * back: it then stays for 10 s, and 20 s, so that levels do not swing.
 */
export class PressureGauge {
  #level: Level = 0;
  #cause: PressureCause = 'memory';
  #asked: Readonly<Record<PressureCause, Level>> = noLevels;
  /** Since when a higher level is asked for, and the least that was. */
  #rise: { readonly sinceMs: number; least: Level } | undefined;
  /** Since when a lower level is enough, and the most that was asked for. */
  #fall: { readonly sinceMs: number; most: Level } | undefined;
  #dwellMs = dwellMs;
  #fellMs = Number.NEGATIVE_INFINITY;

  get level(): Level {
    return this.#level;
  }

  /** What each cause asks for by itself at the moment. */
  get asked(): Readonly<Record<PressureCause, Level>> {
    return this.#asked;
  }

  /** Takes what is measured now; call it once a second. Returns a change of the level, if it is one. */
  take(readings: Readings, nowMs: number, dateMs: number): PressureChange | undefined {
    const asked = levels(readings, 1);
    this.#asked = asked;
    const [higher, enough] = [most(asked), most(levels(readings, hysteresis))];
    this.#rise = higher > this.#level ? (this.#rise ?? { sinceMs: nowMs, least: higher }) : undefined;
    this.#fall = enough < this.#level ? (this.#fall ?? { sinceMs: nowMs, most: enough }) : undefined;
    if (this.#rise !== undefined && higher < this.#rise.least) this.#rise.least = higher;
    if (this.#fall !== undefined && enough > this.#fall.most) this.#fall.most = enough;
    if (this.#rise !== undefined && nowMs - this.#rise.sinceMs >= riseMs) {
      this.#dwellMs =
        nowMs - this.#fellMs < relapseMs ? Math.min(2 * this.#dwellMs, longestDwellMs) : dwellMs;
      this.#cause = pressureCauses.find((cause) => asked[cause] === higher) ?? this.#cause;
      return this.#become(this.#rise.least, readings, dateMs);
    }
    if (this.#fall !== undefined && nowMs - this.#fall.sinceMs >= this.#dwellMs) {
      this.#fellMs = nowMs;
      return this.#become(this.#fall.most, readings, dateMs);
    }
    return undefined;
  }

  #become(level: Level, readings: Readings, atMs: number): PressureChange {
    const change = { atMs, level, from: this.#level, cause: this.#cause, value: readings[this.#cause] ?? 0 };
    this.#level = level;
    this.#rise = undefined;
    this.#fall = undefined;
    return change;
  }
}

/** The level that each cause asks for, with all thresholds at that part of themselves. */
function levels(readings: Readings, part: number): Record<PressureCause, Level> {
  const asked = { ...noLevels };
  for (const cause of pressureCauses) {
    const value = readings[cause] ?? 0;
    const [first, second, third] = thresholds[cause];
    asked[cause] = value >= third * part ? 3 : value >= second * part ? 2 : value >= first * part ? 1 : 0;
  }
  return asked;
}

function most(asked: Readonly<Record<PressureCause, Level>>): Level {
  return pressureCauses.reduce<Level>((level, cause) => (asked[cause] > level ? asked[cause] : level), 0);
}

const noLevels: Readonly<Record<PressureCause, Level>> = {
  memory: 0,
  loop_delay: 0,
  places: 0,
  provider_places: 0,
  provider_latency: 0,
};
