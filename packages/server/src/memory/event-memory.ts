/** The part of the memory that a large event gets first. The event's place doubles as the event grows. */
const firstPart = 1 / 64;

/** The memory of one large event: while the event comes, and then until all its readers have it. */
export class EventPlace {
  readonly owner: string;
  /** The bytes that the place has. */
  bytes = 0;
  /** Called when the place has grown; `undefined`: the place does not wait. */
  onRoom: (() => void) | undefined;
  readonly #memory: EventMemory;

  constructor(memory: EventMemory, owner: string) {
    this.#memory = memory;
    this.owner = owner;
  }

  /**
   * Doubles the place. Returns `true` if that was possible at once. Otherwise `onRoom` is called once when it is
   * done, unless the place is released before. One call at a time.
   */
  grow(onRoom: () => void): boolean {
    return this.#memory.grow(this, onRoom);
  }

  /** The event is whole: the place keeps only that many bytes. */
  settle(bytes: number): void {
    this.#memory.settle(this, bytes);
  }

  /** Gives all bytes back, and stops a wait. A second call does nothing. */
  release(): void {
    this.#memory.settle(this, 0);
  }
}

/** The places of one owner together. */
interface Owned {
  bytes: number;
  completePlaces: number;
}

/** Why a place cannot grow now. `room`: rule 1 or 2 of {@link EventMemory}; `share`: rule 3. */
type Refusal = 'room' | 'share';

/**
 * The memory of all large events of all streams: the sum of all places ≤ `maxBytes` always. An event's size is not known
 * before its end. So its place grows, and a place that finds no room waits. Three rules say which place may grow:
 *
 * 1. The bytes that it asks for are free.
 * 2. All growing places but the largest together leave room for a whole event. So no place waits for ever: the largest
 *    can always be completed when complete events have left. Those do leave in time, because their readers take them or
 *    are ended. (The banker's algorithm: Dijkstra, "Een algorithme ter voorkoming van de dodelijke omarming",
 *    1965.)
 * 3. An owner (see `ownerOf`) holds at most as much as then stays free; with a new place, at most half of that. So
 *    growing places find room. The owner's largest growing place is excepted, while a whole event's room remains beside
 *    the owner's bytes. While the owner has no complete events, this exception has no limit: otherwise all its places
 *    could wait for each other. So where `maxBytes` is four events or more, one owner always leaves room for a whole
 *    event of another.
 *
 * Places with bytes come before new ones, which would only be more to wait for. New places come in the order in which
 * they asked. A place that waits for its owner's share does not hold up other owners' places.
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

  /** The bytes of all places: at most `maxBytes`. */
  get heldBytes(): number {
    return this.#bytes;
  }

  /** The places that wait for room. */
  get waitingPlaces(): number {
    return this.#waiting.size;
  }

  /** Opens a place without bytes. */
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

  /**
   * Lets every waiting place grow that may. Returns whether `asking` was one of these; its `onRoom` is then not
   * called.
   */
  #serve(asking?: EventPlace): boolean {
    if (this.#waiting.size === 0) return false;
    const called: (() => void)[] = [];
    /**
     * Owners whose share is used: their new places get nothing. With `isShort` no new place does, because a growing
     * one waits.
     */
    const full = new Set<string>();
    let isShort = false;
    const largest = this.#largest();
    // The sort is stable: places of the same size stay in the order in which they asked.
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

  /** The bytes that a place asks for. */
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

/**
 * The bytes of the largest growing place, and the largest growing place of each owner. The older of two equal ones
 * counts.
 */
interface Largest {
  bytes: number;
  readonly of: Map<string, EventPlace>;
}

function noteLargest(largest: Largest, place: EventPlace): void {
  largest.bytes = Math.max(largest.bytes, place.bytes);
  const before = largest.of.get(place.owner);
  if (before === undefined || place.bytes > before.bytes) largest.of.set(place.owner, place);
}
