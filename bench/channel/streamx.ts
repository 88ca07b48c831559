import streamx from 'streamx';
import { type Carry, checkInOrder } from './carry.ts';

/** A Readable that its producer pushes into, read in one turn: faster than its PassThrough, and than `data`. */
export const pushAndRead: Carry = async (count, capacity) => {
  let wakeProducer: (() => void) | undefined;
  const stream = new streamx.Readable({
    highWaterMark: capacity,
    byteLength: () => 1,
    read: (answer) => {
      wakeProducer?.();
      answer(null);
    },
  });
  const produce = async (): Promise<void> => {
    for (let item = 0; item < count; item += 1) {
      if (!stream.push(item)) await new Promise<void>((resolve) => (wakeProducer = resolve));
    }
    stream.push(null);
  };
  const consumed = new Promise<void>((resolve) => {
    let inOrder = 0;
    stream.on('readable', () => {
      for (let item: unknown = stream.read(); item !== null; item = stream.read()) {
        if (item === inOrder) inOrder += 1;
      }
    });
    stream.on('end', () => {
      checkInOrder(inOrder, count);
      resolve();
    });
  });
  await Promise.all([consumed, produce()]);
};
