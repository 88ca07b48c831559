import { getEventListeners } from 'node:events';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Admission } from '../src/admission/admission.ts';
import type { ConcurrencyLimit } from '../src/admission/concurrency-limit.ts';
import type { Place, Priority } from '../src/admission/place.ts';

/** A limit that a test changes: with the next first token, as one does that finds itself. */
class ChangedLimit implements ConcurrencyLimit {
  current: number;
  next: number;

  constructor(current: number) {
    this.current = current;
    this.next = current;
  }

  sample(): void {
    this.current = this.next;
  }

  failed(): void {}
}

interface Asked {
  readonly id: number;
  readonly tenant: string;
  readonly priority: Priority;
  readonly controller: AbortController;
  readonly place: Place;
  /** What became of it, as its caller is told. */
  told: 'given' | 'overloaded' | 'left' | undefined;
}

/** The rules again, in the simplest way: all that wait in the order in which they came, and who has places. */
class Rules {
  readonly held = new Map<string, number>();
  /** Which of all places that were given was the latest of a tenant. */
  readonly served = new Map<string, number>();
  given = 0;
  readonly waiting: Omit<Asked, 'place' | 'controller' | 'told'>[] = [];

  heldBy(tenant: string): number {
    return this.held.get(tenant) ?? 0;
  }

  add(tenant: string, count: number): void {
    this.held.set(tenant, this.heldBy(tenant) + count);
    if (count > 0) this.served.set(tenant, (this.given += 1));
  }

  /** Who loses its room: of the lowest priority, the last of the tenant that has and wants most. */
  last(): number {
    const priority = (['low', 'normal', 'high'] as const).find((one) =>
      this.waiting.some((waits) => waits.priority === one),
    );
    const isHigher = (one: Priority): boolean => one === 'high' || (one === 'normal' && priority === 'low');
    const ranked = this.waiting
      .filter((one) => one.priority === priority)
      .map(({ id, tenant }) => {
        const its = this.waiting.filter((one) => one.tenant === tenant);
        const base =
          this.heldBy(tenant) +
          its.filter((one) => one.priority !== priority && isHigher(one.priority)).length;
        const rank = base + its.filter((one) => one.priority === priority && one.id <= id).length;
        return { id, base, rank, served: this.served.get(tenant) ?? 0 };
      });
    ranked.sort((a, b) => b.rank - a.rank || a.base - b.base || b.served - a.served || b.id - a.id);
    const [one, two] = ranked;
    const last = one?.id ?? 0;
    // Of tenants that were never served and want as much, the newest request is the last, whoever of them would be.
    const isTie = one?.served === 0 && two?.served === 0 && one.rank === two.rank && one.base === two.base;
    if (ranked.length === this.waiting.length && !isTie) expect(last).toBe(this.order().at(-1));
    return last;
  }

  /** The ids of all that wait, in the order in which they get places if none is given back and nobody comes. */
  order(): readonly number[] {
    const held = new Map(this.held);
    const served = new Map(this.served);
    const left = [...this.waiting];
    const order: number[] = [];
    while (left.length > 0) {
      for (const priority of ['high', 'normal', 'low'] as const) {
        const [next] = left
          .filter((one) => one.priority === priority)
          .toSorted(
            (a, b) =>
              (held.get(a.tenant) ?? 0) - (held.get(b.tenant) ?? 0) ||
              (served.get(a.tenant) ?? 0) - (served.get(b.tenant) ?? 0) ||
              a.id - b.id,
          );
        if (next === undefined) continue;
        order.push(next.id);
        held.set(next.tenant, (held.get(next.tenant) ?? 0) + 1);
        served.set(next.tenant, this.given + order.length);
        left.splice(left.indexOf(next), 1);
        break;
      }
    }
    return order;
  }

  next(): Rules['waiting'][number] | undefined {
    const [id] = this.order();
    return this.waiting.find((one) => one.id === id);
  }

  remove(id: number): void {
    const index = this.waiting.findIndex((one) => one.id === id);
    if (index >= 0) this.waiting.splice(index, 1);
  }
}

const stepsOf = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant('come' as const),
        tenant: fc.constantFrom('a', 'a', 'a', 'b', 'c', 'd'),
        priority: fc.constantFrom<Priority>('high', 'normal', 'normal', 'normal', 'low'),
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('release' as const), index: fc.nat(100) }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('abort' as const), index: fc.nat(100) }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant('limit' as const), limit: fc.integer({ min: 1, max: 8 }) }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('bounds' as const),
        limit: fc.integer({ min: 1, max: 8 }),
        maxWaiting: fc.nat(8),
      }),
    },
    // With one that is given a place in the same turn.
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('both' as const), index: fc.nat(100) }) },
  ),
  { maxLength: 120 },
);

test('promise 17: in any order of arrivals, ends and departures, places are given by the rules and none is lost', async () => {
  await fc.assert(
    fc.asyncProperty(
      stepsOf,
      fc.integer({ min: 1, max: 6 }),
      fc.nat(8),
      async (steps, places, firstMaxWaiting) => {
        const clock = new VirtualClock();
        let maxWaiting = firstMaxWaiting;
        let limit = new ChangedLimit(places);
        const admission = new Admission({ clock, limit, maxWaiting });
        const rules = new Rules();
        const all: Asked[] = [];
        let arrivals = 0;
        let refused = 0;
        const expectRefused = (id: number): void => {
          refused += 1;
          rules.remove(id);
        };
        const passedOn = new Set<number>();
        const give = (next: Rules['waiting'][number]): void => {
          rules.remove(next.id);
          rules.add(next.tenant, 1);
        };
        const serve = (): void => {
          for (let free = limit.current - sum(rules.held); free > 0; free -= 1) {
            const next = rules.next();
            if (next === undefined) return;
            give(next);
          }
        };
        const release = (tenant: string): void => {
          rules.add(tenant, -1);
          if (sum(rules.held) < limit.current) {
            serve();
            return;
          }
          const next = rules.next();
          const most = Math.max(...rules.held.values());
          if (next === undefined || 2 * (rules.heldBy(next.tenant) + 1) > most) return;
          passedOn.add(next.id);
          give(next);
        };
        for (const step of steps) {
          const held = all.filter(({ place }) => place.isHeld);
          const waits = all.filter(({ place }) => place.position !== undefined);
          const wasTaken = admission.taken;
          if (step.kind === 'come') {
            const { priority, tenant } = step;
            const id = (arrivals += 1);
            const controller = new AbortController();
            rules.waiting.push({ id, tenant, priority });
            serve();
            if (rules.waiting.length > maxWaiting) expectRefused(rules.last());
            try {
              const place = admission.enter({ signal: controller.signal, priority, tenant });
              const asked: Asked = { id, tenant, priority, controller, place, told: undefined };
              all.push(asked);
              place.given?.then(
                () => (asked.told = 'given'),
                (error: Error) => (asked.told = error.message === 'left' ? 'left' : 'overloaded'),
              );
            } catch (error) {
              expect(error).toMatchObject({ code: 'overloaded', status: 503 });
              expect(rules.waiting.some((one) => one.id === id)).toBe(false);
            }
          } else if (step.kind === 'release' && held.length > 0) {
            const one = held[step.index % held.length];
            one?.place.release();
            one?.place.release();
            if (one !== undefined) release(one.tenant);
          } else if (step.kind === 'abort' && waits.length > 0) {
            const one = waits[step.index % waits.length];
            one?.controller.abort(new Error('left'));
            rules.remove(one?.id ?? 0);
          } else if (step.kind === 'limit' && held.length > 0) {
            limit.next = step.limit;
            // What was given beyond the limit tells it nothing.
            for (const { id, place } of held) if (passedOn.has(id)) place.answered(1);
            const one = held.find(({ id }) => !passedOn.has(id));
            one?.place.answered(1);
            if (one !== undefined) serve();
          } else if (step.kind === 'bounds') {
            ({ maxWaiting } = step);
            limit = new ChangedLimit(step.limit);
            admission.setBounds({ limit, maxWaiting });
            serve();
            while (rules.waiting.length > maxWaiting) expectRefused(rules.last());
          } else if (step.kind === 'both' && held.length > 0 && waits.length > 0) {
            const next = all.find(({ id }) => id === rules.next()?.id);
            const one = held[step.index % held.length];
            one?.place.release();
            if (one !== undefined) release(one.tenant);
            next?.controller.abort(new Error('left'));
            if (next !== undefined) rules.remove(next.id);
          }
          expect(admission.taken).toBe(sum(rules.held));
          expect(admission.taken).toBeLessThanOrEqual(Math.max(limit.current, wasTaken));
          expect(admission.waiting).toBe(rules.waiting.length);
          expect(admission.waiting).toBeLessThanOrEqual(maxWaiting);
          if (admission.waiting > 0) expect(admission.taken).toBeGreaterThanOrEqual(limit.current);
          expect(admission.tenantsWaiting).toBe(new Set(rules.waiting.map(({ tenant }) => tenant)).size);
          const positions = all.flatMap(({ id, place: { position } }) =>
            position === undefined ? [] : [{ id, position }],
          );
          expect(positions.toSorted((a, b) => a.position - b.position).map(({ id }) => id)).toEqual(
            rules.order(),
          );
        }
        await new Promise((resolve) => setImmediate(resolve));
        const { admitted, displaced, expired, full, late, left } = admission.counts;
        expect(admitted + displaced + expired + full + late + left + admission.waiting).toBe(arrivals);
        expect(full + displaced).toBe(refused);
        expect(all.filter(({ told }) => told === 'overloaded')).toHaveLength(displaced);
        for (const { controller, place, told } of all) {
          expect(getEventListeners(controller.signal, 'abort')).toHaveLength(
            place.position === undefined ? 0 : 1,
          );
          if (place.isHeld && place.given !== undefined) expect(told).toBe('given');
          if (place.position !== undefined) expect(told).toBeUndefined();
        }
        for (const { place } of all) place.release();
        expect([admission.taken, admission.waiting, admission.tenantsWaiting]).toEqual([0, 0, 0]);
      },
    ),
    { numRuns: 300 },
  );
});

function sum(held: ReadonlyMap<string, number>): number {
  return [...held.values()].reduce((total, count) => total + count, 0);
}
