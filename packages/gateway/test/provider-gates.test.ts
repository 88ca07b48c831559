import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { GatewayError } from '@spillway/server/errors';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Provider } from '../src/config/provider.ts';
import type { ProviderGate, ProviderVisit } from '../src/provider/gate/provider-gate.ts';
import { ProviderGates } from '../src/provider/gate/provider-gates.ts';

const { signal } = new AbortController();

type Bounds = NonNullable<Provider['streams']>;

const some: Bounds = { max: 50, min: 50, maxWaiting: 5, waitMs: 60_000 };

function provider(bounds: Pick<Provider, 'breakMs' | 'streams'>): Provider {
  return { name: 'p', api: 'openai', url: 'http://p', apiKey: 'k', detach: undefined, ...bounds };
}

interface Opened {
  readonly clock: VirtualClock;
  readonly gates: ProviderGates;
  readonly changes: string[];
  /** The settings that requests have which come now. */
  readonly renew: (bounds: Pick<Provider, 'breakMs' | 'streams'>) => void;
  readonly gate: (model?: string) => ProviderGate;
}

function open(bounds: Pick<Provider, 'breakMs' | 'streams'>): Opened {
  const clock = new VirtualClock();
  const changes: string[] = [];
  const gates = new ProviderGates({
    clock,
    areKeysOurs: false,
    onChange: (_gate, state) => void changes.push(state),
  });
  let current = provider(bounds);
  return {
    clock,
    gates,
    changes,
    renew: (next) => {
      current = provider(next);
      gates.renew([current]);
    },
    gate: (model = 'm') => {
      const found = gates.find(current, model);
      if (found === undefined) throw new Error('there is a gate');
      return found;
    },
  };
}

function enter(gate: ProviderGate): Promise<ProviderVisit> {
  return gate.enter({ signal }, { wait: undefined });
}

async function enterAll(gate: ProviderGate, count: number): Promise<ProviderVisit[]> {
  return await Promise.all(Array.from({ length: count }, () => enter(gate)));
}

const failure = new GatewayError('upstream_cut', 'it hung up');

async function fail(gate: ProviderGate, times = 5): Promise<void> {
  for (const visit of await enterAll(gate, times)) visit.end(failure);
}

describe('a reload', () => {
  test('counts what runs, and gives nobody a place until fewer run than may', async () => {
    const { gate, renew } = open({ streams: some });
    const visits = await enterAll(gate(), 50);
    renew({ streams: { ...some, max: 40, min: 40 } });
    expect(gate().admission).toMatchObject({ taken: 50, limit: 40 });
    let isIn = false;
    const next = enter(gate()).then((visit) => {
      isIn = true;
      return visit;
    });
    for (const visit of visits.splice(0, 10)) visit.end();
    await Promise.resolve();
    expect(isIn).toBe(false);
    visits.pop()?.end();
    (await next).end();
  });

  test('lets in those that wait, where there are more places, and refuses those that find no room', async () => {
    const { gate, gates, renew } = open({ streams: { ...some, max: 1, min: 1 } });
    const [running] = await enterAll(gate(), 1);
    const ends: string[] = [];
    const waiting = Array.from({ length: 5 }, async (_, at) => {
      try {
        const visit = await enter(gate());
        ends.push(`${at} in`);
        return visit;
      } catch (error) {
        ends.push(`${at} ${error instanceof GatewayError ? error.code : 'failed'}`);
        return undefined;
      }
    });
    await Promise.resolve();
    renew({ streams: { ...some, max: 3, min: 3, maxWaiting: 2 } });
    await new Promise((resolve) => setImmediate(resolve));
    expect(ends.toSorted()).toEqual(['0 in', '1 in', '4 overloaded']);
    expect(gate().admission).toMatchObject({ taken: 3, waiting: 2 });
    expect(gates.refusals.get('p')).toBe(1);
    // Those that wait are there already when the bounds are gone.
    renew({ breakMs: 1000 });
    for (const visit of await Promise.all(waiting)) visit?.end();
    expect(gate().admission).toBeUndefined();
    running?.end();
  });

  test('counts what ran while there was no bound', async () => {
    const { gate, renew } = open({ breakMs: 1000 });
    const visits = await enterAll(gate(), 90);
    renew({ breakMs: 1000, streams: some });
    expect(gate().admission).toMatchObject({ taken: 90, limit: 50 });
    renew({});
    visits.push(...(await enterAll(gate(), 10)));
    renew({ streams: some });
    expect(gate().admission?.taken).toBe(100);
    for (const visit of visits) visit.end();
    expect(gate().admission?.taken).toBe(0);
  });

  test('keeps a limit that was found within other bounds, and begins to find it where it was fixed', async () => {
    const { clock, gate, renew } = open({ streams: { ...some, max: 1000, min: 1 } });
    // As many as may come and are quick.
    for (let second = 0; second < 30; second += 1) {
      const visits = await enterAll(gate(), gate().admission?.limit ?? 0);
      await clock.advance(1000);
      for (const visit of visits) visit.began(100);
      for (const visit of visits) visit.end();
    }
    const found = gate().admission?.limit ?? 0;
    expect(found).toBeGreaterThan(12);
    renew({ streams: { ...some, max: 900, min: 2 } });
    expect(gate().admission?.limit).toBe(found);
    renew({ streams: { ...some, max: 12, min: 2 } });
    expect(gate().admission?.limit).toBe(12);
    renew({ streams: { ...some, max: 70, min: 70 } });
    expect(gate().admission?.limit).toBe(70);
    expect(gate().firstToken).toBeUndefined();
    renew({ streams: { ...some, max: 100, min: 1 } });
    expect(gate().admission?.limit).toBe(70);
    expect(gate().firstToken).toBeDefined();
  });

  test('forgets neither an open breaker nor a pause, and another break time is for the next opening', async () => {
    const { changes, clock, gate, renew } = open({ breakMs: 2000 });
    await fail(gate());
    renew({ breakMs: 500, streams: some });
    expect(gate().closedMs).toBe(2000);
    await clock.advance(2000);
    await fail(gate(), 1);
    expect(gate().closedMs).toBe(500);
    await clock.advance(500);
    const [visit] = await enterAll(gate(), 1);
    visit?.answered({
      status: 429,
      header: (name) => (name === 'retry-after' ? '60' : undefined),
    });
    renew({ breakMs: 500 });
    expect(gate().closedMs).toBe(60_000);
    // Of a breaker that is no more nothing is told.
    renew({ streams: some });
    expect(gate().breaker).toBeUndefined();
    visit?.end(failure);
    expect(changes).toEqual(['open', 'half-open', 'open', 'half-open']);
  });

  test('is heard by requests that came before it', async () => {
    const { gate, gates, renew } = open({ streams: some });
    const old = provider({ streams: some });
    await enterAll(gate(), 2);
    renew({ streams: { ...some, max: 10, min: 10 } });
    expect(gates.find(old, 'm')?.admission).toMatchObject({ taken: 2, limit: 10 });
    renew({});
    expect(gates.find(old, 'other')).toBeUndefined();
  });

  test('in any order leaves as many in it as have not left, and never lets more in than may', async () => {
    const step = fc.oneof(
      { weight: 4, arbitrary: fc.constant('enter' as const) },
      { weight: 3, arbitrary: fc.constant('end' as const) },
      {
        weight: 2,
        arbitrary: fc.record({
          streams: fc.option(
            fc
              .tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }), fc.nat(3))
              .map(([one, other, maxWaiting]) => ({
                max: Math.max(one, other),
                min: Math.min(one, other),
                maxWaiting,
                waitMs: 60_000,
              })),
            { nil: undefined },
          ),
          breakMs: fc.constantFrom(1000, undefined),
        }),
      },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const { gates, renew } = open({ streams: some });
        const asked = provider({ streams: some });
        const inside: ProviderVisit[] = [];
        for (const each of steps) {
          const before = inside.length;
          if (each === 'enter') {
            const gate = gates.find(asked, 'm');
            gate?.enter({ signal }, { wait: undefined }).then(
              (visit) => inside.push(visit),
              () => undefined,
            );
          } else if (each === 'end') inside.shift()?.end();
          else renew(each);
          await new Promise((resolve) => setImmediate(resolve));
          const { admission } = gates.find(asked, 'm') ?? {};
          if (admission === undefined) continue;
          expect(admission.taken).toBe(inside.length);
          expect(inside.length).toBeLessThanOrEqual(Math.max(before, admission.limit));
          if (admission.waiting > 0) expect(inside.length).toBeGreaterThanOrEqual(admission.limit);
        }
        for (const visit of inside) visit.end();
      }),
      { numRuns: 100 },
    );
  });
});

describe('of more than a thousand names', () => {
  test('those that know nothing are forgotten, and no breaker that is open, no pause, and nothing that runs', async () => {
    const { gate, gates } = open({ breakMs: 600_000, streams: some });
    await fail(gate('open'));
    const [paused] = await enterAll(gate('paused'), 1);
    paused?.answered({ status: 429, header: (name) => (name === 'retry-after' ? '600' : undefined) });
    paused?.end();
    const [running] = await enterAll(gate('runs'), 1);
    const [served] = await enterAll(gate('served'), 1);
    served?.began(10);
    served?.end();
    const known = ['open', 'paused', 'runs', 'served'].map(gate);
    for (let at = 0; at < 3000; at += 1) gate(`invented ${at}`);
    expect([...gates]).toHaveLength(1000);
    expect(['open', 'paused', 'runs', 'served'].map(gate)).toEqual(known);
    expect(gate('open').breaker).toBe('open');
    expect(gate('paused').closedMs).toBe(600_000);
    running?.end();
  });

  test('those that fail push out none that has answered', async () => {
    const { gate } = open({ breakMs: 600_000 });
    const [served] = await enterAll(gate('served'), 1);
    served?.began(10);
    served?.end();
    await fail(gate('served'), 5);
    expect(gate('served').breaker).toBe('open');
    for (let at = 0; at < 1100; at += 1) await fail(gate(`invented ${at}`));
    expect(gate('served').breaker).toBe('open');
  });
});

test('the message of a limit that was found says so', async () => {
  const { gate } = open({ streams: { max: 100, min: 1, maxWaiting: 0, waitMs: 1000 } });
  const visits = await enterAll(gate(), 10);
  await expect(enter(gate())).rejects.toThrow(
    /10 for streams of the model m of the provider p \(the limit that was found, of at most 100: maxStreams\)/,
  );
  for (const visit of visits) visit.end();
});
