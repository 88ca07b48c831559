import type { RecordSink, SinkRecord } from '@spillway/core';
import { describe, expect, test } from 'vitest';
import { SharedSink } from '../src/tap/shared-sink.ts';

const record = (stream: string): SinkRecord => ({ stream, seq: 0, value: new Uint8Array() });
const { signal } = new AbortController();

/** A sink whose writes end when the test says so. It notes what is asked of it. */
function heldSink(): { sink: RecordSink; events: string[]; end: (error?: Error) => Promise<void> } {
  const events: string[] = [];
  const waiting: PromiseWithResolvers<void>[] = [];
  return {
    events,
    sink: {
      durability: 'fsync',
      write: ([first]) => {
        events.push(`write ${first?.stream}`);
        const held = Promise.withResolvers<void>();
        waiting.push(held);
        return held.promise;
      },
      close: () => {
        events.push('close');
        return Promise.resolve();
      },
    },
    async end(error) {
      const held = waiting.shift();
      if (error === undefined) held?.resolve();
      else held?.reject(error);
      // Whoever waits has its turn.
      await new Promise(setImmediate);
    },
  };
}

describe('a sink of several taps', () => {
  test('has one write at a time, and goes on behind one that fails', async () => {
    const { end, events, sink } = heldSink();
    const shared = new SharedSink(sink);
    const [one, other] = [shared.share(), shared.share()];
    const writes = [
      one.write([record('a')], signal),
      other.write([record('b')], signal),
      one.write([record('c')], signal),
    ];
    const results = Promise.allSettled(writes);
    await new Promise(setImmediate);
    expect(events).toEqual(['write a']);
    await end(new Error('no'));
    expect(events).toEqual(['write a', 'write b']);
    await end();
    await end();
    expect(events).toEqual(['write a', 'write b', 'write c']);
    expect((await results).map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled']);
  });

  test('whoever gives up while it waits lets nobody in before its turn', async () => {
    const { end, events, sink } = heldSink();
    const shared = new SharedSink(sink);
    const [one, other] = [shared.share(), shared.share()];
    const first = one.write([record('a')], signal);
    const abort = new AbortController();
    const given = other.write([record('b')], abort.signal);
    const last = other.write([record('c')], signal);
    await new Promise(setImmediate);
    abort.abort(new Error('late'));
    await expect(given).rejects.toThrow('late');
    await new Promise(setImmediate);
    expect(events).toEqual(['write a']);
    await end();
    expect(events).toEqual(['write a', 'write c']);
    await end();
    await Promise.all([first, last]);
  });

  test('is closed with the last of them, and each of them for itself', async () => {
    const { events, sink } = heldSink();
    const shared = new SharedSink(sink);
    const [one, other] = [shared.share(), shared.share()];
    await one.close();
    await one.close();
    await expect(one.write([record('a')], signal)).rejects.toThrow('The sink is closed.');
    expect([events, shared.isOpen]).toEqual([[], true]);
    await other.close();
    expect([events, shared.isOpen]).toEqual([['close'], false]);
  });
});
