/** A connection that its pool keeps open. */
interface Closable {
  destroy(): void;
}

/** What all pools have together: open connections ≤ `maxStreams` and those with a request, always. */
export class SharedConnections {
  readonly #maxOpen: number;
  readonly onDefect: (error: unknown) => void;
  /** Those without a request, the one that was used last at the end. */
  readonly #idle = new Set<Closable>();
  #open = 0;

  constructor(maxOpen: number, onDefect: (error: unknown) => void) {
    this.#maxOpen = maxOpen;
    this.onDefect = onDefect;
  }

  /** One more is about to be opened: of those without a request, the one that is so for longest makes room for it. */
  opening(): void {
    this.#open += 1;
    if (this.#open > this.#maxOpen) this.closeIdle(1);
  }

  closed(connection: Closable): void {
    this.#open -= 1;
    this.#idle.delete(connection);
  }

  idle(connection: Closable): void {
    this.#idle.add(connection);
  }

  busy(connection: Closable): void {
    this.#idle.delete(connection);
  }

  /** Closes so many of those without a request. */
  closeIdle(count: number): void {
    let left = count;
    for (const connection of this.#idle) {
      if (left === 0) return;
      left -= 1;
      this.#idle.delete(connection);
      connection.destroy();
    }
  }
}
