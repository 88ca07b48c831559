import fc from 'fast-check';
import { setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, expect, inject, test, vi } from 'vitest';
import { openClient } from '@spillway/client';
import { ModelGateway, type ModelScript } from './support/model-gateway.ts';

// Comes back at once, or most of the time would go into waiting.
beforeAll(() => void vi.spyOn(Math, 'random').mockReturnValue(0));
afterAll(() => vi.restoreAllMocks());

// Some are larger than a whole window.
const chunk = fc
  .tuple(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'), fc.integer({ min: 1, max: 2500 }))
  .map(([letter, length]) => letter.repeat(length));

const script: fc.Arbitrary<ModelScript> = fc.record({
  streams: fc
    .array(
      fc.record({ chunks: fc.array(chunk, { maxLength: 30 }), own: fc.constantFrom('', 'x', 'error!') }),
      {
        minLength: 1,
        maxLength: 4,
      },
    )
    .map((streams) => Object.fromEntries(streams.map((stream, index) => [`/v1/${index}`, stream]))),
  mergedChunks: fc.integer({ min: 1, max: 4 }),
  cuts: fc.array(
    fc.record({
      sent: fc.integer({ min: 1, max: 40 }),
      received: fc.integer({ min: 2, max: 20 }),
      forgets: fc.boolean(),
    }),
    { maxLength: 6 },
  ),
});

interface Consumer {
  readonly windowBytes: number;
  readonly connectionWindowBytes: number;
  /** How many turns of the event loop it takes over each chunk. */
  readonly turns: number;
}

const consumer: fc.Arbitrary<Consumer> = fc.record({
  windowBytes: fc.integer({ min: 1024, max: 3000 }),
  connectionWindowBytes: fc.integer({ min: 1024, max: 5000 }),
  turns: fc.integer({ min: 0, max: 3 }),
});

async function run(model: ModelScript, { turns, ...windows }: Consumer): Promise<void> {
  const gateway = new ModelGateway(model);
  await gateway.listen();
  const client = openClient({ url: gateway.url, ...windows });
  try {
    const body = JSON.stringify({ stream: true });
    const texts = await Promise.all(
      Object.keys(model.streams).map(async (path) => {
        let response: Response;
        try {
          response = await client.fetch(path, { method: 'POST', body });
        } catch (error) {
          // It arrived, and the gateway has forgotten that.
          expect(error).toMatchObject({ code: 'arrival_unknown' });
          expect(gateway.forgotten).toContain(path);
          return undefined;
        }
        const parts: string[] = [];
        for await (const bytes of response.body ?? []) {
          parts.push(new TextDecoder().decode(bytes));
          for (let turn = 0; turn < turns; turn++) await setImmediate();
        }
        return parts.join('');
      }),
    );
    expect(gateway.violations).toEqual([]);
    for (const [index, { chunks, own }] of Object.values(model.streams).entries()) {
      const text = texts[index];
      if (text !== undefined) expect(text).toBe(chunks.join('') + own);
    }
  } finally {
    await client.close();
    gateway.close();
  }
}

test('promise 4: whatever is cut, every byte comes once and in order, and no request twice', async () => {
  await fc.assert(fc.asyncProperty(script, consumer, run), {
    numRuns: inject('propertyRuns') ?? 150,
    endOnFailure: true,
    plugins: [fc.timeout(10_000)],
  });
});
