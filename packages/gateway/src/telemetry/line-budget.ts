import type { Timer } from '@spillway/core/clock';
import type { ServerClock } from '@spillway/server/time/server-clock';

/** Lines of one kind that a minute may have. */
interface Kind {
  readonly fields: Readonly<Record<string, unknown>>;
  lines: number;
  leftOut: number;
}

export interface LineBudgetOptions {
  readonly clock: Pick<ServerClock, 'after'>;
  /** The lines that each kind may have in a minute. */
  readonly maxLines: number;
  /** Called when the minute is over, for each kind of which lines were left out. */
  readonly onLeftOut: (fields: Readonly<Record<string, unknown>>, leftOut: number) => void;
}

const windowMs = 60_000;
/** Kinds may be named after clients. Beyond so many in a minute, the others share one. */
const maxKinds = 1000;

/**
 * Bounds how many lines of each kind the program's log gets in a minute: a client that fails thousands of times a
 * second would fill a disk. Lines + left out = all, always: what was left out is reported at the end of the minute.
 */
export class LineBudget {
  readonly #options: LineBudgetOptions;
  readonly #kinds = new Map<string, Kind>();
  #timer: Timer | undefined;

  constructor(options: LineBudgetOptions) {
    this.#options = options;
  }

  /** Whether a line of that kind may be written. `fields` describe the kind in the report. */
  take(kind: string, fields: Readonly<Record<string, unknown>>): boolean {
    this.#timer ??= this.#options.clock.after(windowMs, () => this.close()).unref();
    const isNew = !this.#kinds.has(kind);
    const name = isNew && this.#kinds.size >= maxKinds ? 'others' : kind;
    const known = this.#kinds.get(name) ?? { fields: name === kind ? fields : {}, lines: 0, leftOut: 0 };
    this.#kinds.set(name, known);
    if (known.lines < this.#options.maxLines) {
      known.lines += 1;
      return true;
    }
    known.leftOut += 1;
    return false;
  }

  /** Ends the minute now, and reports what was left out. */
  close(): void {
    this.#timer?.stop();
    this.#timer = undefined;
    const kinds = [...this.#kinds.values()];
    this.#kinds.clear();
    for (const { fields, leftOut } of kinds) if (leftOut > 0) this.#options.onLeftOut(fields, leftOut);
  }
}
