import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  createReplenisher,
  type Credit,
  type CreditAmount,
  openChannel,
  openCredit,
  type Reader,
} from '../src/index.ts';
import { checkProperty } from './support/property.ts';
import { within } from './support/within.ts';

function drain<T>(reader: Reader<T>): T[] {
  const items: T[] = [];
  for (let item = reader.take(); item !== undefined; item = reader.take()) items.push(item);
  return items;
}

function open(
  credit: Credit,
  items = 10,
): { reader: Reader<string>; channel: ReturnType<typeof openChannel<string>> } {
  const channel = openChannel<string>({ maxItems: items, weigh: (text) => text.length });
  return { channel, reader: channel.reader({ credit: [credit] }) };
}

describe('credit, by the rules of Reactive Streams', () => {
  test('1.1 no more is delivered than was granted', () => {
    const credit = openCredit({ maxItems: 10 });
    const { channel, reader } = open(credit);
    for (const text of ['a', 'b', 'c', 'd']) channel.offer(text);
    expect(drain(reader)).toEqual([]);
    credit.grant({ items: 3 });
    expect(drain(reader)).toEqual(['a', 'b', 'c']);
    expect(reader.takeAll()).toEqual([]);
    expect(credit.available.items).toBe(0);
  });

  test('1.3 a grant from inside a delivery delivers nothing inside it', async () => {
    const credit = openCredit({ maxItems: 10, initial: { items: 1 } });
    const { channel, reader } = open(credit);
    for (const text of ['a', 'b', 'c']) channel.offer(text);
    channel.complete();
    let inside = 0;
    const seen: string[] = [];
    for await (const text of reader) {
      expect((inside += 1)).toBe(1);
      credit.grant({ items: 1 });
      seen.push(text);
      inside -= 1;
    }
    expect(seen).toEqual(['a', 'b', 'c']);
  });

  test('1.7 after the end there is nothing more, whatever is granted', async () => {
    const credit = openCredit({ maxItems: 10 });
    const { channel, reader } = open(credit);
    channel.offer('a');
    channel.cancel();
    credit.grant({ items: 5 });
    expect(drain(reader)).toEqual([]);
    expect(await reader.ready()).toBe(false);
  });

  test('2.9 the end needs no credit', async () => {
    const { channel, reader } = open(openCredit({ maxItems: 10 }));
    const waits = reader.ready();
    channel.complete();
    expect(await waits).toBe(false);
    expect(reader.end).toEqual({ state: 'completed' });
  });

  test('2.10 an error needs no credit, but comes behind what waits', async () => {
    const credit = openCredit({ maxItems: 10 });
    const { channel, reader } = open(credit);
    const empty = channel.reader({ from: 'now', credit: [openCredit({ maxItems: 1 })] });
    channel.offer('a');
    channel.fail(new Error('cut'));
    expect(reader.end).toBeUndefined();
    credit.grant({ items: 1 });
    expect(drain(reader)).toEqual(['a']);
    expect(reader.end).toMatchObject({ state: 'failed' });
    empty.detach();
  });

  test('3.2 granting from inside a loop goes on', async () => {
    const credit = openCredit({ maxItems: 1, initial: { items: 1 } });
    const { channel, reader } = open(credit, 100);
    for (let count = 0; count < 50; count += 1) channel.offer('x');
    channel.complete();
    let seen = 0;
    for await (const _ of reader) {
      seen += 1;
      credit.grant({ items: 1 });
    }
    expect(seen).toBe(50);
  });

  test('3.3 a hundred thousand grants one by one do not grow the stack', async () => {
    const credit = openCredit({ maxItems: 1, initial: { items: 1 } });
    const { channel, reader } = open(credit, 100_000);
    for (let count = 0; count < 100_000; count += 1) channel.offer('x');
    channel.complete();
    let seen = 0;
    while (await reader.ready()) {
      reader.take();
      seen += 1;
      credit.grant({ items: 1 });
    }
    expect(seen).toBe(100_000);
  });

  test('3.4 and 3.5 granting and leaving answer at once: what they wake runs later', async () => {
    const credit = openCredit({ maxItems: 10 });
    const { channel, reader } = open(credit);
    channel.offer('a');
    let hasRun = false;
    const waits = reader.ready().then(() => (hasRun = true));
    credit.grant({ items: 1 });
    expect(hasRun).toBe(false);
    await waits;
    reader.detach();
  });

  test('3.6 after leaving, grants do nothing; 3.7 nor does leaving again', () => {
    const credit = openCredit({ maxItems: 10 });
    const { channel, reader } = open(credit);
    channel.offer('a');
    reader.detach();
    credit.grant({ items: 5 });
    reader.detach();
    expect(drain(reader)).toEqual([]);
    expect(reader.end).toEqual({ state: 'detached' });
  });

  test('3.8 grants add up', () => {
    const credit = openCredit({ maxItems: 10, initial: { items: 1 } });
    credit.grant({ items: 2 });
    credit.grant({ items: 3 });
    expect(credit.available.items).toBe(6);
  });

  test.each([
    [{ items: -1 }, 'items: expected a whole number, 0 or more, got -1.'],
    [{ items: 1.5 }, 'items: expected a whole number, 0 or more, got 1.5.'],
    [{ bytes: Number.NaN }, 'bytes: expected a finite number, 0 or more, got NaN.'],
    [{ bytes: Infinity }, 'bytes: expected a finite number, 0 or more, got Infinity.'],
    [{ bytes: 101 }, 'bytes: at most 100 may be outstanding, 0 are and 101 more came.'],
    [{ bytes: 100.001 }, 'bytes: at most 100 may be outstanding, 0 are and 100.001 more came.'],
    [{ items: 11 }, 'items: at most 10 may be outstanding, 0 are and 11 more came.'],
    [{ items: 1, bytes: 101 }, 'bytes: at most 100 may be outstanding, 0 are and 101 more came.'],
    [{ ms: 1 }, 'ms: this window does not count them, got 1.'],
  ])('3.9 a bad grant is refused and adds nothing: %j', (amount, message) => {
    const credit = openCredit({ maxItems: 10, maxBytes: 100 });
    expect(() => credit.grant(amount)).toThrow(expect.objectContaining({ code: 'bad_grant', message }));
    expect(credit.available).toEqual({ items: 0, bytes: 0, ms: Infinity });
  });

  test('3.13 a reader that left, or a window that closed, keeps nobody', async () => {
    const credit = openCredit({ maxItems: 10 });
    let listeners = 0;
    const onGrant = credit.onGrant.bind(credit);
    credit.onGrant = (listener) => {
      listeners += 1;
      const stop = onGrant(listener);
      return () => {
        listeners -= 1;
        stop();
      };
    };
    const { reader } = open(credit);
    const waits = reader.ready();
    expect(listeners).toBe(1);
    reader.detach();
    expect(await waits).toBe(false);
    expect(listeners).toBe(0);
    credit.close();
    credit.grant({ items: 99 });
    expect(credit.available).toEqual({ items: 0, bytes: 0, ms: 0 });
  });

  test('3.17 a window without a practical bound takes everything', () => {
    const credit = openCredit({ maxItems: Number.MAX_SAFE_INTEGER });
    credit.grant({ items: Number.MAX_SAFE_INTEGER });
    expect(credit.spend(1, 0)).toBe(true);
    expect(credit.available.items).toBe(Number.MAX_SAFE_INTEGER - 1);
    expect(openCredit({ maxBytes: 1 }).available.items).toBe(Infinity);
  });
});

describe('credit', () => {
  test('two windows: both have to allow, and both are spent', () => {
    const stream = openCredit({ maxItems: 10, initial: { items: 2 } });
    const connection = openCredit({ maxBytes: 10, initial: { bytes: 3 } });
    const channel = openChannel<string>({ maxItems: 10, weigh: (text) => text.length });
    const reader = channel.reader({ credit: [stream, connection] });
    for (const text of ['aa', 'bb', 'cc']) channel.offer(text);
    expect(drain(reader)).toEqual(['aa']);
    expect(stream.available.items).toBe(1);
    connection.grant({ bytes: 5 });
    expect(drain(reader)).toEqual(['bb']);
    expect(stream.available.items).toBe(0);
    expect(connection.available.bytes).toBe(4);
  });

  test('a chunk beyond the whole window passes when the window is full', () => {
    const credit = openCredit({ maxBytes: 4, initial: { bytes: 3 } });
    expect(credit.spend(1, 9)).toBe(false);
    credit.grant({ bytes: 1 });
    expect(credit.spend(1, 9)).toBe(true);
    expect(credit.available.bytes).toBe(0);
  });

  test('what waits for credit is merged, up to the credit', async () => {
    const credit = openCredit({ maxBytes: 10 });
    const channel = openChannel<string>({
      maxItems: 9,
      weigh: (text) => text.length,
      merge: (a, b) => a + b,
    });
    const reader = channel.reader({ overflow: 'coalesce', credit: [credit] });
    const waits = reader.ready();
    for (const text of ['a', 'b', 'c', 'd']) channel.offer(text);
    credit.grant({ bytes: 3 });
    await waits;
    expect(drain(reader)).toEqual(['abc']);
    expect(credit.available.bytes).toBe(0);
  });

  test('gaps need no credit', () => {
    const channel = openChannel<string>({ maxItems: 2 });
    const reader = channel.reader({ overflow: 'drop-oldest', credit: [openCredit({ maxItems: 1 })] });
    for (const text of ['a', 'b', 'c']) channel.offer(text);
    expect(drain(reader)).toMatchObject([{ from: 0, to: 1 }]);
    expect(reader.waitingItems).toBe(2);
  });

  test('promise 10: between 0 and its maximum, whatever is granted and spent', async () => {
    // A millionth of the window.
    const rounding = 1e-4;
    const amount = fc.record(
      {
        items: fc.oneof(fc.nat(30), fc.double()),
        bytes: fc.oneof(
          fc.nat(300),
          fc.double(),
          fc.nat(9).map((tenths) => tenths * 2e-5),
        ),
      },
      { requiredKeys: [] },
    );
    const step = fc.oneof(fc.record({ grant: amount }), fc.record({ items: fc.nat(3), bytes: fc.nat(150) }));
    await checkProperty(
      'credit: between 0 and its maximum',
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const credit = openCredit({ maxItems: 20, maxBytes: 100 });
        let items = 0;
        let bytes = 0;
        for (const action of steps) {
          if ('grant' in action) {
            const { items: moreItems = 0, bytes: moreBytes = 0 } = action.grant;
            const isGood =
              Number.isInteger(moreItems) &&
              moreItems >= 0 &&
              moreBytes >= 0 &&
              items + moreItems <= 20 &&
              bytes + moreBytes <= 100 + rounding;
            if (isGood) {
              credit.grant(action.grant);
              items += moreItems;
              bytes = Math.min(bytes + moreBytes, 100);
            } else {
              expect(() => credit.grant(action.grant)).toThrow(
                expect.objectContaining({ code: 'bad_grant' }),
              );
            }
          } else {
            const isAllowed =
              (action.items <= items || items === 20) && (action.bytes <= bytes || bytes >= 100 - rounding);
            expect(credit.spend(action.items, action.bytes)).toBe(isAllowed);
            if (isAllowed) {
              items = Math.max(0, items - action.items);
              bytes = Math.max(0, bytes - action.bytes);
            }
          }
          expect(credit.available).toMatchObject({ items, bytes });
        }
      }),
    );
  });

  test.each([
    ['items', -1, 0, 0],
    ['items', 0.5, 0, 0],
    ['bytes', 1, -1, 0],
    ['bytes', 1, Number.NaN, 0],
    ['ms', 1, 0, Infinity],
  ])('what is no amount is not spent: %s, %d, %d, %d', (unit, items, bytes, ms) => {
    // Full, where everything is allowed, and of a unit that does not count.
    const credit = openCredit({ maxItems: 5, maxBytes: 9, initial: { items: 5, bytes: 9 } });
    const refused = expect.objectContaining({
      code: 'invalid_option',
      message: expect.stringContaining(`${unit}: expected`),
    });
    expect(() => credit.spend(items, bytes, ms)).toThrow(refused);
    expect(() => credit.allows(items, bytes, ms)).toThrow(refused);
    expect(credit.available).toEqual({ items: 5, bytes: 9, ms: Infinity });
  });

  test.each([
    [{}, 'Credit needs a unit'],
    [{ maxBytes: Infinity }, 'Credit needs a unit'],
    [{ maxItems: 0 }, 'The maximum of items: expected a whole number, 1 or more, got 0.'],
    [{ maxItems: 1.5 }, 'The maximum of items: expected a whole number, 1 or more, got 1.5.'],
    [{ maxItems: Number.NaN }, 'The maximum of items: expected a whole number, 1 or more, got NaN.'],
    [{ maxItems: 9, maxBytes: 0.5 }, 'The maximum of bytes: expected 1 or more, got 0.5.'],
    [{ maxItems: 9, maxMs: -5 }, 'The maximum of ms: expected 1 or more, got -5.'],
  ])('wrong options of a window, for both sides: %j', (options, message) => {
    for (const make of [openCredit, createReplenisher]) {
      expect(() => make(options)).toThrow(
        expect.objectContaining({ code: 'invalid_option', message: expect.stringContaining(message) }),
      );
    }
  });

  test.each([
    [{ items: 6 }, 'items: at most 5 may be outstanding'],
    [{ items: -1 }, 'items: expected a whole number'],
    [{ bytes: 1 }, 'bytes: this window does not count them'],
  ])('a wrong beginning: %j', (initial, message) => {
    expect(() => openCredit({ maxItems: 5, initial })).toThrow(
      expect.objectContaining({ code: 'invalid_option', message: expect.stringContaining(message) }),
    );
  });
});

describe('a replenisher', () => {
  test('grants what was used, when three quarters of the window are', () => {
    const replenisher = createReplenisher({ maxItems: 8, maxBytes: 100 });
    const more = { moreWaits: true };
    for (let count = 0; count < 5; count += 1)
      expect(replenisher.used({ items: 1, bytes: 1 }, more)).toBeUndefined();
    expect(replenisher.used({ items: 1, bytes: 1 }, more)).toEqual({ items: 6, bytes: 6 });
    expect(replenisher.used({ bytes: 80 }, more)).toEqual({ items: 0, bytes: 80 });
    expect(replenisher.used({ bytes: 500 }, more)).toEqual({ items: 0, bytes: 100 });
    expect(() => createReplenisher({ maxItems: 1, threshold: 0 })).toThrow('threshold');
  });

  test('of bytes, grants what was used when nothing more waits', () => {
    const replenisher = createReplenisher({ maxItems: 8, maxBytes: 100 });
    expect(replenisher.used({ items: 1, bytes: 1 }, { moreWaits: true })).toBeUndefined();
    expect(replenisher.used({ items: 1, bytes: 1 })).toEqual({ items: 2, bytes: 2 });
    expect(replenisher.used({})).toBeUndefined();
  });

  test('of items alone, grants in large steps: the next chunk takes one, which is left', () => {
    const replenisher = createReplenisher({ maxItems: 4, threshold: 1 });
    const grants = Array.from({ length: 8 }, () => replenisher.used({ items: 1 }));
    expect(grants.filter((grant) => grant !== undefined)).toEqual([{ items: 4 }, { items: 4 }]);
    expect(grants[3]).toBeDefined();
  });

  test.each([{ items: 1.5 }, { items: -1 }, { bytes: Number.NaN }, { ms: Infinity }])(
    'what is no amount was not used: %j',
    (amount) => {
      const replenisher = createReplenisher({ maxItems: 1 });
      expect(() => replenisher.used(amount)).toThrow(expect.objectContaining({ code: 'invalid_option' }));
      expect(replenisher.used({ items: 1 })).toEqual({ items: 1 });
    },
  );

  test.each([
    ['smaller than the window, but more than what is left', [40_000, 40_000, 1]],
    ['larger than the window, behind a small one', [1, 200_000, 200_000]],
    ['as large as the window, behind an empty one', [0, 65_536, 1, 65_536]],
  ])('promise 10: chunks that are %s flow', async (_what, chunks) => {
    const window = { maxBytes: 65_536 };
    const credit = openCredit({ ...window, initial: { bytes: 65_536 } });
    const replenisher = createReplenisher(window);
    const channel = openChannel<number>({ maxItems: 9, weigh: (bytes) => bytes });
    const reader = channel.reader({ credit: [credit] });
    for (const chunk of chunks) channel.offer(chunk);
    channel.complete();
    const seen: number[] = [];
    const isOver = (async () => {
      for await (const bytes of reader) {
        seen.push(bytes);
        const grant = replenisher.used({ bytes });
        if (grant !== undefined) credit.grant(grant);
      }
    })();
    await expect.poll(() => seen).toEqual(chunks);
    await isOver;
  });

  test('promise 10: what was used can be granted, however it is rounded', () => {
    // A frame of AAC at 44.1 kHz, in windows of which it is no part; up to four frames are one chunk.
    const frameMs = 1024 / 44.1;
    for (const maxMs of [35, 500, 2000, 44_100]) {
      const credit = openCredit({ maxMs, initial: { ms: maxMs } });
      const replenisher = createReplenisher({ maxMs });
      for (let count = 0; count < 20_000; count += 1) {
        const ms = frameMs * (1 + (count % 4));
        expect(credit.spend(1, 0, ms)).toBe(true);
        const moreWaits = count % 1000 !== 0 && ms * 5 < maxMs;
        const grant = replenisher.used({ ms }, { moreWaits });
        if (grant !== undefined) credit.grant(grant);
        // Then it is full: for what is as large as all of it, or larger.
        if (!moreWaits) expect(credit.allows(1, 0, maxMs)).toBe(true);
      }
    }
  });

  /** The sender, what is under way to the receiver, what waits there, and the grants that are under way back. */
  test('promise 10: whatever the sizes of its chunks, a sender does not wait for a receiver that has used all of them', async () => {
    const size = fc.oneof(
      fc.nat(12),
      fc.nat(150),
      fc.nat(60).map((tenths) => tenths / 10),
      fc.nat(9).map((frames) => (frames * 1024) / 44.1),
    );
    const chunk = fc.record({ bytes: size, ms: size });
    const max = fc.integer({ min: 1, max: 100 });
    const window = fc
      .record({ maxItems: max, maxBytes: max, maxMs: max }, { requiredKeys: [] })
      .filter((options) => Object.keys(options).length > 0);
    await checkProperty(
      'credit: a sender does not wait for a receiver that has used everything',
      fc.property(
        window,
        fc.integer({ min: 1, max: 100 }),
        fc.array(chunk, { maxLength: 40 }),
        fc.array(fc.nat(3), { maxLength: 200 }),
        (options, percent, chunks, steps) => {
          const { maxBytes: bytes = 0, maxItems: items = 0, maxMs: ms = 0 } = options;
          const credit = openCredit({ ...options, initial: { items, bytes, ms } });
          const replenisher = createReplenisher({ ...options, threshold: percent / 100 });
          const toSend = [...chunks];
          const underWay: typeof chunks = [];
          const inbox: typeof chunks = [];
          const grants: CreditAmount[] = [];
          let usedItems = 0;
          const send = (): boolean => {
            const [next] = toSend;
            if (next === undefined || !credit.spend(1, next.bytes, next.ms)) return false;
            underWay.push(...toSend.splice(0, 1));
            return true;
          };
          const receive = (): boolean => inbox.push(...underWay.splice(0, 1)) > 0;
          const use = (): boolean => {
            const next = inbox.shift();
            if (next === undefined) return false;
            usedItems += 1;
            const grant = replenisher.used({ items: 1, ...next }, { moreWaits: inbox.length > 0 });
            if (grant !== undefined) grants.push(grant);
            return true;
          };
          const hear = (): boolean => {
            const grant = grants.shift();
            if (grant !== undefined) credit.grant(grant);
            return grant !== undefined;
          };
          const actions = [send, receive, use, hear];
          const check = (): void => {
            const outstanding = chunks.length - toSend.length - usedItems;
            if (options.maxItems !== undefined) expect(outstanding).toBeLessThanOrEqual(items);
            for (const unit of ['items', 'bytes', 'ms'] as const) {
              expect(credit.available[unit]).toBeGreaterThanOrEqual(0);
              expect(credit.available[unit]).toBeLessThanOrEqual(credit.max[unit]);
            }
          };
          for (const step of steps) {
            actions[step]?.();
            check();
          }
          while (hear() || use() || (underWay.length > 0 && receive()) || send()) check();
          expect(toSend).toEqual([]);
          expect(usedItems).toBe(chunks.length);
        },
      ),
    );
  });

  test('with it a stream of any length flows, and never more than the window is outstanding', async () => {
    await checkProperty(
      'credit: with a replenisher a stream of any length flows',
      fc.property(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 100 }), (maxItems, percent) => {
        const credit = openCredit({ maxItems, initial: { items: maxItems } });
        const replenisher = createReplenisher({ maxItems, threshold: percent / 100 });
        for (let sent = 0; sent < 200; sent += 1) {
          expect(credit.spend(1, 0)).toBe(true);
          const grant = replenisher.used({ items: 1 });
          if (grant !== undefined) credit.grant(grant);
        }
      }),
    );
  });
});

test('3.13 a reader says once that something waits for its credit, also whose callback grants it', async () => {
  const credit = openCredit({ maxBytes: 10, initial: { bytes: 4 } });
  const channel = openChannel<string>({ maxBytes: 100, weigh: (text) => text.length });
  let told = 0;
  let grantsAtOnce = false;
  const reader = channel.reader({
    credit: [credit],
    onCreditBlocked: () => {
      told += 1;
      if (grantsAtOnce) credit.grant({ bytes: 10 - credit.available.bytes });
    },
  });
  let woken = 0;
  const wait = (): boolean => reader.whenReady(() => (woken += 1));
  expect(wait()).toBe(false);
  expect(told).toBe(0);
  channel.offer('1234567');
  channel.offer('89');
  expect([told, woken]).toEqual([1, 0]);
  // Still too little.
  credit.grant({ bytes: 1 });
  expect([told, woken]).toEqual([2, 0]);
  credit.grant({ bytes: 5 });
  expect([told, woken]).toEqual([2, 1]);
  expect(reader.takeAll()).toEqual(['1234567', '89']);
  grantsAtOnce = true;
  channel.offer('abcdef');
  // It waits already when it is asked for.
  const ready = reader.ready();
  expect(told).toBe(3);
  expect(await within(ready, 'what waited')).toBe(true);
  expect(reader.take()).toBe('abcdef');
});

test('a callback for missing credit that throws fails its reader, and nobody else', () => {
  const channel = openChannel<string>({ maxBytes: 100, weigh: (text) => text.length });
  const broken = new Error('broken');
  const reader = channel.reader({
    credit: [openCredit({ maxBytes: 10 })],
    onCreditBlocked: () => {
      throw broken;
    },
  });
  const other = channel.reader();
  reader.whenReady(() => undefined);
  expect(channel.offer('x')).toBe('accepted');
  expect(reader.end).toEqual({ state: 'failed', error: broken });
  expect(other.take()).toBe('x');
});
