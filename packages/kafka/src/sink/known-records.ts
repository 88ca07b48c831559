interface KnownStream {
  /** The highest number that is kept. */
  last: number;
  /** Lower ones that are not. */
  readonly missing: Set<number>;
}

/**
 * Which records a topic keeps, by stream and number, as far as it was seen. What is before the first that was seen of a stream
 * counts as kept, because records are written in order.
 *
 * Streams ≤ `maxStreams`: the one that was not used for longest is forgotten. Missing records of a stream ≤ 1000.
 */
export class KnownRecords {
  readonly #maxStreams: number;
  /** The one that was not used for longest first. */
  readonly #streams = new Map<string, KnownStream>();

  constructor(maxStreams = 50_000) {
    this.#maxStreams = maxStreams;
  }

  has(stream: string, seq: number): boolean {
    const known = this.#streams.get(stream);
    return known !== undefined && seq <= known.last && !known.missing.has(seq);
  }

  /** The record is not kept, and never will be: those behind it may be. */
  lack(stream: string, seq: number): void {
    this.add(stream, seq);
    this.#streams.get(stream)?.missing.add(seq);
  }

  /** The record is kept, whole. */
  add(stream: string, seq: number): void {
    const known = this.#streams.get(stream) ?? { last: seq, missing: new Set() };
    this.#streams.delete(stream);
    this.#streams.set(stream, known);
    known.missing.delete(seq);
    for (let missing = Math.max(known.last + 1, seq - maxMissing); missing < seq; missing += 1)
      known.missing.add(missing);
    for (const missing of known.missing) {
      if (known.missing.size <= maxMissing) break;
      known.missing.delete(missing);
    }
    known.last = Math.max(known.last, seq);
    for (const oldest of this.#streams.keys()) {
      if (this.#streams.size <= this.#maxStreams) break;
      this.#streams.delete(oldest);
    }
  }
}

const maxMissing = 1000;
