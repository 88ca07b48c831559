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
