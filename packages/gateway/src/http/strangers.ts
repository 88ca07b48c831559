import type { Connection } from './connection.ts';

/** So long a network may have more strangers than its bound: of many that come at once, nobody has been read yet. */
const burstMs = 1000;

/** Who has shown nothing yet, by the network from which it comes: the strangers of one network must not keep others out. */
export class StrangersByNetwork {
  readonly #maxPerNetwork: number;
  /** Those of each network in the order in which they came, the oldest first. */
  readonly #of = new Map<string, Set<Connection>>();
  /** The networks that have more than `maxPerNetwork`. */
  readonly #crowds = new Set<Set<Connection>>();

  constructor(maxPerNetwork: number) {
    this.#maxPerNetwork = maxPerNetwork;
  }

  /** The strangers of a network that has more than its bound; `undefined` if there is none. */
  get crowd(): ReadonlySet<Connection> | undefined {
    const [crowd] = this.#crowds;
    return crowd;
  }

  /** Those above their network's bound for longer than a burst, the oldest first. May be deleted while it is read. */
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
