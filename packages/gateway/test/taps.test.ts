import { join } from 'node:path';
import { nodeClock } from '@spillway/server/time/node-clock';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { expect, onTestFinished, test } from 'vitest';
import { type TapSettings, taps as tapsSchema } from '../src/config/tap.ts';
import type { TapsOptions } from '../src/tap/open-tap.ts';
import { openTaps, type Taps } from '../src/tap/taps.ts';
import { eventually } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';

const nobodys = { info: () => undefined, error: () => undefined };

async function openOne(settings: readonly TapSettings[], options: Partial<TapsOptions> = {}): Promise<Taps> {
  const all = { clock: nodeClock, log: nobodys, isOwn: () => false, ...options };
  const taps = await openTaps(settings, all);
  onTestFinished(() => taps.close());
  return taps;
}

async function replace(taps: Taps, settings: readonly TapSettings[]): Promise<void> {
  const prepared = await taps.prepare(settings);
  prepared.commit();
}

test.each(['sqlite:', 'file:'])('a tap of %s that was taken out comes back at once', async (kind) => {
  const audit = tapsSchema.parse([{ name: 'audit', to: `${kind}${join(temporaryFolder(), 'audit')}` }]);
  const taps = await openOne(audit);
  for (let time = 0; time < 3; time += 1) {
    await replace(taps, []);
    await replace(taps, audit);
    expect(taps.status).toHaveLength(1);
  }
});

test('a tap that does not close in time refuses those that want its file, and says so', async () => {
  const audit = tapsSchema.parse([{ name: 'audit', to: `sqlite:${join(temporaryFolder(), 'audit.db')}` }]);
  // Its time is over before a file can be closed.
  const clock = Object.assign(Object.create(nodeClock) as ServerClock, {
    after: (ms: number, callback: () => void) => {
      if (ms === 10_000) callback();
      return nodeClock.after(ms, callback);
    },
  });
  const taps = await openOne(audit, { clock });
  await replace(taps, []);
  await expect(taps.prepare(audit)).rejects.toThrow(
    /^tap audit: expected sqlite:\S+ to be free, got the tap audit, which a reload took out, and which has not closed it within 10 s/,
  );
  const isBack = (): Promise<boolean> =>
    replace(taps, audit).then(
      () => true,
      () => false,
    );
  await eventually(isBack, 'the file to be free');
});
