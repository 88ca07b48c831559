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
async function endOf(place: Place): Promise<string> {
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
