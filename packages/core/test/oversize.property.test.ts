import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Gap, openChannel, type Reader, type Store, spillTo } from '../src/index.ts';
import { checkProperty } from './support/property.ts';

type Policy = 'block' | 'disconnect' | 'drop-newest' | 'drop-oldest' | 'error' | 'nobody' | 'spill';

/** One that is never done: what is appended stays under way, which counts against the bound. */
const idle: Store<number> = {
  append: () => new Promise(() => {}),
  read: () => new Promise(() => {}),
  trim: () => Promise.resolve(),
  seal: () => Promise.resolve(),
};

interface Chunk {
  readonly offset: number;
  readonly bytes: number;
}

function offsets({ from, to }: Gap): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

/** What waits for one reader, as the documentation of the bounds says it. */
class Model {
  readonly waiting: Chunk[] = [];
  readonly #maxBytes: number;
  readonly #maxItems: number;

  constructor(maxBytes: number, maxItems: number) {
    this.#maxBytes = maxBytes;
    this.#maxItems = maxItems;
  }

  fits(bytes: number): boolean {
    const [first, ...rest] = this.waiting;
    if (first === undefined) return true;
    // One that is larger than the bound does not count: what follows has the bound for itself.
    const counted = first.bytes > this.#maxBytes ? rest : this.waiting;
    const countedBytes = counted.reduce((sum, chunk) => sum + chunk.bytes, 0);
    return this.waiting.length < this.#maxItems && countedBytes + bytes <= this.#maxBytes;
  }
}

test('what follows a chunk that is larger than the bound has the bound for itself', async () => {
  await checkProperty(
    'channel: what follows a chunk that is larger than the bound',
    fc.property(
      fc.constantFrom<Policy>(
        'block',
        'disconnect',
        'drop-newest',
        'drop-oldest',
        'error',
        'nobody',
        'spill',
      ),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 6 }),
      fc.array(fc.oneof(fc.constant('take' as const), fc.nat(14), fc.integer({ min: 13, max: 40 })), {
        maxLength: 60,
      }),
      (policy, maxBytes, maxItems, steps) => {
        const channel = openChannel<number>({ maxBytes, maxItems, weigh: (bytes) => bytes });
        const overflow = policy === 'spill' ? spillTo(idle) : policy === 'nobody' ? 'block' : policy;
        const reader = policy === 'nobody' ? undefined : channel.reader({ overflow });
        const model = new Model(maxBytes, maxItems);
        const { waiting } = model;
        const lost: number[] = [];
        const takeFrom = (from: Reader<number | Gap>): void => {
          const item = from.take();
          if (!(item instanceof Gap)) expect(item).toBe(waiting.shift()?.bytes);
          else expect(lost.splice(0, item.to - item.from)).toEqual(offsets(item));
        };
        for (const step of steps) {
          if (step === 'take') {
            if (reader !== undefined) takeFrom(reader);
            continue;
          }
          const chunk = { offset: channel.nextOffset, bytes: step };
          const fits = model.fits(step);
          const isRefused = !fits && ['block', 'nobody', 'spill'].includes(policy);
          expect(channel.offer(step)).toBe(isRefused ? 'full' : 'accepted');
          if (isRefused) continue;
          const isEnded = !fits && (policy === 'disconnect' || policy === 'error');
          if (reader !== undefined) expect(reader.end !== undefined).toBe(isEnded);
          if (isEnded) return;
          if (policy === 'drop-oldest') {
            while (!model.fits(step)) lost.push(...waiting.splice(0, 1).map(({ offset }) => offset));
          }
          if (fits || policy === 'drop-oldest') waiting.push(chunk);
          else lost.push(chunk.offset);
          expect(reader?.waitingItems ?? waiting.length).toBe(waiting.length);
        }
        if (reader === undefined) return;
        while (waiting.length + lost.length > 0) takeFrom(reader);
      },
    ),
  );
});
