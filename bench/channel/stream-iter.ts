import { broadcast, type ByteReadableStream, push, share, type Writer } from 'node:stream/iter';
import { type Carry, checkInOrder, ten } from './carry.ts';

/** The smallest bound that it allows, in bytes: a chunk has so many that `capacity` of them fill it. */
const budget = 16_384;

/** It carries nothing but bytes. They are made before, as many as can wait and more; a chunk's first bytes are its number. */
const chunkCount = 4096;

type Produce = (writer: Writer, count: number, capacity: number) => Promise<void>;

function chunksFor(capacity: number): Uint8Array[] {
  return Array.from({ length: chunkCount }, (_, index) => {
    const chunk = new Uint8Array(budget / capacity);
    chunk[0] = index & 255;
    chunk[1] = index >>> 8;
    return chunk;
  });
}

const writeEach: Produce = async (writer, count, capacity) => {
  const chunks = chunksFor(capacity);
  for (let item = 0; item < count; item += 1) {
    const chunk = chunks[item % chunkCount] ?? new Uint8Array();
    if (!writer.writeSync(chunk)) await writer.write(chunk);
  }
  await writer.end();
};

const writeHalves: Produce = async (writer, count, capacity) => {
  const chunks = chunksFor(capacity);
  for (let first = 0; first < count; first += capacity / 2) {
    const start = first % chunkCount;
    const batch = chunks.slice(start, start + Math.min(capacity / 2, count - first));
    if (!writer.writevSync(batch)) await writer.writev(batch);
  }
  await writer.end();
};

/** Reading is in batches of what is there, always. */
async function readAll(stream: ByteReadableStream, count: number): Promise<void> {
  let inOrder = 0;
  for await (const batch of stream) {
    for (const chunk of batch) {
      if ((chunk[0] ?? 0) + (chunk[1] ?? 0) * 256 === inOrder % chunkCount) inOrder += 1;
    }
  }
  checkInOrder(inOrder, count);
}

function toOne(produce: Produce): Carry {
  return async (count, capacity) => {
    const { readable, writer } = push({ budget });
    await Promise.all([readAll(readable, count), produce(writer, count, capacity)]);
  };
}

function broadcastToTen(produce: Produce): Carry {
  return async (count, capacity) => {
    const { broadcast: bus, writer } = broadcast({ budget });
    const streams = ten(() => bus.push());
    await Promise.all([...streams.map((stream) => readAll(stream, count)), produce(writer, count, capacity)]);
  };
}

/** `unbounded` is the policy that waits for the slowest, within the budget; `strict` would fail. */
export const shareWithTen: Carry = async (count, capacity) => {
  const { readable, writer } = push({ budget });
  const shared = share(readable, { budget, backpressure: 'unbounded' });
  const streams = ten(() => shared.pull());
  await Promise.all([...streams.map((stream) => readAll(stream, count)), writeEach(writer, count, capacity)]);
};

export const write = toOne(writeEach);
export const writev = toOne(writeHalves);
export const broadcastEach = broadcastToTen(writeEach);
export const broadcastHalves = broadcastToTen(writeHalves);
