import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type BodyHold, RequestMemory } from '../src/memory/request-memory.ts';

const maxBytes = 1000;

type Step =
  | { readonly kind: 'open'; readonly owner: number }
  | { readonly kind: 'grow'; readonly index: number; readonly bytes: number }
  | { readonly kind: 'shrink'; readonly index: number; readonly part: number }
  | { readonly kind: 'release'; readonly index: number };

const stepsOf = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('open' as const), owner: fc.nat(4) }),
    fc.record({
      kind: fc.constant('grow' as const),
      index: fc.nat(20),
      bytes: fc.integer({ min: 1, max: 400 }),
    }),
    fc.record({
      kind: fc.constant('shrink' as const),
      index: fc.nat(20),
      part: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
    fc.record({ kind: fc.constant('release' as const), index: fc.nat(20) }),
  ),
  { maxLength: 200 },
);

test('promise 1: all bodies stay within the bound, no owner keeps another out, and nothing is counted that is not held', () => {
  fc.assert(
    fc.property(stepsOf, (steps: readonly Step[]) => {
      const memory = new RequestMemory(maxBytes);
      const holds: { readonly owner: number; readonly hold: BodyHold; bytes: number }[] = [];
      const heldBy = (owner: number): number =>
        holds.reduce((sum, each) => sum + (each.owner === owner ? each.bytes : 0), 0);
      let refusals = 0;
      for (const step of steps) {
        if (step.kind === 'open') {
          holds.push({ owner: step.owner, hold: memory.hold(String(step.owner)), bytes: 0 });
          continue;
        }
        const chosen = holds[step.index % Math.max(1, holds.length)];
        if (chosen === undefined) continue;
        if (step.kind === 'release') {
          chosen.hold.release();
          chosen.bytes = 0;
        } else if (step.kind === 'shrink') {
          const bytes = Math.floor(chosen.bytes * step.part);
          chosen.hold.shrink(bytes);
          chosen.bytes -= bytes;
        } else {
          const isOwned = heldBy(chosen.owner) + step.bytes <= 2 * (maxBytes - memory.heldBytes - step.bytes);
          expect(chosen.hold.grow(step.bytes)).toBe(isOwned);
          if (isOwned) chosen.bytes += step.bytes;
          else refusals += 1;
        }
        const held = holds.reduce((sum, { bytes }) => sum + bytes, 0);
        expect(memory.heldBytes).toBe(held);
        expect(memory.refusals).toBe(refusals);
        // Five owners: each leaves a third of the room, so that whoever holds nothing has some.
        expect(maxBytes - held).toBeGreaterThanOrEqual(maxBytes / 3 ** 5);
        for (let owner = 0; owner < 5; owner += 1)
          expect(heldBy(owner)).toBeLessThanOrEqual(memory.maxOwnerBytes);
      }
      for (const { hold } of holds) hold.release();
      expect(memory.heldBytes).toBe(0);
    }),
    { numRuns: 1000 },
  );
});

test('a greedy owner is refused, and the others are not', () => {
  const memory = new RequestMemory(maxBytes);
  const greedy = Array.from({ length: 100 }, () => memory.hold('greedy'));
  const taken = greedy.filter((hold) => hold.grow(10)).length * 10;
  expect(taken).toBe(660);
  const other = memory.hold('other');
  expect(other.grow(220)).toBe(true);
  expect(memory.hold('greedy').grow(1)).toBe(false);
  expect(memory.hold('third').grow(70)).toBe(true);
  for (const hold of greedy) hold.release();
  // A second call gives nothing back that another holds.
  for (const hold of greedy) hold.release();
  expect(memory.heldBytes).toBe(290);
});
