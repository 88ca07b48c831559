/**
 * An owner may hold this many times what is free. With 2, a single owner gets two thirds; two owners get two fifths
 * each.
 */
const shareOfFree = 2;

/** The room that one body takes. */
export interface BodyHold {
  /**
   * Takes room for bytes that have come. Returns `false`, and takes nothing, if the owner would then hold more than
   * its share.
   */
  readonly grow: (bytes: number) => boolean;
  /** Gives a part of the room back. */
  readonly shrink: (bytes: number) => void;
  /** Gives all the room back. A second call does nothing. */
  readonly release: () => void;
}

/**
 * Counts the bytes of request bodies as they come, and keeps their sum within a bound. No owner (a key, or a client's
 * address) keeps the others out: an owner takes room only while it holds at most twice what stays free. So n owners that take
 * all they can leave a 3ⁿth part of the bound free at least, always, and a (2n + 1)th part as soon as those that hold more than
 * twice that have given it back (Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet Switches",
 * 1998).
 */
export class RequestMemory {
  /** The most bytes that one owner, and so one body, can ever hold: two thirds of the bound. */
  readonly maxOwnerBytes: number;
  readonly #maxBytes: number;
  #bytes = 0;
  #refusals = 0;
  readonly #byOwner = new Map<string, number>();

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.maxOwnerBytes = Math.floor((maxBytes * shareOfFree) / (shareOfFree + 1));
  }

  /** The bytes of all bodies together. */
  get heldBytes(): number {
    return this.#bytes;
  }

  /** How often a body found no room. */
  get refusals(): number {
    return this.#refusals;
  }

  /** Opens the hold of a body that has no bytes yet. */
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

  /** Whether an owner could take `bytes`, if it first gave `freedBytes` back. */
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
