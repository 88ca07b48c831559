import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { openRedisLimits } from '@spillway/redis';
import { expect, onTestFinished, test } from 'vitest';
import { until } from '../../core/test/support/until.ts';
import { MovedClock } from './support/moved-clock.ts';
import { needsRedis, RedisServer } from './support/redis-server.ts';
import {
  callerLeaseMs,
  type CallerFigures,
  sharedBudget,
  sharedPlaces,
  sharedRate,
  startKey,
  witnessKey,
} from './support/shared-limits.ts';

const callers = 8;
const callsEach = 1000;
const { signal } = new AbortController();

test('promise 16: 8 processes with clocks of their own, some of them killed, get no more than the limits', async (context) => {
  needsRedis(context);
  const server = await RedisServer.start();
  onTestFinished(() => server.remove());
  const all = Array.from({ length: callers }, (_, number) => new Caller(server, number));
  onTestFinished(() => {
    for (const caller of all) caller.remove();
  });

  await until(() => all.every(({ figures }) => figures.date > 0), 'all are there');
  await server.command('SET', startKey, '1');

  // While they run, dates go hours forwards and backwards, and three of them are killed.
  for (const [index, caller] of all.entries()) caller.clock.move((index - 4) * 7_200_000);
  for (const caller of all.slice(0, 3)) {
    await until(() => caller.figures.calls >= callsEach / 5, 'a fifth of the calls');
    caller.clock.move(-50_000_000);
    caller.process.kill('SIGKILL');
    await caller.ended;
    // What it held is given to others only after a while: the witness knows it at once.
    const held = (await server.command('SMEMBERS', witnessKey)) as readonly string[];
    const own = held.filter((lease) => lease.startsWith(`${caller.number}-`));
    if (own.length > 0) await server.command('SREM', witnessKey, ...own);
  }
  await Promise.all(all.map(({ ended }) => ended));

  const living = all.slice(3);
  for (const { figures } of living) expect(figures.calls).toBeGreaterThanOrEqual(callsEach);
  const sum = (of: (figures: CallerFigures) => number, among = all): number =>
    among.reduce((total, { figures }) => total + of(figures), 0);
  expect(Math.max(...all.map(({ figures }) => figures.most))).toBeLessThanOrEqual(sharedPlaces.limit);
  expect(sum(({ rated }) => rated)).toBeLessThanOrEqual(sharedRate.burst);
  expect(sum(({ spent }) => spent)).toBeLessThanOrEqual(sharedBudget.limit);

  // What the killed ones had reserved comes back, and nothing that was told is lost.
  const store = openRedisLimits({ url: server.url });
  onTestFinished(() => store.close());
  const quotas = [sharedBudget, sharedPlaces, sharedRate];
  await until(
    async () => {
      const [budget, places] = await store.read(quotas, signal);
      return budget?.reserved === 0 && places?.used === 0;
    },
    'leases of killed processes are gone',
    callerLeaseMs + 2000,
  );
  const [budget, , rate] = await store.read(quotas, signal);
  expect(budget?.used).toBeLessThanOrEqual(sharedBudget.limit);
  expect(budget?.used).toBeGreaterThanOrEqual(sum(({ spent }) => spent, living));
  expect(rate?.used).toBeLessThanOrEqual(sharedRate.burst);
  // They were fought over, and what nobody got is there to the last one.
  expect(sum(({ spent }) => spent)).toBeGreaterThan(sharedBudget.limit / 2);
  expect(sum(({ rated }) => rated)).toBeGreaterThan(sharedRate.burst / 3);
  const rest = sharedBudget.limit - (budget?.used ?? 0);
  const last = { quota: sharedBudget, spent: 0, want: rest, atLeast: rest };
  const request = { lease: 'last', leaseMs: 60_000, rates: [], places: [], budgets: [last] };
  await expect(store.open(request, signal)).resolves.toMatchObject({ isGranted: true, reserved: [rest] });
});

class Caller {
  readonly number: number;
  readonly clock: MovedClock;
  readonly process: ChildProcess;
  readonly ended: Promise<unknown>;
  figures: CallerFigures = { calls: 0, rated: 0, most: 0, spent: 0, date: 0 };
  readonly #folder = mkdtempSync(join(tmpdir(), 'spillway-caller-'));

  constructor(server: RedisServer, number: number) {
    this.number = number;
    this.clock = new MovedClock(this.#folder);
    const program = join(import.meta.dirname, 'support/limit-caller.ts');
    const args = ['--conditions=spillway-source', program, server.url, String(number), String(callsEach)];
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...this.clock.env },
    });
    this.process = child;
    const lines = createInterface({ input: child.stdout });
    lines.on('line', (line) => {
      try {
        this.figures = JSON.parse(line) as CallerFigures;
      } catch {
        // The last line of who was killed.
      }
    });
    this.ended = Promise.all([once(child, 'exit'), once(lines, 'close')]);
  }

  remove(): void {
    this.process.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
