import type { Entry, TenantPlaces } from './entry.ts';
import { IndexedHeap } from './indexed-heap.ts';
import { RankCounts } from './rank-counts.ts';
import { WaitingLine } from './waiting-line.ts';

/** The requests of one tenant that wait. There is at least one. */
interface TenantLine {
  readonly tenant: TenantPlaces;
  readonly line: WaitingLine<Entry>;
}

/**
 * Those that wait with one priority. Max-min fair between tenants (Bertsekas and Gallager, "Data Networks", 1987): the
 * next place goes to the tenant with the fewest, and of several to the one whose oldest request is oldest; within a
 * tenant first come, first served.
 *
 * So each that waits has a rank: the number of places that its tenant has, and of its requests up to this one. Lower ranks
 * are served first, whatever a tenant has in the queue. Each step takes the logarithm of the number of tenants, or of the
 * largest rank.
 */
export class FairQueue {
  readonly #lines = new Map<TenantPlaces, TenantLine>();
  readonly #ranks = new RankCounts();
  readonly #next = new IndexedHeap<TenantLine>(
    (a, b) => a.tenant.held - b.tenant.held || firstNumber(a) - firstNumber(b),
  );
  readonly #last = new IndexedHeap<TenantLine>(
    (a, b) => lastRank(b) - lastRank(a) || lastNumber(b) - lastNumber(a),
  );
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** The one that gets the next place. */
  get next(): Entry | undefined {
    return this.#next.first?.line.first;
  }

  /** The one that would be served last if nobody came any more: the newest of the tenant that has and wants most. */
  get last(): { readonly entry: Entry; readonly rank: number } | undefined {
    const line = this.#last.first;
    const entry = line?.line.last;
    return line === undefined || entry === undefined ? undefined : { entry, rank: lastRank(line) };
  }

  /** The rank of one more of a tenant. */
  rankOfNew(tenant: TenantPlaces): number {
    return tenant.held + (this.#lines.get(tenant)?.line.count ?? 0) + 1;
  }

  /** How many are served before one that comes now with that rank. */
  countBefore(rank: number): number {
    return this.#ranks.upTo(rank);
  }

  add(entry: Entry): void {
    const { tenant } = entry;
    this.#size += 1;
    this.#ranks.add(this.rankOfNew(tenant), 1);
    const known = this.#lines.get(tenant);
    if (known === undefined) {
      const added: TenantLine = { tenant, line: new WaitingLine() };
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

  /** Call it when a tenant has one place more (1) or less (−1) than before. */
  heldChanged(tenant: TenantPlaces, change: -1 | 1): void {
    const known = this.#lines.get(tenant);
    if (known === undefined) return;
    const { count } = known.line;
    const [from, to] =
      change === 1 ? [tenant.held, tenant.held + count] : [tenant.held + count + 1, tenant.held + 1];
    this.#ranks.add(from, -1);
    this.#ranks.add(to, 1);
    this.#next.moved(known);
    this.#last.moved(known);
  }

  /** All that wait, in the order in which they are served if nobody comes any more. */
  inOrder(): readonly Entry[] {
    const ranked: { readonly entry: Entry; readonly rank: number }[] = [];
    for (const { line, tenant } of this.#lines.values()) {
      let rank = tenant.held;
      for (const entry of line.items()) ranked.push({ entry, rank: (rank += 1) });
    }
    ranked.sort((a, b) => a.rank - b.rank || a.entry.number - b.entry.number);
    return ranked.map(({ entry }) => entry);
  }
}

function lastRank({ line, tenant }: TenantLine): number {
  return tenant.held + line.count;
}

function firstNumber({ line }: TenantLine): number {
  return line.first?.number ?? Infinity;
}

function lastNumber({ line }: TenantLine): number {
  return line.last?.number ?? -Infinity;
}
