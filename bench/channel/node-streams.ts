import { PassThrough, Readable } from 'node:stream';
import { type Carry, checkInOrder, ten } from './carry.ts';

type Consume = (stream: Readable, count: number) => Promise<void>;

function throughPassThrough(consume: Consume): Carry {
  return async (count, capacity) => {
    const stream = new PassThrough({ objectMode: true, highWaterMark: capacity });
    await Promise.all([consume(stream, count), write(stream, count)]);
  };
}

async function write(stream: PassThrough, count: number): Promise<void> {
  for (let item = 0; item < count; item += 1) {
    if (!stream.write(item)) await new Promise((resolve) => stream.once('drain', resolve));
  }
  stream.end();
}

/** The stream flows: an item goes to the listener within `write`, so that nothing ever waits. */
const flow: Consume = (stream, count) =>
  new Promise((resolve) => {
    let inOrder = 0;
    stream.on('data', (item: number) => {
      if (item === inOrder) inOrder += 1;
    });
    stream.on('end', () => {
      checkInOrder(inOrder, count);
      resolve();
    });
  });

/** Items wait, and are read in one turn. */
const read: Consume = (stream, count) =>
  new Promise((resolve) => {
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

/** A Readable that its producer pushes into. */
export const pushAndRead: Carry = async (count, capacity) => {
  let wakeProducer: (() => void) | undefined;
  const stream = new Readable({ objectMode: true, highWaterMark: capacity, read: () => wakeProducer?.() });
  const produce = async (): Promise<void> => {
    for (let item = 0; item < count; item += 1) {
      if (!stream.push(item)) await new Promise<void>((resolve) => (wakeProducer = resolve));
    }
    stream.push(null);
  };
  await Promise.all([read(stream, count), produce()]);
};

export const writeAndFlow = throughPassThrough(flow);
export const writeAndRead = throughPassThrough(read);

export const pipeToTen: Carry = async (count, capacity) => {
  const open = (): PassThrough => new PassThrough({ objectMode: true, highWaterMark: capacity });
  const source = open().setMaxListeners(0);
  const readers = ten(open);
  for (const reader of readers) source.pipe(reader);
  await Promise.all([...readers.map((reader) => flow(reader, count)), write(source, count)]);
};
