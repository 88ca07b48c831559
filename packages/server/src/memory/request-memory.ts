/** How much of what is free one owner may hold: with 2, one alone gets two thirds, two get two fifths each. */
const shareOfFree = 2;

/** The room that one body takes. */
export interface BodyHold {
  /**
   * Takes room for bytes that have come. Returns `false`, and takes nothing, when the owner would then hold more than
   * its share.
   */
  readonly grow: (bytes: number) => boolean;
  /** Gives a part of it back. */
  readonly shrink: (bytes: number) => void;
  /** Gives all of it back. A second call does nothing. */
  readonly release: () => void;
}

/**
 * Counts the request bodies that are held, as their bytes come, so that all together stay within a bound, and so that
 * no owner (a key, or a client's address) keeps the others out: an owner takes room only while it holds at most twice
 * what stays free. So with n owners at least `maxBytes` / (2n + 1) are free always (Choudhury and Hahne, "Dynamic Queue
 * Length Thresholds for Shared-Memory Packet Switches", 1998).
 */
export class RequestMemory {
  /** The most that one owner can ever hold, and so the largest body: two thirds of the bound. */
  readonly maxOwnerBytes: number;
  readonly #maxBytes: number;
  #bytes = 0;
  #refusals = 0;
  readonly #byOwner = new Map<string, number>();

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.maxOwnerBytes = Math.floor((maxBytes * shareOfFree) / (shareOfFree + 1));
  }

  /** What all bodies hold. */
  get heldBytes(): number {
    return this.#bytes;
  }

  /** How often there was no room. */
  get refusals(): number {
    return this.#refusals;
  }

  /** Opens the hold of a body of which nothing has come yet. */
  hold(owner: string): BodyHold {
    let held = 0;
    return {
      grow: (bytes) => {
        if (!this.hasRoom(owner, bytes)) {
          this.#refusals += 1;
          return false;
        }
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

  /** Whether an owner could take so much more, if it first gave so much back. */
  hasRoom(owner: string, bytes: number, freedBytes = 0): boolean {
    const freeBytes = this.#maxBytes - this.#bytes + freedBytes - bytes;
    return (this.#byOwner.get(owner) ?? 0) - freedBytes + bytes <= shareOfFree * freeBytes;
  }

  #add(owner: string, bytes: number): void {
    this.#bytes += bytes;
    const owned = (this.#byOwner.get(owner) ?? 0) + bytes;
    if (owned === 0) this.#byOwner.delete(owner);
    else this.#byOwner.set(owner, owned);
  }
}
