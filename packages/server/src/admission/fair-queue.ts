import type { Entry, TenantPlaces } from './entry.ts';
import { IndexedHeap } from './indexed-heap.ts';
import { RankCounts } from './rank-counts.ts';
import { WaitingLine } from './waiting-line.ts';

/** The requests of one tenant that wait. There is at least one. */
interface TenantLine {
  readonly line: WaitingLine<Entry>;
  readonly tenant: TenantPlaces;
  /** The places that the tenant has, and those that its requests of higher priorities get before. */
  base: number;
}

/**
 * Those that wait with one priority. Max-min fair between tenants (Bertsekas and Gallager, "Data Networks", 1987): the
 * next place goes to the tenant with the fewest, and of several to the one that was served longest ago, so that with more
 * tenants than places each has its turn, however many requests of it wait; within a tenant first come, first served.
 *
 * So each that waits has a rank: the number of places that its tenant has, of its requests with higher priorities, and of
 * those up to this one. Lower ranks are served first, whatever a tenant has in the queue. Of one rank, those that already have the
 * places come first: the others have just been served when it is their turn. Each step takes the logarithm of the number of
 * tenants, or of the largest rank.
 */
export class FairQueue {
  readonly #lines = new Map<TenantPlaces, TenantLine>();
  readonly #ranks = new RankCounts();
  readonly #next = new IndexedHeap<TenantLine>(
    (a, b) => a.base - b.base || a.tenant.served - b.tenant.served || firstNumber(a) - firstNumber(b),
  );
  readonly #last = new IndexedHeap<TenantLine>(
    (a, b) =>
      lastRank(b) - lastRank(a) ||
      a.base - b.base ||
      b.tenant.served - a.tenant.served ||
      lastNumber(b) - lastNumber(a),
  );
  readonly #higher: FairQueue | undefined;
  #size = 0;

  /** `higher`: the queue of the next higher priority. */
  constructor(higher?: FairQueue) {
    this.#higher = higher;
  }

  get size(): number {
    return this.#size;
  }

  /** The one that gets the next place. */
  get next(): Entry | undefined {
    return this.#next.first?.line.first;
  }

  /**
   * The one that would be served last if nobody came any more: the newest of the tenant that has and wants most. Of tenants that
   * were never served and want as much, the newest of all.
   */
  get last(): Entry | undefined {
    return this.#last.first?.line.last;
  }

  /** The highest rank; 0: nobody waits. */
  get lastRank(): number {
    const line = this.#last.first;
    return line === undefined ? 0 : lastRank(line);
  }

  /** The one that would be served last, if one more of a tenant is served before it. */
  lastBehind(tenant: TenantPlaces): Entry | undefined {
    const last = this.#last.first;
    if (last === undefined) return undefined;
    const rank = this.rankOfNew(tenant);
    const base = rank - 1 - this.#countOf(tenant);
    const order = lastRank(last) - rank || base - last.base || last.tenant.served - tenant.served;
    return order > 0 ? last.line.last : undefined;
  }

  /** The rank of one more of a tenant. */
  rankOfNew(tenant: TenantPlaces): number {
    return tenant.held + this.#countUpTo(tenant) + 1;
  }

  /** How many are served before one that comes now, at most: 0 if it is the next. All of its rank count, to take no longer. */
  countBefore(tenant: TenantPlaces): number {
    const rank = this.rankOfNew(tenant);
    const next = this.#next.first;
    const isNext = next === undefined || (next.base - rank + 1 || next.tenant.served - tenant.served) > 0;
    return isNext ? 0 : this.#ranks.upTo(rank);
  }

  /** The requests of a tenant that wait, with this priority or a higher one. */
  #countUpTo(tenant: TenantPlaces): number {
    const count = this.#countOf(tenant);
    return this.#higher === undefined ? count : count + this.#higher.#countUpTo(tenant);
  }

  #countOf(tenant: TenantPlaces): number {
    return this.#lines.get(tenant)?.line.count ?? 0;
  }

  add(entry: Entry): void {
    const { tenant } = entry;
    const rank = this.rankOfNew(tenant);
    this.#size += 1;
    this.#ranks.add(rank, 1);
    const known = this.#lines.get(tenant);
    if (known === undefined) {
      const added: TenantLine = { tenant, line: new WaitingLine(), base: rank - 1 };
      added.line.add(entry);
      this.#lines.set(tenant, added);
      this.#next.add(added);
      this.#last.add(added);
    } else {
      known.line.add(entry);
      this.#last.moved(known);
    }
  }

  /** Call it when an entry of the queue has left it. */
  left({ tenant }: Entry): void {
    const known = this.#lines.get(tenant);
    if (known === undefined) return;
    this.#size -= 1;
    this.#ranks.add(lastRank(known), -1);
    known.line.left();
    if (known.line.count > 0) {
      this.#next.moved(known);
      this.#last.moved(known);
    } else {
      this.#lines.delete(tenant);
      this.#next.delete(known);
      this.#last.delete(known);
    }
  }

  /** Call it when a tenant has one place, and so was served, or waits with one request of a higher priority, more (1) or less (−1) than before. */
  baseChanged(tenant: TenantPlaces, change: -1 | 1): void {
    const known = this.#lines.get(tenant);
    if (known === undefined) return;
    const before = known.base;
    const { count } = known.line;
    known.base += change;
    // All ranks of the tenant move by one: one end of them is new, and the other is gone.
    this.#ranks.add(change === 1 ? before + 1 : before + count, -1);
    this.#ranks.add(change === 1 ? before + count + 1 : before, 1);
    this.#next.moved(known);
    this.#last.moved(known);
  }

  /**
   * All that wait, in the order in which they are served if nobody comes any more. `servedOf`: which place is the latest of a
   * tenant when all with higher priorities are served.
   */
  inOrder(servedOf: (tenant: TenantPlaces) => number): readonly Entry[] {
    const ranked: { readonly entry: Entry; readonly rank: number; readonly of: TenantLine }[] = [];
    for (const of of this.#lines.values()) {
      let rank = of.base;
      for (const entry of of.line.items()) ranked.push({ entry, rank: (rank += 1), of });
    }
    ranked.sort(
      (a, b) =>
        a.rank - b.rank ||
        b.of.base - a.of.base ||
        servedOf(a.of.tenant) - servedOf(b.of.tenant) ||
        firstNumber(a.of) - firstNumber(b.of),
    );
    return ranked.map(({ entry }) => entry);
  }
}

function lastRank({ base, line }: TenantLine): number {
  return base + line.count;
}

function firstNumber({ line }: TenantLine): number {
  return line.first?.number ?? Infinity;
}

function lastNumber({ line }: TenantLine): number {
  return line.last?.number ?? -Infinity;
}
