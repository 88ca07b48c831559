import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type PressureCause,
  type PressureChange,
  pressureCauses,
  PressureGauge,
  type Readings,
  thresholds,
} from '../src/pressure/pressure-gauge.ts';

/** Takes a reading a second, and returns the levels after each, and the changes. */
function levelsOf(
  readings: readonly Readings[],
  gauge = new PressureGauge(),
): { readonly levels: readonly number[]; readonly changes: readonly PressureChange[] } {
  const changes: PressureChange[] = [];
  const levels = readings.map((reading, second) => {
    const change = gauge.take(reading, second * 1000, second * 1000);
    if (change !== undefined) changes.push(change);
    return gauge.level;
  });
  return { levels, changes };
}

const times = (count: number, reading: Readings): Readings[] => new Array<Readings>(count).fill(reading);

describe('the level of pressure', () => {
  test('rises when a threshold is passed for three looks in turn, and not for a single pause', () => {
    const pause = [...times(3, {}), { loop_delay: 900 }, { loop_delay: 900 }, ...times(9, {})];
    expect(levelsOf(pause).levels.every((level) => level === 0)).toBe(true);
    const { changes, levels } = levelsOf(times(4, { loop_delay: 300 }));
    expect(levels).toEqual([0, 0, 2, 2]);
    expect(changes).toEqual([{ atMs: 2000, level: 2, from: 0, cause: 'loop_delay', value: 300 }]);
  });

  test('rises to what was asked for all the time, and tells the cause that asks for the most', () => {
    const { changes } = levelsOf([
      { memory: 0.95 },
      { memory: 0.95 },
      { memory: 0.65, places: 0.8 },
      { memory: 0.95 },
    ]);
    expect(changes).toMatchObject([{ level: 1, cause: 'memory', value: 0.65 }]);
  });

  test('falls only below three quarters of a threshold', () => {
    const above = [...times(3, { places: 1 }), ...times(20, { places: 0.76 })];
    expect(new Set(levelsOf(above).levels.slice(2))).toEqual(new Set([2]));
    const below = [...times(3, { places: 1 }), ...times(20, { places: 0.74 })];
    expect(levelsOf(below).levels.at(-1)).toBe(1);
  });

  test('falls after five seconds, at once to what is enough', () => {
    const { changes, levels } = levelsOf([...times(3, { provider_latency: 9 }), ...times(8, {})]);
    expect(levels).toEqual([0, 0, 3, 3, 3, 3, 3, 3, 0, 0, 0]);
    expect(changes[1]).toEqual({ atMs: 8000, level: 0, from: 3, cause: 'provider_latency', value: 0 });
  });

  test('stays longer each time that it comes back soon, up to twenty seconds', () => {
    // What gives way takes the pressure away, and what comes back brings it again.
    const gauge = new PressureGauge();
    const changes: PressureChange[] = [];
    for (let second = 0; second < 200; second += 1) {
      const change = gauge.take({ places: gauge.level > 0 ? 0.5 : 1 }, second * 1000, second * 1000);
      if (change !== undefined) changes.push(change);
    }
    const stays = changes.flatMap(({ atMs, from }, index) =>
      from > 0 ? [atMs - (changes[index - 1]?.atMs ?? 0)] : [],
    );
    expect(stays.slice(0, 5)).toEqual([6000, 11_000, 21_000, 21_000, 21_000]);
    // Who is left alone for long begins anew.
    const calm = levelsOf([
      ...times(3, { places: 1 }),
      ...times(60, {}),
      ...times(3, { places: 1 }),
      ...times(7, {}),
    ]);
    expect(calm.levels.at(-1)).toBe(0);
  });

  test('is always between what stands above the thresholds now and what may still stand below them', () => {
    const cause = fc.constantFrom(...pressureCauses);
    const reading = fc
      .tuple(cause, fc.constantFrom(0, 0.7, 0.76, 1, 1.2, 2), fc.nat(2))
      .map(([name, part, index]): Readings => ({ [name]: (thresholds[name][index] ?? 0) * part }));
    fc.assert(
      fc.property(fc.array(reading, { maxLength: 120 }), (readings) => {
        const { changes } = levelsOf(readings);
        let [before, level]: [number, number] = [Number.NEGATIVE_INFINITY, 0];
        for (const change of changes) {
          expect(change.from).toBe(level);
          expect(change.level).not.toBe(level);
          // Never two changes within what a rise needs; a fall needs its dwell.
          const least = change.level > level ? 1500 : 5000;
          expect(change.atMs - before).toBeGreaterThanOrEqual(least);
          const recent = readings.slice((change.atMs - least) / 1000, change.atMs / 1000 + 1);
          const asks = recent.map((one) => askedBy(one));
          if (change.level > level) expect(Math.min(...asks)).toBe(change.level);
          else expect(Math.max(...asks)).toBeLessThanOrEqual(change.level);
          [before, level] = [change.atMs, change.level];
        }
      }),
      { numRuns: 500 },
    );
  });
});

function askedBy(reading: Readings): number {
  const all = Object.entries(reading) as [PressureCause, number][];
  return Math.max(
    0,
    ...all.map(([name, value]) => thresholds[name].filter((threshold) => value >= threshold).length),
  );
}
