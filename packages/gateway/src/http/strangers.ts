import type { Connection } from './connection.ts';

/**
 * How long a network may have more strangers than its bound: connections that came all at once could not send
 * a request yet.
 */
const burstMs = 1000;

/**
 * The strangers (connections without a key or a whole request) by their network. The strangers of one network
 * must not keep others out.
 */
export class StrangersByNetwork {
  readonly #maxPerNetwork: number;
  /** The strangers of each network in the order in which they came, the oldest first. */
  readonly #of = new Map<string, Set<Connection>>();
  /** The strangers of the networks that have more than `maxPerNetwork`. */
  readonly #crowds = new Set<Set<Connection>>();

  constructor(maxPerNetwork: number) {
    this.#maxPerNetwork = maxPerNetwork;
  }

  /** The strangers of one network that has more than its bound; `undefined` if there is none. */
  get crowd(): ReadonlySet<Connection> | undefined {
    const [crowd] = this.#crowds;
    return crowd;
  }

  /**
   * The strangers above their network's bound for longer than a burst, the oldest first. They may be deleted
   * while this is read.
   */
  *surplus(nowMs: number): Generator<Connection, void> {
    for (const strangers of this.#crowds) {
      for (const stranger of strangers) {
        if (strangers.size <= this.#maxPerNetwork || nowMs - stranger.idleSinceMs < burstMs) break;
        yield stranger;
      }
    }
  }

  add(network: string, stranger: Connection): void {
    const strangers = this.#of.get(network) ?? new Set();
    this.#of.set(network, strangers.add(stranger));
    if (strangers.size > this.#maxPerNetwork) this.#crowds.add(strangers);
  }

  delete(network: string, stranger: Connection): void {
    const strangers = this.#of.get(network);
    if (strangers?.delete(stranger) !== true) return;
    if (strangers.size <= this.#maxPerNetwork) this.#crowds.delete(strangers);
    if (strangers.size === 0) this.#of.delete(network);
  }
}
