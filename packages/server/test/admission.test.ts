import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { expect, test } from 'vitest';
import { Admission, type AdmissionOptions } from '../src/admission/admission.ts';
import { FixedLimit } from '../src/admission/concurrency-limit.ts';
import type { Place } from '../src/admission/place.ts';

const { signal } = new AbortController();

function open({ places = 1, ...options }: Partial<AdmissionOptions> & { readonly places?: number } = {}): {
  readonly admission: Admission;
  readonly clock: VirtualClock;
} {
  const clock = new VirtualClock();
  const limit = new FixedLimit(places);
  return { admission: new Admission({ clock, limit, maxWaiting: 10, ...options }), clock };
}

/** What became of the wait for a place, when all that follows from finished work is done. */
async function endOf(place: Place | undefined): Promise<string> {
  if (place === undefined) return 'no place';
  const told = place.given?.then(
    () => 'given',
    (error: unknown) => String(error),
  );
  const later = new Promise((resolve) => setImmediate(resolve)).then(() => 'waits');
  return place.given === undefined ? 'given' : await Promise.race([told ?? '', later]);
}

test('of requests that wait for a place, the one with the highest priority gets it', async () => {
  const { admission } = open();
  const first = admission.enter({ signal });
  const order: string[] = [];
  const waiting = (['low', 'normal', 'high', 'high'] as const).map(async (priority, index) => {
    const place = admission.enter({ signal, priority });
    await place.given;
    order.push(`${priority} ${index}`);
    place.release();
  });
  expect([admission.waiting, admission.waitingOf('high')]).toEqual([4, 2]);
  first.release();
  await Promise.all(waiting);
  expect(order).toEqual(['high 2', 'high 3', 'normal 1', 'low 0']);
});

test('a place that is given in the turn of an abort is not lost', async () => {
  const { admission } = open();
  const first = admission.enter({ signal });
  const [early, late] = [new AbortController(), new AbortController()];
  const [one, two] = [admission.enter({ signal: early.signal }), admission.enter({ signal: late.signal })];
  early.abort(new Error('it left'));
  first.release();
  late.abort(new Error('it left'));
  expect([await endOf(one), await endOf(two)]).toEqual(['Error: it left', 'given']);
  expect([one.isHeld, two.isHeld, admission.taken, admission.waiting]).toEqual([false, true, 1, 0]);
  one.release();
  two.release();
  two.release();
  expect(admission.taken).toBe(0);
});

test('promise 17: a quiet tenant gets in before the next of a loud one, which gets all that is left', async () => {
  const { admission } = open({ places: 20, maxWaiting: 30 });
  const loud = Array.from({ length: 50 }, () => admission.enter({ signal, tenant: 'loud' }));
  expect(admission.counts).toMatchObject({ admitted: 20, full: 0 });
  expect(() => admission.enter({ signal, tenant: 'loud' })).toThrow(
    /20 for streams.*30 for requests that wait/,
  );
  // The room for one that waits is taken from the loud one.
  const quiet = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'].flatMap((tenant) => [
    admission.enter({ signal, tenant }),
    admission.enter({ signal, tenant }),
  ]);
  expect(admission.counts).toMatchObject({ displaced: 18, full: 1 });
  expect(quiet.map(({ position }) => position).toSorted((a = 0, b = 0) => a - b)).toEqual(
    quiet.map((_, index) => index + 1),
  );
  for (const place of loud.slice(0, 18)) place.release();
  expect(quiet.every(({ isHeld }) => isHeld)).toBe(true);
  expect(loud.filter(({ isHeld }) => isHeld)).toHaveLength(2);
  for (const place of quiet) place.release();
  expect(loud.filter(({ isHeld }) => isHeld)).toHaveLength(2 + 12);
  // Those that lost their room are the newest.
  expect(await endOf(loud[32])).toMatch(/one that comes first took the room/);
  expect(await endOf(loud[31])).toBe('given');
});

/** Who gets the places that come free one after the other, until so many were given. */
function servedInTurn(
  admission: Admission,
  first: Place,
  waiting: Map<string, Place[]>,
  count: number,
): string[] {
  const got: string[] = [];
  let held = first;
  while (got.length < count) {
    held.release();
    const [name, places] = [...waiting].find(([, [place]]) => place?.isHeld ?? false) ?? [];
    const next = places?.shift();
    if (name === undefined || next === undefined) break;
    got.push(name);
    held = next;
    places?.push(admission.enter({ signal, tenant: name }));
  }
  return got;
}

test('promise 17: with more tenants than places each has its turn, however many of one wait', () => {
  const { admission } = open({ maxWaiting: 20 });
  const first = admission.enter({ signal, tenant: 'loud' });
  const of = (tenant: string, count: number): [string, Place[]] => [
    tenant,
    Array.from({ length: count }, () => admission.enter({ signal, tenant })),
  ];
  // The requests of the loud one are the oldest, always.
  const waiting = new Map([of('loud', 10), of('a', 1), of('b', 1)]);
  const round = ['a', 'b', 'loud'];
  expect(servedInTurn(admission, first, waiting, 9)).toEqual([...round, ...round, ...round]);
});

test('promise 17: where the limit has fallen, who has little gets the places that come free, and nobody else does', () => {
  const limit = { current: 12, told: 0, sample: () => (limit.told += 1), failed: () => (limit.told += 1) };
  const admission = new Admission({ clock: new VirtualClock(), limit, maxWaiting: 30 });
  const loud = Array.from({ length: 20 }, () => admission.enter({ signal, tenant: 'loud' }));
  const quiet = ['a', 'a', 'a', 'b'].map((tenant) => admission.enter({ signal, tenant }));
  limit.current = 3;
  const heldOf = (places: readonly Place[]): number => places.filter(({ isHeld }) => isHeld).length;
  const releaseNext = (): void => loud.find(({ isHeld }) => isHeld)?.release();
  const steps = Array.from({ length: 9 }, () => {
    releaseNext();
    return [heldOf(loud), heldOf(quiet)];
  });
  // The third of a has to wait: it would have more than half of what the loud one has by then. What is taken never grows.
  expect(steps).toEqual([
    [11, 1],
    [10, 2],
    [9, 3],
    [8, 4],
    [7, 4],
    [6, 4],
    [5, 4],
    [4, 4],
    [3, 4],
  ]);
  // They were asked for beyond the limit, and say nothing of it.
  quiet[0]?.answered(100);
  quiet[1]?.failed();
  expect(limit.told).toBe(0);
  loud.find(({ isHeld }) => isHeld)?.answered(100);
  expect(limit.told).toBe(1);
});

test('promise 17: who comes now and then is before one that always waits', () => {
  const { admission } = open({ maxWaiting: 20 });
  const loud = Array.from({ length: 5 }, () => admission.enter({ signal, tenant: 'loud' }));
  for (let turn = 0; turn < 20; turn += 1) {
    // None of these has a request here between its turns.
    const quiet = admission.enter({ signal, tenant: `quiet ${turn % 4}` });
    loud.shift()?.release();
    expect(quiet.isHeld).toBe(true);
    quiet.release();
    expect(loud[0]?.isHeld).toBe(true);
    loud.push(admission.enter({ signal, tenant: 'loud' }));
  }
});

test('of two tenants without a place, the one that was served longest ago takes the room of the other', async () => {
  const { admission } = open({ maxWaiting: 1 });
  admission.enter({ signal, tenant: 'a' }).release();
  admission.enter({ signal, tenant: 'b' }).release();
  const running = admission.enter({ signal, tenant: 'c' });
  const [late, early] = [admission.enter({ signal, tenant: 'b' }), admission.enter({ signal, tenant: 'a' })];
  expect(await endOf(late)).toMatch(/took the room/);
  expect(() => admission.enter({ signal, tenant: 'b' })).toThrow(/Every place is taken/);
  running.release();
  expect(early.isHeld).toBe(true);
});

test('of tenants that are not here, the latest 500 at least and 1000 at most are remembered', () => {
  const { admission } = open({ maxWaiting: 4 });
  const serve = (from: number, to: number): void => {
    for (let index = from; index < to; index += 1) admission.enter({ signal, tenant: `${index}` }).release();
  };
  const first = (...tenants: string[]): string | undefined => {
    const running = admission.enter({ signal, tenant: 'running' });
    const waiting = tenants.map((tenant) => admission.enter({ signal, tenant }));
    const at = waiting.findIndex(({ position }) => position === 1);
    for (const place of [...waiting, running]) place.release();
    return tenants[at];
  };
  serve(0, 400);
  expect(first('399', '1')).toBe('1');
  serve(400, 850);
  expect(first('849', '400')).toBe('400');
  serve(850, 2000);
  // Both are forgotten: the one that came first is first.
  expect(first('1', '0')).toBe('1');
});

test('a higher priority takes the room of a lower one, whoever waits', async () => {
  const { admission } = open({ maxWaiting: 2 });
  const running = admission.enter({ signal, tenant: 'a' });
  const waiting = [
    admission.enter({ signal, tenant: 'b' }),
    admission.enter({ signal, priority: 'low', tenant: 'c' }),
  ];
  const high = admission.enter({ signal, priority: 'high', tenant: 'a' });
  expect(await Promise.all(waiting.map(endOf))).toEqual(['waits', expect.stringMatching('took the room')]);
  expect(() => admission.enter({ signal, priority: 'low', tenant: 'd' })).toThrow(/Every place is taken/);
  running.release();
  expect(high.isHeld).toBe(true);
});

/** Places that are held for so long each, and of which more are wanted than there are. */
async function busy(
  { admission, clock }: ReturnType<typeof open>,
  holdMs: number,
  places: number,
): Promise<void> {
  for (let count = 0; count < 10; count += 1) {
    const held = Array.from({ length: places }, () => admission.enter({ signal }));
    await clock.advance(holdMs);
    for (const place of held) place.release();
  }
}

test('promise 17: who would wait longer than it may is refused at once, and told when to come back', async () => {
  const opened = open({ places: 4, maxWaiting: 100, waitMs: 5000 });
  const { admission, clock } = opened;
  await busy(opened, 2000, 4);
  const held = Array.from({ length: 4 }, () => admission.enter({ signal, tenant: 'loud' }));
  // Two places a second come free: ten in five seconds, and probably seven.
  const waiting = Array.from({ length: 7 }, () => admission.enter({ signal, tenant: 'loud' }));
  expect(() => admission.enter({ signal, tenant: 'loud' })).toThrow(
    expect.objectContaining({
      code: 'overloaded',
      status: 503,
      retryAfterS: 4,
      message: expect.stringMatching(
        /^Every place is taken: 4 for .*expected in 4000 ms.*may wait 5000 ms \(waitMs\)/,
      ),
    }),
  );
  // Nothing of that is before a quiet tenant.
  const quiet = admission.enter({ signal, tenant: 'quiet' });
  expect([quiet.position, waiting.at(-1)?.position]).toEqual([1, 8]);
  expect(admission.counts).toMatchObject({ late: 1, full: 0, expired: 0 });
  // The places are held for longer than before: those that waited are dropped, the oldest first.
  await clock.advance(4999);
  expect(admission.waiting).toBe(8);
  await clock.advance(1);
  expect(admission.counts.expired).toBe(8);
  expect(await endOf(waiting[0])).toMatch(/No place became free within 5000 ms \(waitMs\)/);
  // Nothing has come free for as long as one may wait.
  expect(() => admission.enter({ signal })).toThrow(/expected in 5000 ms/);
  for (const place of held) place.release();
  expect([admission.taken, admission.waiting]).toEqual([0, 0]);
});

test('other bounds hold for those that wait, too, and who has waited for longer than is allowed now is refused', async () => {
  const { admission, clock } = open({ waitMs: 10_000 });
  const limit = new FixedLimit(1);
  const first = admission.enter({ signal });
  const old = admission.enter({ signal });
  await clock.advance(3000);
  const young = admission.enter({ signal });
  await clock.advance(1000);
  admission.setBounds({ limit, maxWaiting: 10, waitMs: 4000 });
  expect([await endOf(old), await endOf(young)]).toEqual([
    'SpillwayError: No place became free within 4000 ms (waitMs): 1 for streams that run or are still read (maxStreams) are taken.',
    'waits',
  ]);
  // Its time is longer now, and then there is none.
  admission.setBounds({ limit, maxWaiting: 10, waitMs: 60_000 });
  await clock.advance(50_000);
  expect(await endOf(young)).toBe('waits');
  admission.setBounds({ limit, maxWaiting: 10 });
  await clock.advance(100_000);
  expect(await endOf(young)).toBe('waits');
  first.release();
  expect(await endOf(young)).toBe('given');
  expect(admission.counts).toMatchObject({ admitted: 2, expired: 1 });
});

test('where fewer may wait than do, the last ones are refused, and the others wait on in their order', async () => {
  const { admission } = open();
  const limit = new FixedLimit(1);
  const first = admission.enter({ signal });
  const waiting = [
    admission.enter({ signal, tenant: 'c', priority: 'low' }),
    admission.enter({ signal, tenant: 'a' }),
    admission.enter({ signal, tenant: 'a' }),
    admission.enter({ signal, tenant: 'b' }),
    admission.enter({ signal, tenant: 'a', priority: 'high' }),
  ];
  admission.setBounds({ limit, maxWaiting: 3 });
  expect(waiting.map(({ position }) => position)).toEqual([undefined, 3, undefined, 2, 1]);
  expect(await endOf(waiting[2])).toMatch(
    /3 for requests that wait \(maxWaiting\), and fewer may wait since the settings were changed\.$/,
  );
  admission.setBounds({ limit, maxWaiting: 0 });
  expect([admission.waiting, admission.counts.displaced]).toEqual([0, 5]);
  first.release();
});

test('a queue that stands shortens the wait of who comes, until nobody was refused for that for as long', async () => {
  const opened = open({ places: 10, maxWaiting: 1000, waitMs: 5000 });
  const { admission, clock } = opened;
  await busy(opened, 1000, 10);
  const held: Place[] = [];
  let waiting: Place[] = [];
  const come = (tenant = 'loud'): Place => {
    const place = admission.enter({ signal, tenant });
    (place.isHeld ? held : waiting).push(place);
    return place;
  };
  /** A place comes free after 100 ms, as each second ten do. */
  const turn = async (): Promise<void> => {
    await clock.advance(100);
    held.shift()?.release();
    held.push(...waiting.filter(({ isHeld }) => isHeld));
    waiting = waiting.filter(({ isHeld }) => !isHeld);
  };
  for (let count = 0; count < 40; count += 1) come();
  for (let turns = 0; turns < 50; turns += 1) {
    expect(come).not.toThrow();
    await turn();
  }
  expect(come).toThrow(/may wait 500 ms while others wait all the time \(a tenth of waitMs\)/);
  expect(admission.waiting).toBe(30);
  // Who has less than its share waits as long as ever. Who waits already keeps its time.
  const quiet = Array.from({ length: 8 }, () => come('quiet').position);
  expect(quiet).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  while (waiting.length > 0) await turn();
  expect(admission.counts).toMatchObject({ expired: 0, late: 1 });
  // The queue was empty, but it would stand again at once.
  const refusals = (): number => {
    const before = admission.counts.late;
    for (let count = 0; count < 20; count += 1) {
      try {
        come();
      } catch {
        // Counted.
      }
    }
    return admission.counts.late - before;
  };
  expect(refusals()).toBeGreaterThan(10);
  while (waiting.length > 0) await turn();
  for (const place of held.splice(0)) place.release();
  await clock.advance(5000);
  expect(refusals()).toBe(0);
});

/** How long it takes that so many come, each of another tenant, are looked at, and leave. */
function tookMs(count: number): number {
  const { admission } = open({ maxWaiting: count, waitMs: 100_000_000 });
  const first = admission.enter({ signal });
  const controllers = Array.from({ length: count }, () => new AbortController());
  const startedMs = performance.now();
  const waiting = controllers.map((one, index) =>
    admission.enter({ signal: one.signal, tenant: `${index}` }),
  );
  expect(waiting.every(({ position }, index) => position === index + 1)).toBe(true);
  for (const { signal: its } of controllers) {
    try {
      admission.enter({ signal: its, tenant: '0' });
    } catch {
      // Counted.
    }
  }
  for (const one of controllers.filter((_, index) => index % 2 === 0)) one.abort(new Error('it left'));
  first.release();
  for (const place of waiting) place.release();
  const took = performance.now() - startedMs;
  const { admitted, full, left } = admission.counts;
  expect([full, admitted + left]).toEqual([count, count + 1]);
  expect([admission.taken, admission.waiting, admission.tenantsWaiting]).toEqual([0, 0, 0]);
  return took;
}

test('ten times as many that wait take some ten times as long, and not a hundred times', () => {
  const few = Math.min(tookMs(1000), tookMs(1000), tookMs(1000));
  expect(tookMs(10_000) / few).toBeLessThan(50);
});

test('500 in one instant: what fits is served, some wait, and the rest is refused within 10 ms', async () => {
  const { admission } = open({ places: 50, maxWaiting: 100 });
  const refusedMs: number[] = [];
  const places: Place[] = [];
  for (let count = 0; count < 500; count += 1) {
    const startedMs = performance.now();
    try {
      places.push(admission.enter({ signal: new AbortController().signal, tenant: `${count % 10}` }));
    } catch {
      refusedMs.push(performance.now() - startedMs);
    }
  }
  expect([admission.taken, admission.waiting, refusedMs.length]).toEqual([50, 100, 350]);
  expect(refusedMs.toSorted((a, b) => b - a)[3]).toBeLessThan(10);
  for (const place of places) place.release();
  for (const { given } of places) await given;
  expect([admission.taken, admission.counts.admitted]).toEqual([0, 150]);
});
