import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test } from 'vitest';
import { openChannel, openCredit } from '../src/index.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

test('100,000 readers that came and left leave nothing behind', async () => {
  const channel = openChannel<object>({ maxItems: 4, replay: { maxItems: 2 } });
  const credit = openCredit({ maxItems: 10 });
  const visit = async (count: number): Promise<void> => {
    for (let index = 0; index < count; index += 1) {
      const overflow = (['block', 'drop-oldest', 'drop-newest', 'error'] as const)[index % 4] ?? 'block';
      const reader = channel.reader({ overflow, credit: index % 3 === 0 ? [credit] : [] });
      // Half of them are abandoned while they wait.
      const waits = index % 2 === 0 ? reader.ready() : undefined;
      channel.offer({ index });
      if (index % 5 === 0) reader.take();
      reader.detach();
      await waits;
    }
  };
  await visit(10_000);
  const before = heapBytes();
  await visit(100_000);
  // Less than 3 bytes a reader: what is left is the collector's own.
  expect(heapBytes() - before).toBeLessThan(300_000);
});

test('readers that read an ended channel to its end leave it, however they find out', async () => {
  const channel = openChannel<object>({ maxItems: 4, replay: { maxItems: 2 } });
  channel.offer({});
  channel.complete();
  const read = async (count: number): Promise<void> => {
    for (let index = 0; index < count; index += 1) {
      const reader = channel.reader({ overflow: index % 2 === 0 ? 'block' : 'drop-oldest' });
      if (index % 5 === 0) for await (const item of reader) expect(item).toBeDefined();
      else if (index % 5 === 1) while (await reader.ready()) reader.take();
      else if (index % 5 === 2) while (reader.take() !== undefined);
      else if (index % 5 === 3) while (reader.takeAll().length > 0);
      else while (reader.whenReady(() => undefined) && reader.take() !== undefined);
      expect(reader.end).toEqual({ state: 'completed' });
    }
  };
  await read(1000);
  const before = heapBytes();
  await read(20_000);
  expect(heapBytes() - before).toBeLessThan(300_000);
});
