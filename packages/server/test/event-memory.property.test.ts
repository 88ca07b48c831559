import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EventMemory, type EventPlace } from '../src/memory/event-memory.ts';

const KiB = 1024;
const maxEventBytes = 1024 * KiB;

/** An event that comes: it grows while its place allows, and is whole when its place holds all of it. */
class ComingEvent {
  readonly place: EventPlace;
  readonly #sizeBytes: number;
  readonly #stepLimitBytes: number;
  isWaiting = false;
  isWhole = false;
  isGone = false;

  /** It stops by itself, as one whose provider hangs, when it has so much. */
  constructor(place: EventPlace, sizeBytes: number, stepLimitBytes = Infinity) {
    this.place = place;
    this.#sizeBytes = sizeBytes;
    this.#stepLimitBytes = stepLimitBytes;
  }

  goOn(limitBytes = this.#stepLimitBytes): void {
    while (!this.isWaiting && !this.isGone && !this.isWhole) {
      if (this.place.bytes >= this.#sizeBytes) {
        this.isWhole = true;
        this.place.settle(this.#sizeBytes);
      } else if (this.place.bytes >= limitBytes) {
        return;
      } else {
        this.isWaiting = !this.place.grow(() => {
          this.isWaiting = false;
          this.goOn(limitBytes);
        });
      }
    }
  }

  leave(): void {
    this.isGone = true;
    this.isWaiting = false;
    this.place.release();
  }
}

const eventOf = fc.record({
  owner: fc.nat(3).map(String),
  sizeBytes: fc.integer({ min: 1, max: maxEventBytes }),
  stopsAt: fc.option(fc.integer({ min: 1, max: maxEventBytes }), { nil: Infinity }),
});
const stepsOf = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('come' as const), event: eventOf }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), index: fc.nat(60) }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('goOn' as const), index: fc.nat(60) }) },
  ),
  { maxLength: 80 },
);
const maxBytesOf = fc.integer({ min: maxEventBytes, max: 5 * maxEventBytes });

test('promise 1: all large events stay within their memory, and none waits for ever', () => {
  fc.assert(
    fc.property(stepsOf, maxBytesOf, (steps, maxBytes) => {
      const memory = new EventMemory({ maxBytes, maxEventBytes });
      const events: ComingEvent[] = [];
      const check = (): void => {
        expect(memory.heldBytes).toBeLessThanOrEqual(maxBytes);
        expect(memory.heldBytes).toBe(events.reduce((sum, { place }) => sum + place.bytes, 0));
        expect(memory.waitingPlaces).toBe(events.filter(({ isWaiting }) => isWaiting).length);
      };
      for (const step of steps) {
        if (step.kind === 'come') {
          const { owner, sizeBytes, stopsAt } = step.event;
          const event = new ComingEvent(memory.open(owner), sizeBytes, stopsAt);
          events.push(event);
          event.goOn();
        } else {
          const event = events[step.index % Math.max(1, events.length)];
          if (step.kind === 'leave') event?.leave();
          else event?.goOn(Infinity);
        }
        check();
      }
      // No provider hangs any more, and readers take what is whole, one event at a time.
      for (const event of events) event.goOn(Infinity);
      for (let taken = 0; taken < events.length; taken += 1) {
        const whole = events.find(({ isGone, isWhole }) => isWhole && !isGone);
        whole?.leave();
        for (const event of events) event.goOn(Infinity);
        check();
      }
      expect(events.filter(({ isGone }) => !isGone)).toEqual([]);
      expect(memory.heldBytes).toBe(0);
    }),
    { numRuns: 500 },
  );
});

test('promise 1: whatever one owner does, a large event of another finds room at once', () => {
  const greedy = fc.array(
    fc.oneof(
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('come' as const), event: eventOf }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), index: fc.nat(60) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('goOn' as const), index: fc.nat(60) }) },
    ),
    { minLength: 10, maxLength: 80 },
  );
  fc.assert(
    fc.property(greedy, fc.integer({ min: 1, max: maxEventBytes }), (steps, sizeBytes) => {
      const memory = new EventMemory({ maxBytes: 4 * maxEventBytes, maxEventBytes });
      const events: ComingEvent[] = [];
      for (const step of steps) {
        if (step.kind === 'come') {
          events.push(new ComingEvent(memory.open('greedy'), step.event.sizeBytes, step.event.stopsAt));
          events.at(-1)?.goOn();
        } else {
          const event = events[step.index % Math.max(1, events.length)];
          if (step.kind === 'leave') event?.leave();
          else event?.goOn(Infinity);
        }
        const other = new ComingEvent(memory.open('other'), sizeBytes);
        other.goOn();
        expect(other.isWhole).toBe(true);
        other.leave();
      }
    }),
    { numRuns: 500 },
  );
});

test('places are given in the order in which they were asked for, and what was given back twice is counted once', () => {
  const memory = new EventMemory({ maxBytes: maxEventBytes, maxEventBytes });
  const first = new ComingEvent(memory.open('a'), maxEventBytes);
  first.goOn();
  expect(memory.heldBytes).toBe(maxEventBytes);
  const order: string[] = [];
  const [second, third] = ['b', 'c'].map((owner) => {
    const place = memory.open(owner);
    expect(place.grow(() => order.push(owner))).toBe(false);
    return place;
  });
  expect(memory.waits).toBe(2);
  // Who goes while it waits is not called.
  third?.release();
  const fourth = memory.open('d');
  expect(fourth.grow(() => order.push('d'))).toBe(false);
  first.leave();
  first.leave();
  expect(order[0]).toBe('b');
  expect(order).not.toContain('c');
  second?.release();
  fourth.release();
  expect(memory.heldBytes).toBe(0);
});
