import { createMemoryStore, Gap, openChannel, type Reader, spillTo, type Store } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { describe, expect, test } from 'vitest';
import { until } from '../../core/test/support/until.ts';
import { within } from '../../core/test/support/within.ts';
import { GatewayError } from '../src/errors.ts';
import { EventMemory } from '../src/memory/event-memory.ts';
import { LargeRun } from '../src/memory/large-run.ts';
import type { StreamTap, Tap, TappedStream } from '../src/stream/tap.ts';
import { openStreams, runOf, startStream, textIn } from './support/own-streams.ts';
import { windowBytes } from './support/stream-config.ts';
import { nobody } from './support/nobody.ts';
import { serveStreams } from './support/own-server.ts';

/** A tap that keeps what it reads. */
function notingTap(options: Partial<StreamTap> = {}): {
  readonly tap: Tap;
  readonly opened: TappedStream[];
  readonly ended: string[];
  /** What it has read so far. */
  readonly text: () => string;
  readonly gaps: Gap[];
  /** Resolves when it has read to an end. */
  readonly done: Promise<void>;
  /** Until this is called, it reads nothing. */
  readonly go: () => void;
} {
  const opened: TappedStream[] = [];
  const ended: string[] = [];
  const gaps: Gap[] = [];
  const done = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  let events = '';
  const tap: Tap = {
    name: 'notes',
    open(stream) {
      opened.push(stream);
      return {
        async read(reader) {
          await started.promise;
          for await (const item of reader) {
            if (item instanceof Gap) gaps.push(item);
            else events += Buffer.from(item.bytes).toString();
          }
          done.resolve();
        },
        ended: ({ state }) => ended.push(state),
        ...options,
      };
    },
  };
  return {
    tap,
    opened,
    ended,
    gaps,
    text: () => textIn(events),
    done: done.promise,
    go: () => started.resolve(),
  };
}

const large = 'x'.repeat(1000);

/** Says as much as there is room for; returns what was said. */
function fill(say: (text: string) => boolean, most = 1000): string {
  let text = '';
  for (let count = 0; count < most; count += 1) {
    const word = `${count} ${large}`;
    if (!say(word)) break;
    text += word;
  }
  return text;
}

describe('a tap', () => {
  test('reads every stream from its first event to its end, without a response', async () => {
    const notes = notingTap();
    const { defects, streams } = openStreams([notes.tap]);
    const { end, say, stream } = startStream(streams, { model: 'm', detach: 'finish' });
    expect(notes.opened.map(({ id, model }) => [id, model])).toEqual([[stream.id, 'm']]);
    say('Hello ');
    notes.go();
    say('world');
    end();
    await within(notes.done, 'the tap to be through');
    expect(notes.text()).toBe('Hello world');
    expect(notes.ended).toEqual(['completed']);
    expect(defects).toEqual([]);
  });

  test('may leave a stream alone', async () => {
    const { streams } = openStreams([{ name: 'picky', open: () => undefined }]);
    const { end, say, stream } = startStream(streams);
    say('Hello');
    end();
    expect(stream.audience.taps.size).toBe(0);
    expect(stream.isDelivered).toBe(true);
  });

  test('hears of a stream that has no answer', () => {
    const notes = notingTap();
    const { streams } = openStreams([notes.tap]);
    const stream = streams.open(nobody);
    streams.ended(stream, { state: 'failed', error: undefined });
    expect(notes.ended).toEqual(['failed']);
    expect(stream.audience.taps.size).toBe(0);
  });

  test('one that lags makes the model wait, and loses nothing', async () => {
    const notes = notingTap();
    const { streams } = openStreams([notes.tap]);
    const { end, say, stream } = startStream(streams, { detach: 'finish' });
    const said = fill(say);
    expect(said.length).toBeLessThanOrEqual(windowBytes);
    // What merges nothing away is at its bound: the next one does not fit.
    stream.paused(true, performance.now());
    expect(stream.stalls.cause).toBe('tap');
    notes.go();
    await within(Promise.resolve(), 'a turn');
    stream.paused(false, performance.now());
    end();
    await within(notes.done, 'the tap to be through');
    expect(notes.text()).toBe(said);
  });

  test('one that may lose something slows nobody, and is told what it missed', async () => {
    const notes = notingTap({ overflow: 'drop-oldest', maxBytes: 8000 });
    const { streams } = openStreams([notes.tap]);
    const { end, say, stream } = startStream(streams, { detach: 'finish' });
    const said = fill(say, 300);
    expect(said).toContain('299 ');
    notes.go();
    end();
    await within(notes.done, 'the tap to be through');
    const missed = notes.gaps.reduce((sum, { from, to }) => sum + to - from, 0);
    expect(missed).toBeGreaterThan(250);
    expect(stream.events - missed).toBe([...notes.text().matchAll(/\d+ x/g)].length);
    expect(said.endsWith(notes.text())).toBe(true);
  });

  test('one that spills slows nobody, and gets everything from its store', async () => {
    const memory = createMemoryStore<EventRun>({ maxBytes: 10_000_000 });
    let appended = 0;
    const store: Store<EventRun> = {
      append: (chunks) => {
        appended += chunks.length;
        return memory.append(chunks);
      },
      read: (from, limits) => memory.read(from, limits),
      trim: (before) => memory.trim(before),
      seal: () => memory.seal(),
    };
    const notes = notingTap({ overflow: spillTo(store) });
    const { defects, streams } = openStreams([notes.tap]);
    const { end, say } = startStream(streams, { detach: 'finish' });
    let said = '';
    for (let count = 0; count < 300; count += 1) {
      const word = `${count} ${large}`;
      await within(
        until(() => say(word)),
        'room, which the store makes',
      );
      said += word;
    }
    expect(appended).toBeGreaterThan(100);
    notes.go();
    end();
    await within(notes.done, 'the tap to be through');
    expect(notes.text()).toBe(said);
    expect(defects).toEqual([]);
  });

  test.each([
    [true, false],
    [false, true],
  ])(
    'as audience: %s, its stream is stopped when the last reader leaves: %s',
    async (isAudience, isStopped) => {
      const notes = notingTap({ isAudience });
      const { streams } = openStreams([notes.tap]);
      const { say, stream } = startStream(streams, { detach: 'cancel' });
      say('Hello');
      const url = await serveStreams(streams);
      const leaving = new AbortController();
      const response = await fetch(url + stream.url, {
        headers: { accept: 'text/event-stream' },
        signal: leaving.signal,
      });
      await response.body?.getReader().read();
      leaving.abort();
      await within(
        until(() => stream.audience.readers.size === 0),
        'the reader to be gone',
      );
      expect(stream.signal.aborted).toBe(isStopped);
    },
  );

  test('as the last audience, its leaving stops the model', async () => {
    const { streams } = openStreams([
      { name: 'brief', open: () => ({ isAudience: true, read: (reader) => readOne(reader) }) },
    ]);
    const { say, stream } = startStream(streams, { detach: 'cancel' });
    say('Hello');
    await within(
      until(() => stream.signal.aborted),
      'the model to be stopped',
    );
  });

  test('keeps its stream until it has read to the end, and no longer', async () => {
    const notes = notingTap();
    const { streams } = openStreams([notes.tap]);
    const { end, say, stream } = startStream(streams);
    say('Hello');
    end();
    expect([stream.isDelivered, stream.isLive]).toEqual([false, true]);
    notes.go();
    await within(stream.delivered, 'the stream to be delivered');
    expect([stream.isDelivered, stream.isLive]).toEqual([true, false]);
    expect(notes.text()).toBe('Hello');
  });

  test.each([
    ['throws when it is opened', { open: () => fail() }],
    ['throws when it reads', { open: () => ({ read: () => fail() }) }],
    ['rejects', { open: () => ({ read: () => Promise.reject(new Error('broken')) }) }],
    ['throws at the end', { open: () => ({ read: () => Promise.resolve(), ended: () => fail() }) }],
  ])('that %s is a defect, and nobody else’s', async (_what, tap) => {
    const notes = notingTap();
    const { defects, streams } = openStreams([{ name: 'broken', ...tap }, notes.tap]);
    const { end, say, stream } = startStream(streams, { detach: 'finish' });
    notes.go();
    say('Hello');
    end();
    await within(notes.done, 'the other tap to be through');
    await within(stream.delivered, 'the stream to be delivered');
    expect(notes.text()).toBe('Hello');
    expect(defects).toEqual(['tap broken']);
  });

  test('a stop waits for a tap, and no longer', async () => {
    const notes = notingTap();
    const { streams } = openStreams([notes.tap]);
    const { end, say, stream } = startStream(streams, { detach: 'finish' });
    say('Hello');
    end();
    const drained = streams.drainAll(3_600_000);
    notes.go();
    await within(drained, 'the streams to be drained');
    expect(stream.isLive).toBe(false);
  });

  test('a stop that waits no more ends the taps that read on', async () => {
    const notes = notingTap();
    const { defects, streams } = openStreams([notes.tap]);
    const { end, say, stream } = startStream(streams, { detach: 'finish' });
    say('Hello');
    end();
    notes.go();
    const drained = streams.drainAll(3_600_000);
    streams.cancelAll();
    await within(drained, 'the streams to be drained');
    expect(stream.isLive).toBe(false);
    expect(defects).toEqual([]);
  });

  test('hears how its stream ended, also when it was through before', async () => {
    const ended: string[] = [];
    const { streams } = openStreams([
      {
        name: 'brief',
        open: () => ({
          read: () => Promise.resolve(),
          ended: ({ state }) => ended.push(state),
        }),
      },
    ]);
    const { end, say, stream } = startStream(streams, { detach: 'finish' });
    say('Hello');
    await within(
      until(() => stream.audience.taps.size === 0),
      'the tap to be through',
    );
    end();
    expect(ended).toEqual(['completed']);
  });

  test('of a stream that is cancelled has no defect', async () => {
    const notes = notingTap();
    const { defects, streams } = openStreams([notes.tap]);
    const { say, stream } = startStream(streams);
    notes.go();
    say('Hello');
    stream.cancel(new GatewayError('cancelled', 'The stream was cancelled.'));
    streams.ended(stream, { state: 'cancelled', error: undefined });
    await within(
      until(() => stream.audience.taps.size === 0),
      'the tap to be through',
    );
    expect(notes.ended).toEqual(['cancelled']);
    expect(defects).toEqual([]);
  });

  test('promise 1: a large event has its place until a tap that drops what is new has taken it', async () => {
    const notes = notingTap({ overflow: 'drop-newest' });
    const { streams } = openStreams([notes.tap]);
    // Nothing is kept in it but for its readers.
    const channel = openChannel<EventRun>({ maxBytes: windowBytes, weigh: ({ byteLength }) => byteLength });
    const { stream } = startStream(streams, { detach: 'finish' }, { log: channel });
    const places = new EventMemory({ maxBytes: 16 * 1_048_576, maxEventBytes: 4 * 1_048_576 });
    const run = runOf('x'.repeat(2_000_000));
    const place = places.open('');
    while (place.bytes < run.byteLength) expect(place.grow(() => undefined)).toBe(true);
    const largeRun = new LargeRun(run, place);
    expect(channel.offer(largeRun)).toBe('accepted');
    stream.accepted(largeRun);
    for (let count = 0; count < 3000; count += 1) channel.offer(runOf(`${count}`));
    stream.tick(performance.now());
    expect(places.heldBytes).toBeGreaterThanOrEqual(run.byteLength);
    notes.go();
    await within(
      until(() => {
        stream.tick(performance.now());
        return places.heldBytes === 0;
      }),
      'the place to be given back',
    );
  });

  test('promise 1: what comes at once is bounded by what may wait for it', () => {
    const notes = notingTap({ maxBytes: 2000 });
    const { streams } = openStreams([notes.tap]);
    const { stream } = startStream(streams, { detach: 'finish' });
    expect(stream.maxRunBytes).toBeLessThan(2000);
    expect(stream.maxRunBytes).toBeGreaterThan(runOf('x').byteLength);
  });
});

function fail(): never {
  throw new Error('broken');
}

async function readOne(reader: Reader<EventRun | Gap>): Promise<void> {
  await reader.ready();
  reader.take();
}
