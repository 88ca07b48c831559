import { SpillwayError } from '@spillway/core';
import { nodeClock } from '@spillway/server/time/node-clock';
import { expect, test } from 'vitest';
import { Unsettled } from '../src/limit/unsettled.ts';
import { openFailingLimitStore } from './support/failing-limit-store.ts';

const { signal } = new AbortController();
const quota = { kind: 'budget', key: 'day', limit: 1000, window: 'day' } as const;
const claims = (spent: number) => [{ quota, spent, want: 0, atLeast: 0 }];

test('an end that the store does not take holds up no other, and is kept', async () => {
  const { store } = openFailingLimitStore(nodeClock);
  const settle = store.settle.bind(store);
  store.settle = async (lease, ...rest) => {
    if (lease === 'lease-0') throw new SpillwayError('limits_failed', 'Something else stands there.');
    await settle(lease, ...rest);
  };
  const unsettled = new Unsettled(store, nodeClock);
  for (let index = 0; index < 200; index += 1) unsettled.keep(`lease-${index}`, claims(1));
  await unsettled.settleAll(signal);
  expect(unsettled.size).toBe(1);
  expect(await store.read([quota], signal)).toMatchObject([{ used: 199 }]);
});

test('an end with numbers that no store takes is dropped, and counted as lost', async () => {
  const { store } = openFailingLimitStore(nodeClock);
  const unsettled = new Unsettled(store, nodeClock);
  for (let index = 0; index < 64; index += 1) unsettled.keep(`bad-${index}`, claims(1.5));
  unsettled.keep('good', claims(7));
  await unsettled.settleAll(signal);
  expect({ kept: unsettled.size, lost: unsettled.lost }).toEqual({ kept: 0, lost: 64 });
  expect(await store.read([quota], signal)).toMatchObject([{ used: 7 }]);
});

test('while the store is away only some ends are tried at once', async () => {
  const failing = openFailingLimitStore(nodeClock);
  const unsettled = new Unsettled(failing.store, nodeClock);
  for (let index = 0; index < 200; index += 1) unsettled.keep(`lease-${index}`, claims(1));
  failing.isAway = true;
  await unsettled.settleAll(signal);
  expect(failing.calls.settle).toBe(64);
  expect(unsettled.size).toBe(200);
});
