import type { SinkRecord } from '../sink-record.ts';
import { RecordGap, type SourceItem } from '../source/record-source.ts';
import type { SourceProof } from './source-proof.ts';

/** What an engine has to have for a check. */
export type SourceNeed = 'fail' | 'hang' | 'openCount' | 'trim';

/** Makes a rule of its number, its name, its proof and what that needs. */
export type MakeRule<Rule> = (
  number: number,
  name: string,
  prove: (proof: SourceProof) => Promise<void>,
  ...needs: readonly SourceNeed[]
) => Rule;

/** Rules 1 to 3: what a read gives. */
export function readingRules<Rule>(rule: MakeRule<Rule>, steps: number): readonly Rule[] {
  return [
    rule(1, 'a read gives one item to as many as were asked for', async (proof) => {
      const source = await proof.open();
      const written = await proof.write(['a', 5], ['b', 3], ['a', 4]);
      const items: SourceItem[] = [];
      for (const maxItems of [1, 2, 3]) items.push(...(await proof.read(source, { maxItems })));
      items.push(...(await proof.readRecords(source, written.length - items.length, { maxItems: 10_000 })));
      proof.expectSame(items, written);
    }),
    rule(1, 'the values of a read fit into its bytes, and a larger one comes alone', async (proof) => {
      const source = await proof.open();
      const written: SinkRecord[] = [];
      while (!written.some(({ value }) => value.length > 1000)) written.push(...(await proof.writeBatch()));
      const items: SourceItem[] = [];
      while (items.length < written.length) {
        const read = await proof.read(source, { maxItems: 50, maxBytes: 400 });
        const bytes = read.reduce(
          (sum, item) => sum + (item instanceof RecordGap ? 0 : item.value.length),
          0,
        );
        if (bytes > 400 && read.length > 1)
          throw proof.error(`a read: expected at most 400 bytes, got ${read.length} items of ${bytes}`);
        items.push(...read);
      }
      proof.expectSame(items, written);
    }),
    rule(1, 'a read waits while nothing is there', async (proof) => {
      const source = await proof.open();
      for (let round = 0; round < 3; round += 1) {
        let isSettled = false;
        const reading = proof.read(source).finally(() => (isSettled = true));
        reading.catch(() => undefined);
        await proof.maker.turns(10);
        if (isSettled) {
          await reading;
          throw proof.error('a read of nothing: expected it to wait, got one that is settled');
        }
        const written = await proof.write(['a', 1]);
        proof.expectSame(await reading, written);
      }
    }),
    rule(2, 'what was written before and afterwards comes once, equal and in order', async (proof) => {
      const written = await proof.write(['a', 3], ['b', 1], ['a', 2]);
      const source = await proof.open();
      const items = await proof.readRecords(source, written.length);
      written.push(...(await proof.write(['b', 5], ['c-_9', 1], ['x'.repeat(128), 2])));
      items.push(...(await proof.readRecords(source, 8)));
      proof.expectSame(items, written);
      await proof.expectNothingLeft(source);
    }),
    rule(2, 'random batches come whole, while they are read and acknowledged', async (proof) => {
      const source = await proof.open();
      const written: SinkRecord[] = [];
      const items: SourceItem[] = [];
      for (let step = 0; step < steps; step += 1) {
        written.push(...(await proof.writeBatch()));
        const read = await proof.read(source);
        items.push(...read);
        if (proof.maker.random() < 0.5) await proof.acknowledge(source, items);
      }
      items.push(...(await proof.readRecords(source, written.length - items.length)));
      proof.expectSame(items, written);
    }),
    rule(2, 'a name that is new begins with the oldest record', async (proof) => {
      const written = await proof.write(['a', 3], ['b', 3]);
      const source = await proof.open('early');
      await proof.acknowledge(source, await proof.readRecords(source, written.length));
      const late = await proof.open('late');
      proof.expectSame(await proof.readRecords(late, written.length), written);
    }),
    rule(
      3,
      'what was removed before it was read is a gap',
      async (proof) => {
        const source = await proof.open();
        const written = await proof.write(['a', 4], ['b', 4]);
        await proof.engine.trim?.(5);
        const items = await proof.readRecords(source, 3);
        proof.expectGapFirst(items, 5);
        proof.expectRecords(items, written.slice(5));
        await proof.expectNothingLeft(source);
      },
      'trim',
    ),
    rule(
      3,
      'what was removed between two reads is a gap, and what was read is none',
      async (proof) => {
        const source = await proof.open();
        const written = await proof.write(['a', 10]);
        const first = await proof.readRecords(source, 4, { maxItems: 4 });
        await proof.acknowledge(source, first);
        await proof.engine.trim?.(2);
        const second = await proof.readRecords(source, 2, { maxItems: 2 });
        proof.expectSame([...first, ...second], written.slice(0, 6));
        await proof.engine.trim?.(6);
        const third = await proof.readRecords(source, 2);
        proof.expectGapFirst(third, 2);
        proof.expectRecords(third, written.slice(8));
        await proof.expectNothingLeft(source);
      },
      'trim',
    ),
    rule(
      3,
      'what was removed while nobody read is a gap, until that is acknowledged',
      async (proof) => {
        const early = await proof.open();
        const written = await proof.write(['a', 3], ['b', 6]);
        await proof.acknowledge(early, await proof.readRecords(early, 2, { maxItems: 2 }));
        // Read, and not acknowledged: it would have come again.
        await proof.readRecords(early, 2, { maxItems: 2 });
        await proof.settled('close', early.close());
        await proof.engine.trim?.(6);
        for (let round = 0; round < 2; round += 1) {
          const source = await proof.open();
          const items = await proof.readRecords(source, 3);
          proof.expectGapFirst(items, 4);
          proof.expectRecords(items, written.slice(6));
          if (round === 1) await proof.acknowledge(source, items);
        }
        await proof.expectNothingLeft(await proof.open());
      },
      'trim',
    ),
    rule(
      3,
      'what was removed before a source of a new name has read is a gap, also after a crash',
      async (proof) => {
        const written = await proof.write(['a', 6]);
        await proof.open();
        await proof.engine.trim?.(4);
        const items = await proof.readRecords(await proof.open(), 2);
        proof.expectGapFirst(items, 4);
        proof.expectRecords(items, written.slice(4));
      },
      'trim',
    ),
  ];
}
