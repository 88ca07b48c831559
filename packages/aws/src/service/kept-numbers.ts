/** The streams whose last number is remembered. */
const maxStreams = 10_000;

/** The number of the last record that is kept, by stream: the one that has not been written to for longest is forgotten first. */
export class KeptNumbers {
  readonly #last = new Map<string, number>();

  has(stream: string, seq: number): boolean {
    return seq <= (this.#last.get(stream) ?? -1);
  }

  add(stream: string, seq: number): void {
    const last = Math.max(seq, this.#last.get(stream) ?? -1);
    this.#last.delete(stream);
    this.#last.set(stream, last);
    for (const oldest of this.#last.keys()) {
      if (this.#last.size <= maxStreams) break;
      this.#last.delete(oldest);
    }
  }

  entries(): Iterable<readonly [stream: string, seq: number]> {
    return this.#last;
  }
}
