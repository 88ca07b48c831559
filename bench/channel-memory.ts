import { channels, units } from './channel/memory-units.ts';
import { numberFrom } from './own-process.ts';

const measureMemory = new URL('channel/measure-memory.ts', import.meta.url);

/** Bytes of memory per idle channel, per reader and per waiting chunk, each measured in a process of its own. */
export async function channelMemory(): Promise<void> {
  const print = (name: string, columns: readonly string[]): void =>
    console.log(name.padEnd(36), columns.map((column) => column.padStart(14)).join(''));
  print('bytes', Object.keys(channels));
  for (const unit of Object.keys(units)) {
    const bytes: string[] = [];
    for (const channel of Object.keys(channels)) {
      const measured = await numberFrom(measureMemory, [unit, channel], ['--expose-gc']);
      bytes.push(measured.toFixed(1));
    }
    print(unit, bytes);
  }
}
