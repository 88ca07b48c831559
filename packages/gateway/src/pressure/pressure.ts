import type { ServerClock } from '@spillway/server/time/server-clock';
import type { PressureRule } from '../config/pressure-rule.ts';
import { cutMembers } from './answer-cuts.ts';
import { giveWay, type GivenWay, type PressedRequest } from './give-way.ts';
import { type Level, type PressureChange, PressureGauge, type Readings } from './pressure-gauge.ts';
import { type RunningAnswer, stopAnswers } from './stop-answers.ts';

/** The changes that are remembered. */
const maxChanges = 50;

interface PressureLog {
  info(figures: object, message: string): void;
  warn(figures: object, message: string): void;
}

/** What is measured of the process once a second. */
export interface Measured {
  /** The bytes that wait for the slowest reader of each stream, added up. */
  readonly waitingBytes: number;
  /** The event loop's delay, p99. */
  readonly loopDelayMs: number;
}

export interface PressureOptions {
  readonly rules: readonly PressureRule[];
  readonly clock: Pick<ServerClock, 'dateMs' | 'nowMs'>;
  readonly log: PressureLog;
  /** What all causes are at, by what was measured in the last second. */
  readonly readings: (measured: Measured) => Readings;
  /** The answers that may be stopped. */
  readonly running: () => Iterable<RunningAnswer>;
}

/** What gives way at the present level. */
export interface ActiveRules {
  /** The members of a JSON body's top level that have to be found in it, so that it can be edited; `undefined`: none is. */
  readonly members: readonly string[] | undefined;
  /** What gives way for a request; `undefined`: nothing. */
  giveWay(request: PressedRequest): GivenWay | undefined;
}

/** The pressure that the process is under, and what gives way to it. Without a rule it measures nothing. */
export class Pressure {
  readonly #options: PressureOptions;
  #rules: readonly PressureRule[];
  #gauge = new PressureGauge();
  #active: ActiveRules | undefined;
  readonly #changes: PressureChange[] = [];
  /** How often something gave way since the start, by what it was: the names in `changed`. */
  readonly counts: Record<string, number> & { stopped: number } = {
    merge_ms: 0,
    logprobs: 0,
    max_tokens: 0,
    reasoning_effort: 0,
    thinking_budget: 0,
    model: 0,
    refused: 0,
    stopped: 0,
  };

  constructor(options: PressureOptions) {
    this.#options = options;
    this.#rules = options.rules;
  }

  /** Whether there is a rule. */
  get isConfigured(): boolean {
    return this.#rules.length > 0;
  }

  get level(): Level {
    return this.#gauge.level;
  }

  /** The level that each cause asks for by itself. */
  get asked(): PressureGauge['asked'] {
    return this.#gauge.asked;
  }

  /** The changes of the level, oldest first: the latest 50. */
  get changes(): readonly PressureChange[] {
    return this.#changes;
  }

  /**
   * What gives way now; `undefined`: nothing does. It stays what it is for whoever holds it, also when the level changes: a body
   * is searched for what is edited in it later.
   */
  get active(): ActiveRules | undefined {
    return this.#active;
  }

  /** Puts other rules in force. Without any, the level is 0 from now on. */
  use(rules: readonly PressureRule[]): void {
    this.#rules = rules;
    if (rules.length === 0) this.#gauge = new PressureGauge();
    this.#activate();
  }

  /** Takes what is measured. Call it once a second. */
  take(measured: Measured): void {
    if (!this.isConfigured) return;
    const { clock, readings } = this.#options;
    const change = this.#gauge.take(readings(measured), clock.nowMs(), clock.dateMs());
    if (change !== undefined) this.#changed(change);
    this.#stop();
  }

  #changed(change: PressureChange): void {
    const { log } = this.#options;
    this.#changes.push(change);
    if (this.#changes.length > maxChanges) this.#changes.shift();
    this.#activate();
    const { cause, from, level, value } = change;
    const figures = { pressure: level, from, cause, value: Math.round(value * 100) / 100 };
    if (level > from) log.warn(figures, 'the pressure has risen, and more gives way');
    else log.info(figures, 'the pressure has fallen, and less gives way');
  }

  /** Stops what matters least, while a cause asks for it: not for as long as the level stays after that, as what else gives way. */
  #stop(): void {
    const asked = Math.max(...Object.values(this.asked));
    const rules = this.#rules.filter(({ level }) => level <= Math.min(asked, this.level));
    this.counts.stopped += stopAnswers(this.level, rules, this.#options.running);
  }

  #activate(): void {
    const { level } = this;
    const rules = this.#rules.filter((rule) => rule.level <= level);
    this.#active =
      rules.length === 0
        ? undefined
        : {
            members: rules.some(isOfBodies) ? cutMembers : undefined,
            giveWay: (request) => {
              const given = giveWay(level, rules, request);
              for (const told of given?.changed ?? []) this.#count(told);
              return given;
            },
          };
  }

  #count(told: string): void {
    const [what = ''] = told.split('=');
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }
}

function isOfBodies({ logprobs, maxTokens, model, reasoningEffort }: PressureRule): boolean {
  return [logprobs, maxTokens, model, reasoningEffort].some((value) => value !== undefined);
}
