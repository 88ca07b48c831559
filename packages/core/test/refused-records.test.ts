import { RefusedRecords } from '@spillway/core/engine';
import { expect, test } from 'vitest';

test('refused records are in the order in which they were written, and the first one is named', () => {
  const written = [3, 4, 5].map((seq) => ({ stream: 's', seq, value: new Uint8Array(1) }));
  const refused = written.map((record) => ({ record, reason: `no ${record.seq}` }));
  const shuffled = [2, 0, 1].flatMap((place) => refused.slice(place, place + 1));
  const error = new RefusedRecords(shuffled, written);
  expect(error.refused).toEqual(refused);
  expect(error.message).toBe('The engine refuses record 3 of the stream s and 2 more for ever: no 3');
  expect(new RefusedRecords(shuffled).refused).toEqual(shuffled);
});
