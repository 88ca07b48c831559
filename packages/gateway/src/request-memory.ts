/** How much of what is free one owner may hold: with 2, one alone gets two thirds, two get two fifths each. */
const shareOfFree = 2;

/** The room that one body takes. */
export interface BodyHold {
  /**
   * Takes room for bytes that have come. Returns `false`, and takes nothing, when the owner would hold more than its
   * share, or all owners more than the bound.
   */
  readonly grow: (bytes: number) => boolean;
  /** Gives a part of it back. */
  readonly shrink: (bytes: number) => void;
  /** Gives all of it back. A second call does nothing. */
  readonly release: () => void;
}

/**
 * Counts the request bodies that are held, as their bytes come, so that all together stay within a bound, and so that
 * no owner (a key, or a client's address) keeps the others out: one may hold at most twice what is free at that moment.
 * That always leaves room for one more (Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet
 * Switches", 1998).
 */
export class RequestMemory {
  readonly #maxBytes: number;
  #bytes = 0;
  readonly #byOwner = new Map<string, number>();

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** What all bodies hold. */
  get heldBytes(): number {
    return this.#bytes;
  }

  /** Opens the hold of a body of which nothing has come yet. */
  hold(owner: string): BodyHold {
    let held = 0;
    return {
      grow: (bytes) => {
        // A single body is always let in when nothing else is held.
        if (this.#bytes > held && !this.#hasRoom(owner, bytes)) return false;
        held += bytes;
        this.#add(owner, bytes);
        return true;
      },
      shrink: (bytes) => {
        held -= bytes;
        this.#add(owner, -bytes);
      },
      release: () => {
        this.#add(owner, -held);
        held = 0;
      },
    };
  }

  #hasRoom(owner: string, bytes: number): boolean {
    const freeBytes = this.#maxBytes - this.#bytes - bytes;
    return (this.#byOwner.get(owner) ?? 0) + bytes <= shareOfFree * freeBytes;
  }

  #add(owner: string, bytes: number): void {
    this.#bytes += bytes;
    const owned = (this.#byOwner.get(owner) ?? 0) + bytes;
    if (owned === 0) this.#byOwner.delete(owner);
    else this.#byOwner.set(owner, owned);
  }
}
