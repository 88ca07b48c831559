/** What the model made, and when, as a reader saw it that never waits. */
export class ModelTrace {
  tokens = 0;
  /** Of the first token, and of the newest. */
  firstAtMs = 0;
  lastAtMs = 0;
  isOver = false;
  /** What it ended with, if not whole. */
  problem = '';
  readonly #madeAtMs: number[] = [];
  /** How many tokens are before an offset. */
  readonly #places: { readonly offset: number; readonly tokens: number }[] = [{ offset: 0, tokens: 0 }];

  add(to: number, tokens: number, atMs: number): void {
    if (this.tokens === 0 && tokens > 0) this.firstAtMs = atMs;
    for (let made = 0; made < tokens; made += 1) this.#madeAtMs.push(atMs);
    this.tokens += tokens;
    if (tokens > 0) this.lastAtMs = atMs;
    this.#places.push({ offset: to, tokens: this.tokens });
  }

  /** How many tokens are before an offset; behind the newest it is a guess, which the next chunks mend. */
  tokensAt(offset: number): number {
    const places = this.#places;
    let low = 0;
    let high = places.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((places[middle]?.offset ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    const before = places[low] ?? { offset: 0, tokens: 0 };
    const after = places[low + 1];
    if (after === undefined) return before.tokens;
    const share = (offset - before.offset) / (after.offset - before.offset);
    return before.tokens + share * (after.tokens - before.tokens);
  }

  /** When a token was made; `undefined`: it is not. */
  madeAtMs(token: number): number | undefined {
    return this.#madeAtMs[token];
  }
}
