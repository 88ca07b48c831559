import { FixedBuffer, Repeater } from '@repeaterjs/repeater';
import { type Carry, checkInOrder } from './carry.ts';

export const pushAndIterate: Carry = async (count, capacity) => {
  const source = new Repeater<number>(async (push, stop) => {
    for (let item = 0; item < count; item += 1) await push(item);
    stop();
  }, new FixedBuffer(capacity));
  let inOrder = 0;
  for await (const item of source) if (item === inOrder) inOrder += 1;
  checkInOrder(inOrder, count);
};
