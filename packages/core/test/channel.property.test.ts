import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Channel,
  createGate,
  type Credit,
  Gap,
  type Gate,
  openChannel,
  openCredit,
  type Overflow,
  type Pressure,
  type Reader,
  type ReplayWindow,
  type SpillwayError,
  spillTo,
} from '../src/index.ts';
import { overflows } from '../src/channel/overflow.ts';
import { checkProperty } from './support/property.ts';
import { SlowStore } from './support/slow-store.ts';
import { StrictMemory } from './support/strict-memory.ts';

/**
 * The model is the text that was written: chunk number n is its n-th letter, so an offset is an index
 * into it and whatever a reader gets can be checked against it. Small letters may be merged, capitals
 * may not.
 */
const letters = 'abcDefghIjkLmnopqRstuvwXyz';

function letterOf(offset: number): string {
  return letters[offset % letters.length] ?? '';
}

function textOf(from: number, to: number): string {
  return Array.from({ length: to - from }, (_, index) => letterOf(from + index)).join('');
}

/** Where streams begin: positions and offsets are numbers, of which bits can be shifted only below 2^31. */
const firstOffsets = [0, 2 ** 31 - 40, 2 ** 32 - 40, Number.MAX_SAFE_INTEGER - 10_000];

interface Opened {
  readonly bounds: { maxItems: number; maxBytes: number; maxMs: number };
  readonly window?: ReplayWindow | undefined;
  readonly isBare?: boolean;
  readonly hasMemory?: boolean;
  readonly firstOffset?: number;
}

function open({
  bounds,
  window,
  isBare = false,
  hasMemory = false,
  firstOffset = 0,
}: Opened): Channel<string> {
  const replay = window === undefined ? {} : { replay: window };
  // One letter in four cannot be in it.
  const memory = hasMemory ? { memory: new StrictMemory<string>((text) => /[a-f]/.test(text)) } : {};
  // Without measures and merges most of the channel's work falls away, so it has shorter ways of its own.
  if (isBare) {
    const { maxItems } = bounds;
    return openChannel<string>({
      maxItems,
      firstOffset,
      ...memory,
      ...(window?.maxHeldBytes === undefined ? replay : {}),
    });
  }
  return openChannel<string>({
    ...bounds,
    firstOffset,
    weigh: (text) => text.length,
    durationMs: (text) => text.length * 10,
    merge: (first, second) => (/^[a-z]*$/.test(first + second) ? first + second : undefined),
    maxMergedBytes: 5,
    ...memory,
    ...replay,
  });
}

type Policy = Overflow | 'spill';
const policies: readonly Policy[] = [...overflows, 'spill'];

const boundsArbitrary = (most: number): fc.Arbitrary<{ maxItems: number; maxBytes: number; maxMs: number }> =>
  fc.record({
    maxItems: fc.integer({ min: 1, max: most }),
    maxBytes: fc.integer({ min: 1, max: most * 2 }),
    maxMs: fc.integer({ min: 1, max: most * 30 }),
  });

const windowArbitrary: fc.Arbitrary<ReplayWindow | undefined> = fc.oneof(
  fc.constant(undefined),
  fc.record({ maxItems: fc.nat(10) }),
  fc.record({ maxHeldBytes: fc.nat(20), merges: fc.boolean() }),
);

interface WatchedOptions {
  readonly overflow: Policy;
  readonly maxItems: number;
  readonly from?: number | 'now' | 'start';
  readonly isBare?: boolean;
  readonly merges?: boolean;
  /** The most credit that it gives; it begins with none. */
  readonly maxCredit?: number | undefined;
  /** Whether it takes only what a gate has been opened to. */
  readonly isGated?: boolean;
  /** How often it is told something before it throws. */
  readonly patience?: number | undefined;
  /** Whether it is given what it loses. */
  readonly hasOnDrop?: boolean;
  /** Whom it makes skip whenever it is told something. */
  readonly skips?: 'itself' | 'others' | undefined;
}

const losing: readonly Policy[] = ['drop-newest', 'drop-oldest', 'latest'];

const impatient = new Error('told too often');

/** Checks everything that one reader gets against the text, and keeps count. */
class Watched {
  readonly reader: Reader<string | Gap>;
  readonly overflow: Policy;
  readonly store = new SlowStore<string>();
  readonly pressures: Pressure[] = [];
  /** Its bound, or what it found when it came: a reader may start far behind. */
  readonly maxItems: number;
  readonly startedAt: number;
  readonly startedBehind: boolean;
  /** The offset behind what it got so far. */
  at: number;
  readonly announced: Gap[] = [];

  readonly isBare: boolean;
  readonly credit: Credit | undefined;
  readonly gate: Gate | undefined;
  /** Of everybody who waited for it. */
  readonly waits: Promise<boolean>[] = [];
  /** Runs of the text that it got, and that it was given because they are lost. */
  readonly pieces: { readonly from: number; readonly to: number }[] = [];
  /** Those of which no gap has told yet. */
  #untold: { readonly from: number; readonly to: number }[] = [];
  /** What it skipped. */
  readonly skipped: Gap[] = [];
  readonly hasOnDrop: boolean;
  readonly #channel: Channel<string>;
  readonly #others: readonly Watched[];
  readonly #skips: 'itself' | 'others' | undefined;
  #patience: number;

  constructor(channel: Channel<string>, options: WatchedOptions, others: readonly Watched[] = []) {
    this.#channel = channel;
    this.#others = others;
    this.#skips = options.skips;
    this.hasOnDrop = options.hasOnDrop === true;
    const { from = 'start', isBare = false, maxCredit, maxItems, merges = false, overflow } = options;
    this.isBare = isBare;
    this.overflow = isBare && overflow === 'coalesce' ? 'block' : overflow;
    this.credit = maxCredit === undefined ? undefined : openCredit({ maxItems: maxCredit });
    this.gate = options.isGated === true ? createGate() : undefined;
    this.#patience = options.patience ?? Infinity;
    this.reader = channel.reader({
      overflow: this.overflow === 'spill' ? spillTo(this.store) : this.overflow,
      ...(merges && !isBare && this.overflow !== 'spill' ? { merges } : {}),
      maxItems,
      from,
      ...(this.credit === undefined ? {} : { credit: [this.credit] }),
      ...(this.gate === undefined ? {} : { gates: [this.gate] }),
      ...(this.hasOnDrop ? { onDrop: (text, start, end) => this.#lost(text, start, end) } : {}),
      onGap: (gap) => {
        this.announced.push(gap);
        this.#wasToldOf(gap);
        this.#told();
      },
      onPressure: (pressure) => {
        this.pressures.push(pressure);
        this.#told();
      },
    });
    this.maxItems = Math.max(maxItems, this.reader.waitingItems);
    this.startedAt = this.reader.offset;
    this.startedBehind = this.reader.waitingItems > 0;
    this.at = this.startedAt;
  }

  /** Allows so many more, if there is room for them. */
  grant(items: number): void {
    const { credit } = this;
    if (credit !== undefined)
      credit.grant({ items: Math.min(items, credit.max.items - credit.available.items) });
  }

  wait(): void {
    this.waits.push(this.reader.ready());
  }

  get isImpatient(): boolean {
    return this.#patience < 0;
  }

  #told(): void {
    this.#patience -= 1;
    if (this.#patience < 0) throw impatient;
    if (this.#skips === 'itself') this.skip('told');
    else if (this.#skips === 'others') for (const other of this.#others) other.skip('another was told');
  }

  #lost(text: string, from: number, to: number): void {
    expect(text).toBe(textOf(from, to));
    expect(from).toBeGreaterThanOrEqual(this.#untold.at(-1)?.to ?? this.startedAt);
    this.pieces.push({ from, to });
    this.#untold.push({ from, to });
    this.#told();
  }

  /** Each chunk comes before the gap that tells of it; of what is in a store alone there is only the gap. */
  #wasToldOf({ from, to }: Gap): void {
    // What came and was dropped stands behind what is kept, which can be skipped later.
    const before = this.overflow === 'drop-newest' ? undefined : this.announced.at(-2);
    expect(from).toBeGreaterThanOrEqual(before?.to ?? this.startedAt);
    expect(to).toBeGreaterThan(from);
    const untold = this.#untold;
    this.#untold = [];
    if (!this.hasOnDrop) return;
    if (this.overflow !== 'spill') expect(joined(untold)).toEqual([{ from, to }]);
    for (const piece of untold) {
      expect(piece.from).toBeGreaterThanOrEqual(from);
      expect(piece.to).toBeLessThanOrEqual(to);
    }
  }

  /** Skips at any moment: everything that waits, and only for this reader. */
  skip(reason: string): void {
    const { credit, reader } = this;
    const { nextOffset } = this.#channel;
    const { deliveredItems, droppedItems, end, mergedItems, offset, spilledItems, waitingItems } = reader;
    const given = this.pieces.length;
    const available = credit?.available;
    const gap = reader.skip(reason);
    if (end !== undefined || waitingItems + spilledItems === 0) {
      expect(gap).toBeUndefined();
      return;
    }
    expect(gap).toEqual(new Gap(offset, nextOffset, this.isBare ? 0 : nextOffset - offset, reason));
    this.skipped.push(gap as Gap);
    expect(reader.deliveredItems).toBe(deliveredItems);
    expect(credit?.available).toEqual(available);
    const lost = reader.droppedItems - droppedItems;
    expect(lost).toBeGreaterThanOrEqual(waitingItems + spilledItems);
    // What is written meanwhile may be lost, too, because whoever is told may skip.
    if (this.#channel.nextOffset > nextOffset) return;
    if (reader.end === undefined) expect(reader.waitingItems + reader.spilledItems).toBe(0);
    expect(lost).toBe(waitingItems + spilledItems + mergedItems - reader.mergedItems);
    // Inside of another callback it is told of what was lost before, too.
    if (!this.hasOnDrop || this.isImpatient || this.#skips !== undefined) return;
    expect(this.pieces.length - given).toBeGreaterThanOrEqual(waitingItems);
    if (spilledItems === 0) expect(this.pieces.length - given).toBe(waitingItems);
  }

  /** Where no gap stands for what was skipped, the reader goes on behind it. */
  settle(): void {
    if (losing.includes(this.overflow)) return;
    for (const { from, to } of this.skipped) if (from === this.at) this.at = to;
  }

  got(item: string | Gap): void {
    this.settle();
    if (item instanceof Gap) {
      expect(losing).toContain(this.overflow);
      const skipped = this.skipped.findLast(({ to }) => to > item.from && to <= item.to);
      expect(item.reason).toBe(skipped?.reason ?? this.overflow);
      expect(item.from).toBe(this.at);
      expect(item.bytes).toBe(this.isBare ? 0 : item.to - item.from);
      this.at = item.to;
      return;
    }
    expect(item).toBe(textOf(this.at, this.at + item.length));
    this.pieces.push({ from: this.at, to: this.at + item.length });
    this.at += item.length;
    if (this.gate !== undefined) expect(this.gate.openTo).toBeGreaterThanOrEqual(this.at);
    if (item.length > 1) expect(item).toMatch(/^[a-z]{2,5}$/);
  }

  check(channel: Channel<string>): void {
    const { reader } = this;
    this.settle();
    this.#checkCallbacks();
    if (reader.end !== undefined) return;
    expect(reader.offset).toBe(this.at);
    expect(reader.waitingItems).toBeLessThanOrEqual(this.maxItems);
    // Everything that was written is somewhere.
    const { deliveredItems, droppedItems, mergedItems, spilledItems, waitingItems } = reader;
    expect(deliveredItems + waitingItems + spilledItems + droppedItems + mergedItems).toBe(
      channel.nextOffset - this.startedAt,
    );
    expect(reader.waitingMs).toBe(reader.waitingBytes * 10);
    if (this.overflow !== 'spill') expect(spilledItems).toBe(0);
    // High, low, high…, and never low while the reader is full.
    expect(this.pressures).toEqual(this.pressures.map((_, index) => (index % 2 === 0 ? 'high' : 'low')));
    if (waitingItems >= this.maxItems && !this.startedBehind) expect(this.pressures.at(-1)).toBe('high');
    const lost = this.announced.reduce((sum, { from, to }) => sum + to - from, 0);
    expect(lost).toBe(droppedItems);
    expect(this.#untold).toEqual([]);
  }

  /** What a callback throws ends the reader, also when it is an expectation. */
  #checkCallbacks(): void {
    const { end } = this.reader;
    if (end !== undefined && 'error' in end && end.error.name === 'AssertionError') throw end.error;
  }

  /** What it got and what it was given is what was written: everything, once, and each of the two in order. */
  checkWhole(channel: Channel<string>): void {
    this.#checkCallbacks();
    if (!this.hasOnDrop) return;
    const pieces = joined(this.pieces.toSorted((a, b) => a.from - b.from));
    if (this.overflow !== 'spill' && channel.nextOffset > this.startedAt) {
      expect(pieces).toEqual([{ from: this.startedAt, to: channel.nextOffset }]);
    }
  }
}

/** Pieces that touch are one; overlapping is an error. */
function joined(pieces: readonly { readonly from: number; readonly to: number }[]): object[] {
  const all: { readonly from: number; to: number }[] = [];
  for (const { from, to } of pieces) {
    const last = all.at(-1);
    if (last !== undefined) expect(from).toBeGreaterThanOrEqual(last.to);
    if (last?.to === from) last.to = to;
    else all.push({ from, to });
  }
  return all;
}

type Step =
  | { readonly do: 'cancel' | 'complete' | 'fail' }
  | { readonly do: 'detach' | 'ready' | 'skip' | 'store' | 'take'; readonly who: number }
  | { readonly do: 'grant' | 'open'; readonly who: number; readonly items: number }
  | { readonly do: 'join'; readonly as: WatchedOptions }
  | { readonly do: 'offer' | 'write' }
  | { readonly do: 'resume'; readonly overflow: Policy; readonly offset: number }
  | { readonly do: 'takeAll'; readonly who: number; readonly maxItems: number; readonly maxBytes: number };

const who = fc.nat(9);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constant('offer' as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('write' as const) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constantFrom('take' as const, 'ready' as const), who }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('store' as const), who }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('takeAll' as const),
      who,
      maxItems: fc.integer({ min: 1, max: 4 }),
      maxBytes: fc.integer({ min: 1, max: 12 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constantFrom('grant' as const, 'open' as const),
      who,
      items: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant('join' as const),
      as: fc.record({
        overflow: fc.constantFrom(...policies),
        maxItems: fc.integer({ min: 1, max: 8 }),
        from: fc.constantFrom('now' as const, 'start' as const),
        merges: fc.boolean(),
        maxCredit: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
        isGated: fc.boolean(),
        patience: fc.option(fc.nat(3), { nil: undefined, freq: 4 }),
        hasOnDrop: fc.boolean(),
        skips: fc.option(fc.constantFrom('itself' as const, 'others' as const), { nil: undefined, freq: 1 }),
      }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('resume' as const),
      overflow: fc.constantFrom(...policies),
      offset: fc.nat(60),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('skip' as const), who }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('detach' as const), who }) },
);

describe('every reader gets the text, and what it does not get it is told', () => {
  test('whatever is done in whatever order', async () => {
    await checkProperty(
      'channel: whatever is done in whatever order',
      fc.asyncProperty(
        fc.boolean(),
        fc.boolean(),
        boundsArbitrary(8),
        windowArbitrary,
        fc.constantFrom(...firstOffsets),
        fc.array(step, { minLength: 10, maxLength: 120 }),
        fc.constantFrom('complete', 'fail', 'cut', 'cancel'),
        async (isBare, hasMemory, bounds, window, firstOffset, steps, ending) => {
          const channel = open({ bounds, window, isBare, hasMemory, firstOffset });
          const watched: Watched[] = [];
          const writes = { waiting: 0 };
          const pick = (index: number): Watched | undefined => watched[index % Math.max(1, watched.length)];
          for (const action of steps) {
            await perform(action, channel, watched, pick, { isBare, firstOffset, writes });
            for (const one of watched) one.check(channel);
            await checkWrites(channel, watched, writes);
            if (isBare) checkHistory(channel, watched, window);
          }
          if (ending === 'complete') channel.complete();
          else if (ending === 'fail') channel.fail(new Error('failed'));
          else if (ending === 'cut') channel.cut(new Error('cut'));
          else channel.cancel();
          for (const one of watched) await finish(one, channel, ending);
        },
      ),
    );
  });

  /** A write waits only for somebody who has something to take. */
  async function checkWrites(
    channel: Channel<string>,
    watched: readonly Watched[],
    writes: { readonly waiting: number },
  ): Promise<void> {
    if (writes.waiting === 0) return;
    await Promise.resolve();
    const live = watched.filter(({ reader, store }) => reader.end === undefined || store.pendingAppends > 0);
    if (channel.end !== undefined || live.length === 0) return;
    if (live.some(({ reader, store }) => reader.waitingItems > 0 || store.pendingAppends > 0)) return;
    expect(writes.waiting).toBe(0);
  }

  /** Of what every reader has passed, no more is kept than the window. Nothing is merged: an entry is a chunk. */
  function checkHistory(
    channel: Channel<string>,
    watched: readonly Watched[],
    window: ReplayWindow | undefined,
  ): void {
    const live = watched.filter(({ reader }) => reader.end === undefined);
    if (window?.maxItems === undefined || channel.end !== undefined) return;
    const slowest = Math.min(channel.nextOffset, ...live.map(({ reader }) => reader.offset));
    expect(slowest - channel.oldestOffset).toBeLessThanOrEqual(window.maxItems);
  }

  async function perform(
    action: Step,
    channel: Channel<string>,
    watched: Watched[],
    pick: (index: number) => Watched | undefined,
    {
      firstOffset,
      isBare,
      writes,
    }: { readonly firstOffset: number; readonly isBare: boolean; readonly writes: { waiting: number } },
  ): Promise<void> {
    switch (action.do) {
      case 'write': {
        if (writes.waiting > 0) return;
        writes.waiting += 1;
        const settled = (): void => void (writes.waiting -= 1);
        channel.write(letterOf(channel.nextOffset)).then(settled, settled);
        return;
      }
      case 'offer': {
        const result = channel.offer(letterOf(channel.nextOffset));
        const blockers = watched.filter(
          ({ overflow, reader, store }) =>
            // One that spills makes the source wait only for its store.
            (overflow === 'block' || overflow === 'coalesce' || store.pendingAppends > 0) &&
            reader.end === undefined,
        );
        // Refused only for somebody who has no room for it.
        if (
          result === 'full' &&
          writes.waiting === 0 &&
          watched.some(({ reader }) => reader.end === undefined)
        ) {
          expect(blockers.some(({ reader }) => reader.waitingItems > 0)).toBe(true);
        }
        return;
      }
      case 'take': {
        const one = pick(action.who);
        const end = one?.reader.end;
        const item = one?.reader.take();
        if (end !== undefined) expect(item).toBeUndefined();
        if (item !== undefined) one?.got(item);
        return;
      }
      case 'takeAll': {
        const one = pick(action.who);
        const { maxBytes, maxItems } = action;
        const items = one?.reader.takeAll({ maxItems, maxBytes }) ?? [];
        expect(items.length).toBeLessThanOrEqual(maxItems);
        const texts = items.filter((item) => typeof item === 'string');
        // The first may be larger; what waited for its reader before may have been, too.
        const isWithin = isBare || items.length < 2 || texts.join('').length <= maxBytes;
        expect(isWithin).toBe(true);
        for (const item of items) one?.got(item);
        return;
      }
      case 'store':
        await pick(action.who)?.store.proceed();
        return;
      case 'ready':
        pick(action.who)?.wait();
        return;
      case 'grant':
        pick(action.who)?.grant(action.items);
        return;
      case 'open': {
        const one = pick(action.who);
        one?.gate?.open(one.reader.offset + action.items);
        return;
      }
      case 'join':
        watched.push(new Watched(channel, { ...action.as, isBare }, watched));
        return;
      case 'resume': {
        const from = firstOffset + action.offset;
        try {
          watched.push(new Watched(channel, { overflow: action.overflow, maxItems: 8, from, isBare }));
        } catch (error) {
          // Either it gets exactly what it missed, or it is told that this is gone.
          const { code } = error as SpillwayError;
          expect(code).toBe(from > channel.nextOffset ? 'invalid_option' : 'history_gone');
        }
        return;
      }
      case 'skip':
        pick(action.who)?.skip('asked');
        return;
      case 'detach':
        pick(action.who)?.reader.detach();
        return;
      default:
    }
  }

  async function finish(one: Watched, channel: Channel<string>, ending: string): Promise<void> {
    const before = one.reader.end;
    if (one.gate !== undefined && ending !== 'cancel') expect(before?.state).not.toBe('completed');
    one.gate?.open(Infinity);
    one.store.isSlow = false;
    // An append and a read, at most, wait for it.
    for (let time = 0; time < 2; time += 1) await one.store.proceed();
    for (one.grant(Infinity); await one.reader.ready(); one.grant(Infinity)) {
      const item = one.reader.take();
      if (item !== undefined) one.got(item);
    }
    one.settle();
    // Whoever waited has been told.
    await Promise.all(one.waits);
    while (one.store.pendingAppends > 0) await one.store.proceed();
    const end = one.reader.end;
    expect(end).toBeDefined();
    if (end !== undefined && 'error' in end && end.error === impatient) {
      expect(one.isImpatient).toBe(true);
      return;
    }
    if (before !== undefined && before.state !== 'cancelled') {
      // It was over before: it left, fell behind, or had taken all.
      expect(end).toEqual(before);
      if (before.state === 'disconnected') expect(before.offset).toBe(one.at);
      return;
    }
    if (ending === 'cancel') expect(end?.state).toBe('cancelled');
    else {
      expect(one.at).toBe(channel.nextOffset);
      one.checkWhole(channel);
      expect(end?.state).toBe(channel.end?.state);
    }
    if (one.overflow !== 'spill') return;
    // Nothing is left behind in the store.
    await one.store.proceed();
    expect(one.store.isSealed).toBe(true);
    expect(await one.store.read(Number.MAX_SAFE_INTEGER)).toEqual([]);
  }
});

describe('writers and readers that run at the same time', () => {
  test('nobody waits for ever, in any interleaving', async () => {
    await checkProperty(
      'channel: nobody waits for ever',
      fc.asyncProperty(
        fc.scheduler(),
        fc.boolean(),
        fc.boolean(),
        boundsArbitrary(4),
        fc.array(
          fc.record({
            overflow: fc.constantFrom(...policies),
            maxItems: fc.integer({ min: 1, max: 4 }),
            maxCredit: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
            isGated: fc.boolean(),
            hasOnDrop: fc.boolean(),
            skipAfter: fc.array(fc.nat(6), { maxLength: 3 }),
          }),
          {
            minLength: 1,
            maxLength: 4,
          },
        ),
        fc.nat(20),
        async (scheduler, isBare, hasMemory, bounds, readers, chunks) => {
          const channel = open({ bounds, isBare, hasMemory });
          const watched = readers.map((reader) => new Watched(channel, { ...reader, isBare }));
          const write = async (): Promise<void> => {
            try {
              for (let offset = 0; offset < chunks; offset += 1) {
                await channel.write(letterOf(offset));
                await scheduler.schedule(Promise.resolve(), 'write');
              }
            } catch (error) {
              expect(error).toMatchObject({ code: 'channel_cancelled' });
            }
            channel.complete();
          };
          const read = async (one: Watched): Promise<void> => {
            one.store.wait = () => scheduler.schedule(Promise.resolve(), 'store');
            const grant = (): void =>
              void scheduler.schedule(Promise.resolve(), 'grant').then(() => one.grant(1));
            for (grant(); await one.reader.ready(); grant()) {
              const item = one.reader.take();
              if (item !== undefined) one.got(item);
              await scheduler.schedule(Promise.resolve(), 'read');
            }
            // Without a reader the channel would wait for the next one.
            if (watched.every(({ reader }) => reader.end !== undefined)) channel.cancel();
          };
          const skip = async (one: Watched, pauses: readonly number[]): Promise<void> => {
            for (const pause of pauses) {
              for (let tick = 0; tick < pause; tick += 1) await scheduler.schedule(Promise.resolve(), 'tick');
              one.skip('asked');
            }
          };
          // Reads everything first, and opens the gates of the others.
          const auditor = channel.reader();
          const audit = async (): Promise<void> => {
            while (await auditor.ready()) {
              auditor.takeAll({ maxItems: 2 });
              const { offset } = auditor;
              await scheduler.schedule(Promise.resolve(), 'audit');
              for (const { gate } of watched) gate?.open(offset);
            }
            for (const { gate } of watched) gate?.open(Infinity);
          };
          const skips = watched.map((one, index) => skip(one, readers[index]?.skipAfter ?? []));
          const all = Promise.all([write(), audit(), ...watched.map(read), ...skips]);
          await scheduler.waitFor(all);
          for (const one of watched) {
            const end = one.reader.end;
            one.settle();
            if (end?.state === 'completed') {
              expect(one.at).toBe(chunks);
              one.checkWhole(channel);
            } else expect(['disconnect', 'error']).toContain(one.overflow);
          }
        },
      ),
    );
  });

  test('a write that is aborted, or whose reader leaves, at any moment', async () => {
    await checkProperty(
      'channel: a write that is aborted, or whose reader leaves',
      fc.asyncProperty(fc.scheduler(), fc.nat(12), fc.nat(12), async (scheduler, abortAfter, detachAfter) => {
        const channel = open({ bounds: { maxItems: 2, maxBytes: 4, maxMs: 1000 } });
        const slow = new Watched(channel, { overflow: 'block', maxItems: 2 });
        const lossy = new Watched(channel, { overflow: 'drop-oldest', maxItems: 2 });
        const abort = new AbortController();
        const write = async (): Promise<void> => {
          try {
            for (let offset = 0; offset < 10; offset += 1) {
              await channel.write(letterOf(offset), { signal: abort.signal });
              await scheduler.schedule(Promise.resolve(), 'write');
            }
          } catch (error) {
            expect(error).toBe(abort.signal.reason);
          }
          channel.complete();
        };
        const read = async (one: Watched, limit: number): Promise<void> => {
          for (let count = 0; count < limit && (await one.reader.ready()); count += 1) {
            const item = one.reader.take();
            if (item !== undefined) one.got(item);
            await scheduler.schedule(Promise.resolve(), 'read');
          }
          one.reader.detach();
        };
        const stop = async (): Promise<void> => {
          for (let count = 0; count < abortAfter; count += 1)
            await scheduler.schedule(Promise.resolve(), 'tick');
          abort.abort(new Error('enough'));
        };
        await scheduler.waitFor(Promise.all([write(), read(slow, detachAfter), read(lossy, 100), stop()]));
        expect(channel.end).toEqual({ state: 'completed' });
        expect(lossy.at).toBe(channel.nextOffset);
      }),
    );
  });
});
