import { execFile, execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { killPid } from '../../packages/core/test/support/kill-pid.ts';
import { eventually } from '../../packages/gateway/test/support/spawn.ts';
import type { GatewayState } from '../gateway-state.ts';
import { gaugesIn } from '../gateway-state.ts';
import { kinds } from '../kinds.ts';
import { Observation } from '../observation.ts';
import { disturbance } from '../report.ts';
import type { SmallGateway } from '../small-gateway.ts';
import type { SiegeRecord } from '../siege-record.ts';
import { slopeOf } from '../slope.ts';
import { type Check, compare } from '../verdict.ts';
import { Watch } from '../watch.ts';

interface Report {
  readonly results: readonly { readonly record: SiegeRecord; readonly checks: readonly Check[] }[];
}

describe.skipIf(process.platform !== 'linux')('a siege', () => {
  // How long anybody waits is not looked at: other tests run on the same cores.
  test(
    'promise 26: nobody loses a byte, and what it leaves is what there was',
    { timeout: 180_000 },
    async () => {
      const { checks, record } = await besiege();
      expect(Object.keys(record.attacked)).toEqual(Object.keys(kinds));
      expect(checks.filter(({ isHeld, name }) => !isHeld && !name.includes('a second longer'))).toEqual([]);
    },
  );
});

async function besiege(): Promise<Report['results'][number]> {
  const root = join(import.meta.dirname, '../..');
  const args = ['--conditions=spillway-source', 'siege/run.ts', '--minutes', '0.2', '--json'];
  const stdout = await new Promise<string>((resolve, reject) => {
    // It fails where somebody waits too long as well: what it prints says what there was.
    execFile(process.execPath, args, { cwd: root, maxBuffer: 1 << 26 }, (error, text, errors) => {
      if (text === '') reject(new Error(errors, { cause: error }));
      else resolve(text);
    });
  });
  const [result] = (JSON.parse(stdout) as Report).results;
  if (result === undefined) throw new Error('there is no result');
  return result;
}

describe.skipIf(process.platform !== 'linux')('a machine that others use', () => {
  const record = (othersRatio: number): Parameters<typeof disturbance>[0] => {
    const observed = {
      maxRssBytes: 0,
      maxDescriptors: 0,
      cpuRatio: 0,
      longestOutageMs: 0,
      loadLateMs: 0,
      othersRatio,
    };
    return { calmly: { ...observed, othersRatio: 0 }, observed };
  };

  test('is said in one line, and a quiet one is not', () => {
    expect(disturbance(record(0.1))).toBe(undefined);
    expect(disturbance(record(0.62))).toMatch(
      /^The machine was too busy .* other programs used 62 % of its cores\.$/,
    );
  });

  test('is noticed: programs that are nobody’s child here, on every core', async () => {
    const busy = `${process.execPath} -e "const end = Date.now() + 60000; while (Date.now() < end);"`;
    const script = `for core in $(seq ${availableParallelism()}); do ${busy} & echo $!; done`;
    // Their parent ends at once, so that they are no part of this.
    const pids = execFileSync('sh', ['-c', script.replaceAll(' &', ' > /dev/null 2>&1 &')], {
      encoding: 'utf8',
    });
    onTestFinished(() => {
      for (const pid of pids.trim().split('\n')) killPid(pid, 'SIGKILL');
    });
    // There is no gateway to look at.
    const target = { pid: process.pid, exit: () => 'gone' } as unknown as SmallGateway;
    await eventually(async () => {
      const observation = new Observation(target);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      return disturbance(record(observation.stop().othersRatio)) !== undefined;
    }, 'them to be noticed');
  });
});

describe('what is left', () => {
  const state: GatewayState = {
    descriptors: 30,
    heapBytes: 20e6,
    rssBytes: 100e6,
    resources: 10,
    gauges: { 'spillway_streams{state="open"}': 0, spillway_sessions: 0 },
  };
  const failed = (after: GatewayState | undefined): string[] =>
    compare(state, after).flatMap(({ isHeld, name }) => (isHeld ? [] : [name]));

  test('may be the same, or a little more memory', () => {
    expect(failed(state)).toEqual([]);
    expect(failed({ ...state, heapBytes: 25e6, rssBytes: 140e6, descriptors: 29 })).toEqual([]);
  });

  test('may not be more', () => {
    expect(failed({ ...state, descriptors: 31 })).toEqual(['descriptors as before']);
    expect(failed({ ...state, heapBytes: 60e6 })).toEqual(['heap as before']);
    expect(failed({ ...state, rssBytes: 400e6 })).toEqual(['memory as before']);
    expect(failed({ ...state, gauges: { ...state.gauges, spillway_sessions: 1 } })).toEqual([
      'gauges as before',
    ]);
    expect(failed(undefined)).toHaveLength(4);
  });

  test('is every gauge of the gateway, but for its bounds and its configuration', () => {
    const metrics =
      '# TYPE spillway_streams gauge\nspillway_streams{state="open"} 3\n# TYPE spillway_held_limit_bytes gauge\n' +
      'spillway_held_limit_bytes 7\n# TYPE spillway_retries_total counter\nspillway_retries_total 1\n' +
      '# TYPE spillway_config_last_reload_successful gauge\nspillway_config_last_reload_successful 1\n' +
      '# TYPE process_uptime_seconds gauge\nprocess_uptime_seconds 5\n';
    expect(gaugesIn(metrics)).toEqual({ 'spillway_streams{state="open"}': 3 });
  });
});

describe('a reader that is watched', () => {
  test('gets all of the text in any pieces', () => {
    const watch = new Watch('Water flows');
    for (const text of ['Wat', 'er fl', 'ows']) watch.add(text);
    watch.end();
    expect([watch.characters, watch.hasBegun]).toEqual([11, true]);
  });

  test.each([
    ['lost', ['Water ', 'lows']],
    ['doubled', ['Water ', 'Water ']],
    ['more', ['Water flows', '!']],
  ])('fails when text is %s', (_what, pieces) => {
    const watch = new Watch('Water flows');
    expect(() => {
      for (const piece of pieces) watch.add(piece);
    }).toThrow(/other text/);
  });

  test('fails when the end is missing', () => {
    const watch = new Watch('Water flows');
    watch.add('Water');
    expect(() => watch.end()).toThrow('expected 11 characters, got 5');
  });
});

describe('a slope', () => {
  // The same irregular values every time.
  const noise = (index: number): number => Math.sin(index * 12.9898) * 2;
  const line = (slope: number, count = 40) =>
    Array.from({ length: count }, (_, index) => ({ at: index, value: 100 + slope * index + noise(index) }));

  test('of nothing but noise is within it', () => {
    const { growth, noise: width } = slopeOf(line(0));
    expect(Math.abs(growth)).toBeLessThan(width);
  });

  test('that is there is seen, with its size', () => {
    const { growth, noise: width } = slopeOf(line(0.5));
    expect(growth).toBeGreaterThan(width);
    expect(Math.abs(growth - 0.5 * 39)).toBeLessThan(width);
  });

  test('of three values is none', () => {
    expect(() => slopeOf(line(1, 3))).toThrow(/expected 4 samples/);
  });
});
