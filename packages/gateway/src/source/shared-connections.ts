/** A connection that its pool keeps open. */
interface Closable {
  destroy(): void;
}

/**
 * The connections of all pools together. Opening one beyond `maxStreams` closes an idle one. So open
 * connections ≤ max(`maxStreams`, the most requests that ever ran at once).
 */
export class SharedConnections {
  readonly #maxOpen: number;
  readonly onDefect: (error: unknown) => void;
  /** The connections without a request, the last used one at the end. */
  readonly #idle = new Set<Closable>();
  #open = 0;

  constructor(maxOpen: number, onDefect: (error: unknown) => void) {
    this.#maxOpen = maxOpen;
    this.onDefect = onDefect;
  }

  /**
   * Called before a connection is opened. At the bound, the connection that is idle for longest is closed.
   */
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

  /** Closes up to `count` idle connections. */
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
