import fc from 'fast-check';
import { Gap, type Overflow, type RecordSink, type SinkRecord, SpillwayError } from '@spillway/core';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { expect, test } from 'vitest';
import { GatewayError } from '../src/errors.ts';
import { RecordTap } from '../src/tap/record-tap.ts';
import { parseRecord, type TapRecord } from '../src/tap/tap-record.ts';
import { openStreams, startStream, textIn } from './support/own-streams.ts';

const wait = (clock: VirtualClock, ms: number): Promise<void> =>
  new Promise((resolve) => void clock.after(ms, resolve));

/** An engine that is slow, fails and hangs as the clock's dice say, and keeps each record once. */
class UnsteadySink implements RecordSink {
  readonly durability = 'memory';
  readonly kept = new Map<string, SinkRecord>();
  /** The part of writes that go wrong. */
  trouble: number;
  isBusy = false;
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock, trouble: number) {
    this.#clock = clock;
    this.trouble = trouble;
  }

  async write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    expect(this.isBusy, 'one write at a time').toBe(false);
    this.isBusy = true;
    try {
      await wait(this.#clock, this.#clock.random() * 60);
      const dice = this.#clock.random();
      if (dice >= this.trouble) return this.#keep(records);
      // Some of them may be kept all the same, or all of them.
      this.#keep(records.slice(0, Math.floor(this.#clock.random() * (records.length + 1))));
      if (dice < this.trouble / 2) throw new SpillwayError('sink_failed', 'The engine is away.');
      await new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
      });
    } finally {
      this.isBusy = false;
    }
  }

  #keep(records: readonly SinkRecord[]): void {
    for (const record of records) {
      const id = `${record.stream} ${record.seq}`;
      const known = this.kept.get(id);
      if (known === undefined) this.kept.set(id, record);
      else expect(Buffer.from(known.value).equals(record.value), 'the same record again').toBe(true);
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  recordsOf(stream: string): TapRecord[] {
    return [...this.kept.values()]
      .filter((record) => record.stream === stream)
      .map(({ value }) => parseRecord(value))
      .toSorted((one, other) => one.seq - other.seq);
  }
}

interface Case {
  readonly seed: number;
  readonly streams: number;
  readonly overflow: Overflow;
  readonly gate: boolean;
  readonly trouble: number;
  readonly outcome: 'cancelled' | 'completed' | 'failed';
}

const cases: fc.Arbitrary<Case> = fc.record({
  seed: fc.nat({ max: 2 ** 31 }),
  streams: fc.integer({ min: 1, max: 5 }),
  overflow: fc.constantFrom<Overflow>('block', 'coalesce', 'drop-newest', 'drop-oldest'),
  gate: fc.boolean(),
  trouble: fc.constantFrom(0, 0.1, 0.5, 0.95),
  outcome: fc.constantFrom('cancelled', 'completed', 'failed'),
});

test('promises 12 and 13: whatever an engine does, records are whole, in order and once, and a gate holds', async () => {
  let gaps = 0;
  let closed = 0;
  await fc.assert(
    fc.asyncProperty(cases, async ({ gate, outcome, overflow, seed, streams: count, trouble }) => {
      const clock = new VirtualClock({ seed });
      const sink = new UnsteadySink(clock, trouble);
      const log = { info: () => undefined, error: () => undefined };
      const tap = new RecordTap({
        name: 'audit',
        sink,
        overflow,
        gate,
        maxRecords: 5,
        deadlineMs: 500,
        clock,
        log,
      });
      const { defects, streams } = openStreams([tap], {}, clock);
      const isLossless = tap.isRequired;
      const textOf = (id: string): string =>
        textIn(
          sink
            .recordsOf(id)
            .map((record) => (record.kind === 'chunks' ? (record.data ?? '') : ''))
            .join(''),
        );

      const play = async (): Promise<void> => {
        const { channel, say, stream } = startStream(streams, { detach: 'finish' }, { clock });
        if (stream.signal.aborted) {
          expect(tap.figures.isUp).toBe(false);
          return;
        }
        let got = '';
        const read = async (): Promise<void> => {
          const isStarted = await stream.started.then(
            () => true,
            () => false,
          );
          if (!isStarted) return;
          const reader = stream.body?.log.reader({ overflow: 'coalesce' });
          while ((await reader?.ready()) === true) {
            for (const run of reader?.takeAll() ?? [])
              if (!(run instanceof Gap)) got += textIn(Buffer.from(run.bytes).toString());
            if (gate) expect(textOf(stream.id).startsWith(got), 'a gate').toBe(true);
            await wait(clock, clock.random() * 30);
          }
        };
        const reading = read();
        reading.catch(() => undefined);
        let said = '';
        for (let word = 0; word < 100 && !stream.signal.aborted; word += 1) {
          if (say(`${word} `)) said += `${word} `;
          await wait(clock, clock.random() * 20);
        }
        const reason = stream.signal.aborted
          ? (stream.signal.reason as GatewayError)
          : new GatewayError('cancelled', 'The stream was cancelled.');
        const state = stream.signal.aborted ? 'failed' : outcome;
        if (state === 'completed') channel.complete();
        else if (state === 'cancelled') stream.cancel(reason);
        else channel.fail(reason);
        streams.ended(stream, { state, error: state === 'completed' ? undefined : reason });
        // The engine is well again after a while, and then everything is as it says.
        await wait(clock, 2000);
        sink.trouble = 0;
        await wait(clock, 5000);
        expect(stream.audience.taps.size, 'the stream is free').toBe(0);
        const records = sink.recordsOf(stream.id);
        expect(records.map(({ seq }) => seq)).toEqual(records.map((_, index) => index));
        expect(records.at(0)?.kind).toBe('begin');
        expect(records.filter(({ kind }) => kind === 'end').length).toBe(1);
        const ranges = records.filter((record) => record.kind === 'chunks' || record.kind === 'gap');
        const end = records.find((record) => record.kind === 'end');
        expect(ranges.reduce((at, { from, to }) => (from === at ? to : Number.NaN), 0)).toBe(end?.offset);
        gaps += ranges.filter(({ kind }) => kind === 'gap').length;
        const isClosed = ranges.some(
          (record) => record.kind === 'gap' && record.reason === 'tap_unavailable',
        );
        if (isClosed || reason.code === 'tap_unavailable') closed += 1;
        else if (isLossless) expect(textOf(stream.id)).toBe(said);
        if (isClosed && isLossless && !gate) expect(reason.code).toBe('tap_unavailable');
        if (isLossless && gate) expect(textOf(stream.id).startsWith(got)).toBe(true);
        // A reader behind a gate that has failed waits for ever here: in a stream it would be told.
        await Promise.race([reading, wait(clock, 1)]);
      };
      const progress = { isDone: false };
      const all = Promise.all(Array.from({ length: count }, play)).finally(() => (progress.isDone = true));
      all.catch(() => undefined);
      for (let second = 0; second < 60 && !progress.isDone; second += 1) await clock.advance(1000);
      await all;
      const closing = tap.close(1000);
      await clock.advance(1001);
      await closing;
      expect(defects).toEqual([]);
    }),
    { numRuns: 400 },
  );
  // The cases that matter came.
  expect(gaps).toBeGreaterThan(10);
  expect(closed).toBeGreaterThan(10);
}, 120_000);
