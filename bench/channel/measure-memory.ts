/**
 * Measures what many of a unit take, and prints the bytes of one.
 *
 *     node --expose-gc --conditions=spillway-source bench/channel/measure-memory.ts 'idle channel' plain
 */
import { channels, type Chunk, units } from './memory-units.ts';

const [unitName = '', channelName = ''] = process.argv.slice(2);
const unit = units[unitName];
const open = channels[channelName];
if (unit === undefined || open === undefined) throw new Error(`nothing called ${unitName}, ${channelName}`);
const { count, prepare } = unit;
const chunks = Array.from({ length: count }, (_, index) => ({ index }));
const kept: unknown[] = [];

// The first time is for the code and what it learns, which take memory too.
bytesOfAll(prepare(open, chunks));
console.log(bytesOfAll(prepare(open, chunks)) / count);

function bytesOfAll(make: (chunk: Chunk) => unknown): number {
  const made = new Array<unknown>(count).fill(undefined);
  // Nothing of it may be collected before it is counted.
  kept.push(made, make);
  const before = usedBytes();
  for (const [index, chunk] of chunks.entries()) made[index] = make(chunk);
  return usedBytes() - before;
}

/** With what typed arrays hold outside of the heap. */
function usedBytes(): number {
  for (let pass = 0; pass < 3; pass += 1) globalThis.gc?.();
  const { external, heapUsed } = process.memoryUsage();
  return external + heapUsed;
}
