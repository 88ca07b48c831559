import fastq from 'fastq';
import { type Carry, checkInOrder } from './carry.ts';

/**
 * fastq has no bound: the producer counts, and waits. The queue is paused while it is filled, because with a worker
 * that answers at once `push` only calls that worker, and nothing ever waits.
 */
export const pushAndResume: Carry = async (count, capacity) => {
  let inOrder = 0;
  const queue = fastq<unknown, number, void>((item, done) => {
    if (item === inOrder) inOrder += 1;
    done(null);
  }, 1);
  queue.pause();
  for (let item = 0; item < count; item += 1) {
    queue.push(item);
    if ((item + 1) % capacity === 0 || item === count - 1) await consumed(queue);
  }
  checkInOrder(inOrder, count);
};

async function consumed(queue: fastq.queue<number, void>): Promise<void> {
  await Promise.resolve();
  queue.resume();
  queue.pause();
}
