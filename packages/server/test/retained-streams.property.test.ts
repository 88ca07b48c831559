import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkProperty } from '../../core/test/support/property.ts';
import { RetainedStreams } from '../src/memory/retained-streams.ts';

/** A quarter of the bound is not for history. */
const maxBytes = 1000;

interface Stream {
  readonly holder: string;
  readonly retainedBytes: number;
  readonly undeliveredBytes: number;
  isDelivered: boolean;
}

const stepsOf = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('keep' as const),
      holder: fc.constantFrom('a', 'b', 'c'),
      bytes: fc.integer({ min: 1, max: 800 }),
      drains: fc.boolean(),
    }),
    fc.record({ kind: fc.constantFrom('again' as const, 'forget' as const), index: fc.nat(50) }),
    fc.record({ kind: fc.constant('read' as const), index: fc.nat(50), isDelivered: fc.boolean() }),
  ),
  { maxLength: 200 },
);

test('promise 1: what is retained stays within its bound, and goes for its holder’s own new streams alone, the oldest first', async () => {
  await checkProperty(
    'retained streams: within the bound',
    fc.property(stepsOf, (steps) => {
      let dropped: Stream[] = [];
      const retained = new RetainedStreams<Stream>((maxBytes * 4) / 3, (stream) => dropped.push(stream));
      let kept: Stream[] = [];
      let drops = 0;
      const heldBy = (holder?: string): number =>
        kept
          .filter((stream) => holder === undefined || stream.holder === holder)
          .reduce((sum, { retainedBytes }) => sum + retainedBytes, 0);
      for (const step of steps) {
        if (step.kind === 'keep') {
          const { bytes: retainedBytes, drains, holder } = step;
          const stream: Stream = {
            holder,
            retainedBytes,
            undeliveredBytes: retainedBytes,
            isDelivered: true,
          };
          const own = kept.filter((other) => other.holder === holder && other.isDelivered);
          dropped = [];
          // Until it is delivered it has room of its own, of which alone it has two thirds.
          const isDrained = drains && retained.drain(stream);
          expect(isDrained).toBe(drains && retainedBytes <= 222);
          expect(retained.heldBytes).toBe(heldBy() + (isDrained ? retainedBytes : 0));
          expect(dropped).toEqual([]);
          const isKept = retained.keep(stream);
          // Of nobody else, nobody who is read, and no more than has to go.
          expect(dropped).toEqual(own.slice(0, dropped.length));
          kept = kept.filter((other) => !dropped.includes(other));
          const hasRoom = (before: number): boolean =>
            heldBy(holder) + before + retainedBytes <= 2 * (maxBytes - heldBy() - before - retainedBytes);
          if (isKept) {
            expect(hasRoom(0)).toBe(true);
            const last = dropped.at(-1);
            if (last !== undefined) expect(hasRoom(last.retainedBytes)).toBe(false);
            kept.push(stream);
          } else {
            expect(dropped).toEqual([]);
            const freeable = own.reduce((sum, other) => sum + other.retainedBytes, 0);
            expect(hasRoom(-freeable)).toBe(false);
          }
          drops += dropped.length + (isKept ? 0 : 1);
        } else {
          const chosen = kept[step.index % Math.max(1, kept.length)];
          if (chosen === undefined) continue;
          if (step.kind === 'again') expect(retained.keep(chosen)).toBe(true);
          if (step.kind === 'read') chosen.isDelivered = step.isDelivered;
          if (step.kind === 'forget') {
            retained.forget(chosen);
            retained.forget(chosen);
            kept = kept.filter((other) => other !== chosen);
          }
        }
        expect(retained.heldBytes).toBe(heldBy());
        expect(retained.heldBytes).toBeLessThanOrEqual(maxBytes);
        expect(retained.drops).toBe(drops);
      }
    }),
  );
});
