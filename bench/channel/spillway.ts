import { type Channel, openChannel, type Reader } from '@spillway/core';
import { type Carry, checkInOrder, ten } from './carry.ts';

type Produce = (channel: Channel<number>, count: number) => Promise<void>;
type Consume = (reader: Reader<number>, count: number) => Promise<void>;

function toOne(produce: Produce, consume: Consume, open = openByItems): Carry {
  return async (count, capacity) => {
    const channel = open(capacity);
    await Promise.all([consume(channel.reader(), count), produce(channel, count)]);
  };
}

function toTen(produce: Produce, consume: Consume): Carry {
  return async (count, capacity) => {
    const channel = openByItems(capacity);
    const readers = ten(() => channel.reader());
    await Promise.all([...readers.map((reader) => consume(reader, count)), produce(channel, count)]);
  };
}

function openByItems(capacity: number): Channel<number> {
  return openChannel({ maxItems: capacity });
}

/** Bounded in bytes, of which every item has 16. */
function openByBytes(capacity: number): Channel<number> {
  return openChannel({ maxBytes: capacity * 16, weigh: () => 16 });
}

/** Waits only when the channel is full. */
const offer: Produce = async (channel, count) => {
  for (let item = 0; item < count; item += 1) {
    if (channel.offer(item) !== 'accepted') await channel.write(item);
  }
  channel.complete();
};

const write: Produce = async (channel, count) => {
  for (let item = 0; item < count; item += 1) await channel.write(item);
  channel.complete();
};

/** Waits only when nothing is there. */
const take: Consume = async (reader, count) => {
  let inOrder = 0;
  while (await reader.ready()) {
    for (let item = reader.take(); item !== undefined; item = reader.take()) {
      if (item === inOrder) inOrder += 1;
    }
  }
  checkInOrder(inOrder, count);
};

const takeAll: Consume = async (reader, count) => {
  let inOrder = 0;
  while (await reader.ready()) {
    for (const item of reader.takeAll()) if (item === inOrder) inOrder += 1;
  }
  checkInOrder(inOrder, count);
};

const iterate: Consume = async (reader, count) => {
  let inOrder = 0;
  for await (const item of reader) if (item === inOrder) inOrder += 1;
  checkInOrder(inOrder, count);
};

export const offerAndTake = toOne(offer, take);
export const offerAndTakeWeighed = toOne(offer, take, openByBytes);
export const offerAndTakeAll = toOne(offer, takeAll);
export const writeAndIterate = toOne(write, iterate);
export const offerAndTakeByTen = toTen(offer, take);
export const offerAndTakeAllByTen = toTen(offer, takeAll);
