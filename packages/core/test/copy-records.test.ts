import { describe, expect, test } from 'vitest';
import { type RecordSink, type SinkRecord, SpillwayError } from '../src/index.ts';
import { copyRecords, type CopyRetry } from '../src/copy-records.ts';
import type { RecordGap, RecordSource } from '../src/source/record-source.ts';
import { VirtualClock } from '../src/testing/virtual-clock.ts';
import { MemoryEngine } from './support/memory-engine.ts';
import { MemoryQueue } from './support/memory-queue.ts';
import { within } from './support/within.ts';

const never = new AbortController().signal;

function records(count: number, from = 0): SinkRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    stream: 'a',
    seq: from + index,
    value: Uint8Array.of(index),
  }));
}

/** A sink that keeps what it is given, and stops the copy when it has so many. */
function keepingSink(most: number): {
  readonly kept: SinkRecord[];
  readonly stop: AbortController;
  readonly sizes: number[];
  write(batch: readonly SinkRecord[]): Promise<void>;
} {
  const kept: SinkRecord[] = [];
  const sizes: number[] = [];
  return {
    kept,
    sizes,
    stop: new AbortController(),
    write(batch) {
      kept.push(...batch);
      sizes.push(batch.length);
      if (kept.length >= most) queueMicrotask(() => setTimeout(() => this.stop.abort(), 20));
      return Promise.resolve();
    },
  };
}

async function left(queue: MemoryQueue): Promise<number> {
  const source = queue.open('copy');
  const { records: count } = await source.lag(never);
  await source.close();
  return count;
}

describe('a copy', () => {
  test('has what the source gives, in batches, and acknowledges it', async () => {
    const queue = new MemoryQueue();
    queue.write(records(250));
    const sink = keepingSink(250);
    const result = await within(
      copyRecords(queue.open('copy'), sink, { signal: sink.stop.signal }),
      'the copy to end',
    );
    expect(result).toEqual({ records: 250, gaps: 0 });
    expect(sink.kept.map(({ seq }) => seq)).toEqual(records(250).map(({ seq }) => seq));
    expect(sink.sizes).toEqual([100, 100, 50]);
    expect(await left(queue)).toBe(0);
  });

  test('has one batch under way at most, however slow the sink is', async () => {
    const queue = new MemoryQueue();
    queue.write(records(40));
    const source = queue.open('copy');
    let given = 0;
    let done = 0;
    let most = 0;
    const counted: RecordSource = {
      read: async (limits, signal) => {
        const items = await source.read(limits, signal);
        given += items.length;
        most = Math.max(most, given - done);
        return items;
      },
      acknowledge: async (items, signal) => {
        await source.acknowledge(items, signal);
        done += items.length;
      },
      lag: (signal) => source.lag(signal),
      close: () => source.close(),
    };
    const sink = keepingSink(40);
    const slow = {
      write: async (batch: readonly SinkRecord[]) => {
        await new Promise((resolve) => setTimeout(resolve, 5));
        await sink.write(batch);
      },
    };
    await copyRecords(counted, slow, { maxItems: 7, signal: sink.stop.signal });
    expect(most).toBe(7);
    expect(sink.kept).toHaveLength(40);
  });

  test('does again what was rejected, with pauses that grow to a bound, and loses nothing', async () => {
    const queue = new MemoryQueue();
    queue.write(records(3));
    const source = queue.open('copy');
    const clock = new VirtualClock();
    const stop = new AbortController();
    const engine = new MemoryEngine();
    const sink = engine.open();
    const failures = { read: 2, write: 5, acknowledge: 3 };
    const failing = async <Value>(
      step: keyof typeof failures,
      call: () => Promise<Value>,
    ): Promise<Value> => {
      failures[step] -= 1;
      if (failures[step] >= 0) throw new Error(`${step} failed`);
      return call();
    };
    const retries: CopyRetry[] = [];
    const copying = copyRecords(
      {
        read: (limits, signal) => failing('read', () => source.read(limits, signal)),
        acknowledge: async (items, signal) => {
          // What is unknown may have been done.
          await source.acknowledge(items, signal);
          await failing('acknowledge', () => Promise.resolve());
          stop.abort();
        },
        lag: (signal) => source.lag(signal),
        close: () => source.close(),
      },
      {
        write: async (batch: readonly SinkRecord[], signal: AbortSignal) => {
          await sink.write(batch, signal);
          await failing('write', () => Promise.resolve());
        },
      } satisfies Pick<RecordSink, 'write'>,
      {
        signal: stop.signal,
        retryMs: 100,
        maxRetryMs: 500,
        clock,
        onRetry(retry) {
          retries.push(retry);
          setTimeout(() => void clock.advance(retry.pauseMs), 0);
        },
      },
    );
    expect(await within(copying, 'the copy to end')).toEqual({ records: 3, gaps: 0 });
    expect(retries.map(({ step }) => step)).toEqual([
      ...Array.from({ length: 2 }, () => 'read'),
      ...Array.from({ length: 5 }, () => 'write'),
      ...Array.from({ length: 3 }, () => 'acknowledge'),
    ]);
    const mostMs = [100, 200, 100, 200, 400, 500, 500, 100, 200, 400];
    for (const [index, { pauseMs }] of retries.entries()) {
      expect(pauseMs).toBeGreaterThanOrEqual((mostMs[index] ?? 0) / 2);
      expect(pauseMs).toBeLessThanOrEqual(mostMs[index] ?? 0);
    }
    expect(retries[2]?.error).toEqual(new Error('write failed'));
    expect(engine.records()).toEqual(records(3));
    expect(await left(queue)).toBe(0);
  });

  test('tells a gap between what was before it and behind it, again until that works', async () => {
    const queue = new MemoryQueue();
    const source = queue.open('copy');
    queue.write(records(5));
    const sink = keepingSink(2);
    queue.trim(3);
    const gaps: [gap: RecordGap, written: number][] = [];
    const result = await copyRecords(source, sink, {
      signal: sink.stop.signal,
      retryMs: 1,
      onGap(gap) {
        gaps.push([gap, sink.kept.length]);
        if (gaps.length === 1) throw new Error('not yet');
      },
    });
    expect(result).toEqual({ records: 2, gaps: 1 });
    expect(gaps).toHaveLength(2);
    expect(gaps[1]).toEqual([expect.objectContaining({ from: '0', to: '2', reason: 'removed' }), 0]);
    expect(sink.kept.map(({ seq }) => seq)).toEqual([3, 4]);
  });

  test('ends with the signal in whatever it does, and what was not acknowledged comes again', async () => {
    const queue = new MemoryQueue();
    // Nothing is there.
    const waiting = new AbortController();
    const copying = copyRecords(queue.open('copy'), new MemoryEngine().open(), { signal: waiting.signal });
    waiting.abort();
    expect(await within(copying, 'a read to end')).toEqual({ records: 0, gaps: 0 });
    // The sink is silent.
    queue.write(records(3));
    const engine = new MemoryEngine();
    engine.hang();
    const writing = new AbortController();
    const stuck = copyRecords(queue.open('copy'), engine.open(), { signal: writing.signal });
    setTimeout(() => writing.abort(), 10);
    expect(await within(stuck, 'a write to end')).toEqual({ records: 0, gaps: 0 });
    // It is between two attempts.
    const pausing = new AbortController();
    const paused = copyRecords(
      queue.open('copy'),
      { write: () => Promise.reject(new Error('away')) },
      { signal: pausing.signal, retryMs: 1_000_000, onRetry: () => setTimeout(() => pausing.abort(), 1) },
    );
    expect(await within(paused, 'a pause to end')).toEqual({ records: 0, gaps: 0 });
    expect(await left(queue)).toBe(3);
  });

  test('rejects with what would not work another time either', async () => {
    const queue = new MemoryQueue();
    queue.write(records(3));
    const engine = new MemoryEngine();
    const closed = queue.open('copy');
    await closed.close();
    await expect(copyRecords(closed, engine.open(), { signal: never })).rejects.toMatchObject({
      code: 'source_closed',
    });
    for (const code of ['sink_closed', 'invalid_option'] as const) {
      const sink = { write: () => Promise.reject(new SpillwayError(code, 'no')) };
      await expect(copyRecords(queue.open('copy'), sink, { signal: never })).rejects.toMatchObject({ code });
    }
    const index: { readonly wrong?: { put: () => void } } = {};
    const wrong = { write: async () => (index as Required<typeof index>).wrong.put() };
    const stop = new AbortController();
    const onRetry = (): void => stop.abort();
    await expect(copyRecords(queue.open('copy'), wrong, { signal: stop.signal, onRetry })).rejects.toThrow(
      TypeError,
    );
    expect(await left(queue)).toBe(3);
  });

  test('does again what a server did not answer, also where that is a TypeError', async () => {
    const queue = new MemoryQueue();
    queue.write(records(3));
    const stop = new AbortController();
    const steps: string[] = [];
    const sink = {
      // As Node's fetch says it.
      write: () => Promise.reject(new TypeError('fetch failed', { cause: new Error('ECONNREFUSED') })),
    };
    const copied = copyRecords(queue.open('copy'), sink, {
      signal: stop.signal,
      retryMs: 1,
      onRetry: ({ error, step }) => {
        steps.push(`${step}: ${(error as Error).name}`);
        if (steps.length === 3) stop.abort();
      },
    });
    expect(await within(copied, 'the copy to end')).toEqual({ records: 0, gaps: 0 });
    expect(steps).toEqual(Array.from({ length: 3 }, () => 'write: TypeError'));
  });

  test.each([
    [{ maxItems: 0 }, 'maxItems: expected a whole number from 1 to 10000, got 0.'],
    [{ maxItems: 10_001 }, 'maxItems'],
    [{ maxBytes: 0.5 }, 'maxBytes'],
    [{ retryMs: 0 }, 'retryMs'],
    [{ retryMs: 100, maxRetryMs: 99 }, 'maxRetryMs'],
  ])('refuses %j', async (options, message) => {
    const copying = copyRecords(new MemoryQueue().open('copy'), new MemoryEngine().open(), {
      signal: never,
      ...options,
    });
    await expect(copying).rejects.toMatchObject({
      code: 'invalid_option',
      message: expect.stringContaining(message),
    });
  });
});
