import { orAborted } from '@spillway/core/or-aborted';
import { expect, test, vi } from 'vitest';

test('what is there first settles it', async () => {
  const { signal } = new AbortController();
  await expect(orAborted(Promise.resolve(1), signal)).resolves.toBe(1);
  await expect(orAborted(Promise.reject(new Error('failed')), signal)).rejects.toThrow('failed');
});

test('an abort rejects with its reason, also when the promise is settled, and a late rejection is nobody’s', async () => {
  const stop = new AbortController();
  const late = Promise.withResolvers<void>();
  const waiting = orAborted(late.promise, stop.signal);
  stop.abort('enough');
  await expect(waiting).rejects.toBe('enough');
  await expect(orAborted(Promise.resolve(1), stop.signal)).rejects.toBe('enough');
  await expect(orAborted(Promise.reject(new Error('failed')), stop.signal)).rejects.toBe('enough');
  // A rejection that nobody handles fails the run.
  late.reject(new Error('late'));
});

test('no listener is left behind', async () => {
  const { signal } = new AbortController();
  const added = vi.spyOn(signal, 'addEventListener');
  const removed = vi.spyOn(signal, 'removeEventListener');
  await orAborted(Promise.resolve(), signal);
  await orAborted(Promise.reject(new Error('failed')), signal).catch(() => undefined);
  expect(added.mock.calls.map(([, listener]) => listener)).toHaveLength(2);
  expect(removed.mock.calls).toEqual(added.mock.calls);
});
