import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { expect, test } from 'vitest';
import { DeadLetterLog } from '../src/tap/dead-letter-log.ts';

test('the first dead letter and the first loss are told at once, and all others once a minute and at the end', async () => {
  const clock = new VirtualClock();
  const told: unknown[] = [];
  const error = ({ lost, records, seq }: Readonly<Record<string, unknown>>): void =>
    void told.push([records, lost, seq]);
  const log = new DeadLetterLog({
    tap: 'bus',
    path: 'letters',
    clock,
    log: { error, info: () => undefined },
  });
  let seq = 0;
  const add = (areKept: boolean): void => {
    const record = { stream: 'a', seq, value: new Uint8Array() };
    seq += 1;
    log.add({ areKept, refused: [{ record, reason: 'no' }] });
  };
  add(true);
  add(true);
  expect(told).toEqual([[1, 0, 0]]);
  add(false);
  expect(told.slice(1)).toEqual([[2, 1, 1]]);
  for (let count = 0; count < 600; count += 1) add(false);
  expect(told).toHaveLength(2);
  await clock.advance(60_000);
  expect(told.slice(2)).toEqual([[600, 600, 3]]);
  // Silence, and then it begins anew.
  await clock.advance(120_000);
  expect(told).toHaveLength(3);
  add(true);
  add(false);
  add(false);
  log.close();
  expect(told.slice(3)).toEqual([
    [1, 0, 603],
    [1, 1, 604],
    [1, 1, 605],
  ]);
  await clock.advance(120_000);
  expect(told).toHaveLength(6);
});
