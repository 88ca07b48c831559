/** A mark that is to go back. */
interface DueMark {
  readonly name: string;
  readonly dueMs: number;
}

/** What an ear plays, by the clock, without keeping any of it. */
export class PlainEar {
  readonly #marks: DueMark[] = [];
  #endsAtMs = -Infinity;
  /** How often nothing was there to be played, since the first audio. */
  underruns = 0;

  /** Takes audio behind what is there. */
  add(ms: number, nowMs: number): void {
    if (this.#endsAtMs < nowMs && this.#endsAtMs !== -Infinity) this.underruns += 1;
    this.#endsAtMs = Math.max(this.#endsAtMs, nowMs) + ms;
  }

  /** Takes a mark: it is due when all before it was played. */
  mark(name: string): void {
    this.#marks.push({ name, dueMs: this.#endsAtMs });
  }

  /** The marks that have become due. */
  takeDue(nowMs: number): string[] {
    let count = 0;
    while ((this.#marks[count]?.dueMs ?? Infinity) <= nowMs) count += 1;
    return this.#marks.splice(0, count).map(({ name }) => name);
  }
}
