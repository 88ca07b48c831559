/** What a large event has at first is so large a part of the memory; it doubles as the event grows. */
const firstPart = 1 / 64;

/** The room of one event: while it comes, and then until everybody who reads it has it. */
export class EventPlace {
  readonly owner: string;
  /** What it has. */
  bytes = 0;
  /** Whom to call when there is room to grow; `undefined`: it does not wait. */
  onRoom: (() => void) | undefined;
  readonly #memory: EventMemory;

  constructor(memory: EventMemory, owner: string) {
    this.#memory = memory;
    this.owner = owner;
  }

  /**
   * Doubles what it has. Returns `true` when that was done at once; otherwise calls back when it is done, once, unless the
   * place is released before. One call at a time.
   */
  grow(onRoom: () => void): boolean {
    return this.#memory.grow(this, onRoom);
  }

  /** Its event is whole, and has so many bytes. */
  settle(bytes: number): void {
    this.#memory.settle(this, bytes);
  }

  /** Gives all of it back, and waits no more. A second call does nothing. */
  release(): void {
    this.#memory.settle(this, 0);
  }
}

/** What one owner has. */
interface Owned {
  bytes: number;
  completePlaces: number;
}

/** Why a place cannot grow now. */
type Refusal = 'room' | 'share';

/**
 * The memory of all large events of all streams: the sum of all places ≤ `maxBytes` always. How large an event is, is not
 * known before its end, so its place grows, and who finds no room waits. Three rules say who may grow:
 *
 * 1. What is asked for is free.
 * 2. Of the places that grow, all but the largest leave room for a whole event. So nobody waits for ever: the largest can
 *    always be completed when complete events have left, which they do in time, because their readers take them or are
 *    let go. (The banker's algorithm: Dijkstra, "Een algorithme ter voorkoming van de dodelijke omarming", 1965.)
 * 3. An owner (see `ownerOf`) takes no more than what then stays free, and for a new place half of that, so that those that
 *    grow find room to do it. Excepted is its largest growing place: as far as a whole event stays free, and without a
 *    limit while the owner has no complete ones, or all of its places could wait for each other. So where `maxBytes` is
 *    four events or more, one owner always leaves room for a whole event of another.
 *
 * Places that have something come before new ones, which would only be more to wait for. New ones come in the order in
 * which they asked; whoever waits for its own share holds up nobody else's.
 */
export class EventMemory {
  readonly #maxBytes: number;
  readonly #maxEventBytes: number;
  readonly #growing = new Set<EventPlace>();
  readonly #waiting = new Set<EventPlace>();
  readonly #owners = new Map<string, Owned>();
  #bytes = 0;
  #growingBytes = 0;
  /** How often an event found no room at once. */
  waits = 0;

  /** `maxBytes` ≥ `maxEventBytes`. */
  constructor({ maxBytes, maxEventBytes }: { readonly maxBytes: number; readonly maxEventBytes: number }) {
    this.#maxBytes = maxBytes;
    this.#maxEventBytes = maxEventBytes;
  }

  /** What all places have: at most `maxBytes`. */
  get heldBytes(): number {
    return this.#bytes;
  }

  /** The places that wait for room. */
  get waitingPlaces(): number {
    return this.#waiting.size;
  }

  /** A place that has nothing yet. */
  open(owner: string): EventPlace {
    return new EventPlace(this, owner);
  }

  /** See {@link EventPlace.grow}. */
  grow(place: EventPlace, onRoom: () => void): boolean {
    place.onRoom = onRoom;
    this.#waiting.add(place);
    if (this.#serve(place)) return true;
    this.waits += 1;
    return false;
  }

  /** See {@link EventPlace.settle}. */
  settle(place: EventPlace, bytes: number): void {
    this.#waiting.delete(place);
    place.onRoom = undefined;
    if (place.bytes > 0) {
      const owned = this.#ownedBy(place.owner);
      if (this.#growing.delete(place)) this.#growingBytes -= place.bytes;
      else owned.completePlaces -= 1;
      if (bytes > 0) owned.completePlaces += 1;
      this.#count(place, Math.min(0, bytes - place.bytes));
    }
    this.#serve();
  }

  /** Gives to all that wait and may grow. Returns whether `asking` was among them, which then is not called back. */
  #serve(asking?: EventPlace): boolean {
    if (this.#waiting.size === 0) return false;
    const called: (() => void)[] = [];
    /** Owners of whom no more new places get anything, and whether nobody's do: they would take what others wait for. */
    const full = new Set<string>();
    let isShort = false;
    const largest = this.#largest();
    // The sort is stable: those that have as much stay in the order in which they asked.
    for (const place of [...this.#waiting].toSorted((a, b) => b.bytes - a.bytes)) {
      const isNew = place.bytes === 0;
      if (isNew && (isShort || full.has(place.owner))) continue;
      const refusal = this.#refusal(place, largest);
      if (refusal === undefined) {
        if (place !== asking && place.onRoom !== undefined) called.push(place.onRoom);
        this.#give(place, largest);
      } else if (refusal === 'share') {
        full.add(place.owner);
      } else if (isNew) {
        break;
      } else {
        isShort = true;
      }
    }
    const isGiven = asking !== undefined && !this.#waiting.has(asking);
    for (const onRoom of called) onRoom();
    return isGiven;
  }

  /** How much a place asks for: it doubles. */
  #step({ bytes }: EventPlace): number {
    const next = bytes === 0 ? Math.ceil(this.#maxBytes * firstPart) : 2 * bytes;
    return Math.min(next, this.#maxEventBytes) - bytes;
  }

  #refusal(place: EventPlace, largest: Largest): Refusal | undefined {
    const step = this.#step(place);
    const freeBytes = this.#maxBytes - this.#bytes - step;
    const largestBytes = Math.max(largest.bytes, place.bytes + step);
    const othersBytes = this.#growingBytes + step - largestBytes;
    if (freeBytes < 0 || othersBytes > this.#maxBytes - this.#maxEventBytes) return 'room';
    const { bytes = 0, completePlaces = 0 } = this.#owners.get(place.owner) ?? {};
    if (bytes + step <= (place.bytes === 0 ? freeBytes / 2 : freeBytes)) return undefined;
    const isLargest = (largest.of.get(place.owner) ?? place) === place;
    const isExcepted = completePlaces === 0 || bytes + step <= this.#maxBytes - this.#maxEventBytes;
    return isLargest && isExcepted ? undefined : 'share';
  }

  #give(place: EventPlace, largest: Largest): void {
    const step = this.#step(place);
    place.onRoom = undefined;
    this.#waiting.delete(place);
    this.#growing.add(place);
    this.#growingBytes += step;
    this.#count(place, step);
    noteLargest(largest, place);
  }

  #largest(): Largest {
    const largest: Largest = { bytes: 0, of: new Map() };
    for (const place of this.#growing) noteLargest(largest, place);
    return largest;
  }

  #count(place: EventPlace, bytes: number): void {
    const owned = this.#ownedBy(place.owner);
    place.bytes += bytes;
    owned.bytes += bytes;
    this.#bytes += bytes;
    if (owned.bytes === 0) this.#owners.delete(place.owner);
  }

  #ownedBy(owner: string): Owned {
    const owned = this.#owners.get(owner) ?? { bytes: 0, completePlaces: 0 };
    this.#owners.set(owner, owned);
    return owned;
  }
}

/** Of the places that grow: the bytes of the largest, and the largest one of each owner. Of equals it is the oldest. */
interface Largest {
  bytes: number;
  readonly of: Map<string, EventPlace>;
}

function noteLargest(largest: Largest, place: EventPlace): void {
  largest.bytes = Math.max(largest.bytes, place.bytes);
  const before = largest.of.get(place.owner);
  if (before === undefined || place.bytes > before.bytes) largest.of.set(place.owner, place);
}
