import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Channel, type Gap, openChannel, type Reader } from '../src/index.ts';
import { overflows } from '../src/channel/overflow.ts';
import { checkProperty } from './support/property.ts';

const action = fc.record({
  // Most offers find a place, so that readers are at the head again and again.
  do: fc.oneof(
    { weight: 8, arbitrary: fc.constant('offer' as const) },
    { weight: 16, arbitrary: fc.constant('take' as const) },
    { weight: 2, arbitrary: fc.constant('takeAll' as const) },
    { weight: 1, arbitrary: fc.constantFrom('detach' as const, 'join' as const, 'skip' as const) },
  ),
  who: fc.nat(9),
});

/** Without measures and merges a channel has shorter ways of its own. */
const opened = {
  bare: (): Channel<string> => openChannel<string>({ maxItems: 4 }),
  weighed: (): Channel<string> => openChannel<string>({ maxItems: 4, weigh: (text) => text.length }),
  merging: (): Channel<string> =>
    openChannel<string>({
      maxItems: 4,
      weigh: (text) => text.length,
      merge: (first, second) => (first.length < 4 ? first + second : undefined),
    }),
};

describe('promise 1: a channel holds what a reader has yet to take, and nothing else', () => {
  test('however its readers take turns', async () => {
    await checkProperty(
      'channel: what is held',
      fc.property(
        fc.constantFrom(...Object.values(opened)),
        fc.array(fc.constantFrom(...overflows), { minLength: 1, maxLength: 4 }),
        fc.array(action, { minLength: 10, maxLength: 100 }),
        (open, policies, actions) => {
          const channel = open();
          const readers: Reader<string | Gap>[] = policies.map((overflow) =>
            channel.reader({
              overflow: overflow === 'coalesce' && open !== opened.merging ? 'block' : overflow,
            }),
          );
          for (const { do: what, who } of actions) {
            const reader = readers[who % readers.length];
            if (what === 'offer') channel.offer('x');
            else if (what === 'join') readers.push(channel.reader());
            else if (what === 'skip') reader?.skip('asked');
            else reader?.[what]();
            const live = readers.filter(({ end }) => end === undefined);
            // What waits for the next reader is kept.
            if (live.length === 0) continue;
            expect(channel.oldestOffset).toBeGreaterThanOrEqual(
              Math.min(...live.map(({ offset }) => offset)),
            );
            expect(channel.heldBytes).toBeLessThanOrEqual(
              Math.max(...live.map(({ waitingBytes }) => waitingBytes)),
            );
          }
        },
      ),
    );
  });
});
