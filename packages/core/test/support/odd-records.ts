import type { SinkEngine } from '@spillway/core/testing';
import type { SinkRecord } from '@spillway/core';
import { expect } from 'vitest';

/** Ids that no record has: what is written under them would come back as something else, or never. */
const odd: readonly (readonly [stream: string, seq: number])[] = [
  ['', 0],
  ['a b.c', 0],
  ['order:42', 0],
  ['.', 0],
  ['../../x', 0],
  ['a\nb', 0],
  ['{x}:y', 0],
  ['é', 0],
  ['😀', 0],
  ['s'.repeat(129), 0],
  ['good', -1],
  ['good', 1.5],
  ['good', Number.NaN],
  ['good', 2 ** 53],
];

/** What is no value: of some of it an engine would keep nothing, or something else. */
const oddValues: readonly unknown[] = [
  undefined,
  null,
  '{"text":"hello"}',
  '',
  7,
  {},
  [1, 2],
  new ArrayBuffer(3),
  new Uint16Array([1, 2]),
  new DataView(new ArrayBuffer(3)),
  { byteLength: 3, [Symbol.toStringTag]: 'Uint8Array' },
];

/** A sink has to refuse such records before it writes anything, and to take others afterwards. */
export async function expectOddRefused(engine: SinkEngine): Promise<void> {
  const valueOf = (stream: string, seq: number): Uint8Array =>
    engine.value?.(stream, seq, 'text') ?? Buffer.from('text');
  const good: SinkRecord = { stream: 'good', seq: 0, value: valueOf('good', 0) };
  const { signal } = new AbortController();
  const sink = await engine.open();
  try {
    for (const [stream, seq] of odd) {
      const record = { stream, seq, value: valueOf(stream, seq) };
      await expect(sink.write([good, record], signal)).rejects.toMatchObject({
        code: 'invalid_option',
        message: expect.stringContaining('expected'),
      });
    }
    for (const value of oddValues) {
      const record = { stream: 'good', seq: 1, value } as SinkRecord;
      await expect(sink.write([good, record], signal)).rejects.toMatchObject({
        code: 'invalid_option',
        message: expect.stringMatching(/^value of record 1 of stream good: expected a Uint8Array(?!.*hello)/),
      });
    }
    expect(await engine.records()).toEqual([]);
    await sink.write([good], signal);
    expect((await engine.records()).map(({ seq, stream }) => [stream, seq])).toEqual([['good', 0]]);
  } finally {
    await sink.close();
    await engine.remove?.();
  }
}
