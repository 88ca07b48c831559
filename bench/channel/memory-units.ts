import { type Channel, type ChannelOptions, openChannel } from '@spillway/core';

/** An object, because an array holds a small number in its own slot. */
export interface Chunk {
  readonly index: number;
}

interface MemoryUnit {
  readonly count: number;
  /** Makes what the units need and what is not counted. What it returns makes one, and has to be kept. */
  readonly prepare: (open: () => Channel<Chunk>, chunks: readonly Chunk[]) => (chunk: Chunk) => unknown;
}

/** Channels that have ever more to note about a chunk. */
export const channels: Readonly<Record<string, () => Channel<Chunk>>> = {
  plain: () => open({}),
  weigh: () => open({ weigh }),
  '+ merge': () => open({ weigh, merge }),
  '+ measureAge': () => open({ weigh, merge, measureAge: true }),
};

function open(options: ChannelOptions<Chunk>): Channel<Chunk> {
  return openChannel({ maxItems: 1_000_000, ...options });
}

function weigh(): number {
  return 16;
}

function merge(): undefined {
  return undefined;
}

export const units: Readonly<Record<string, MemoryUnit>> = {
  'idle channel': { count: 10_000, prepare: (openOne) => () => openOne() },
  'reader, all of one channel': {
    count: 10_000,
    prepare: (openOne) => {
      const channel = openOne();
      return () => channel.reader();
    },
  },
  'reader, each of its own channel': {
    count: 10_000,
    prepare: (openOne, chunks) => {
      const own = new Map(chunks.map((chunk) => [chunk, openOne()]));
      return (chunk) => own.get(chunk)?.reader();
    },
  },
  'waiting chunk, beyond its own': {
    count: 100_000,
    prepare: (openOne) => {
      const channel = openOne();
      return (chunk) => channel.offer(chunk);
    },
  },
  // What a list cannot do without.
  'chunk in an array, beyond its own': {
    count: 100_000,
    prepare: () => {
      const array: Chunk[] = [];
      return (chunk) => array.push(chunk);
    },
  },
};
