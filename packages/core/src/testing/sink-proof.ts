import { systemClock } from '../clock.ts';
import type { RecordSink, SinkRecord } from '../sink/record-sink.ts';
import type { SinkEngine } from './sink-engine.ts';
import { VirtualClock } from './virtual-clock.ts';

const characters = ['a', 'Z', '7', '"', '\\', '\n', '\r', '\0', ' ', 'é', '水', '🙂', '{', '}', ','];
const streams = ['a', 'b', 'c', 'long-lived_1', 'D'];

/** One check of {@link sinkRules}: its engine, its sinks, and the records that it has made. */
export class SinkProof {
  readonly #engine: SinkEngine;
  readonly #seed: number;
  readonly #deadlineMs: number;
  readonly #randomness: VirtualClock;
  readonly #sinks: RecordSink[] = [];
  /** All records that were made, by stream. */
  readonly #made = new Map<string, SinkRecord[]>();

  constructor(engine: SinkEngine, { seed, deadlineMs }: { seed: number; deadlineMs: number }) {
    this.#engine = engine;
    this.#seed = seed;
    this.#deadlineMs = deadlineMs;
    this.#randomness = new VirtualClock({ seed });
  }

  get canFail(): boolean {
    return this.#engine.fail !== undefined && this.#engine.heal !== undefined;
  }

  random(): number {
    return this.#randomness.random();
  }

  async open(): Promise<RecordSink> {
    const sink = await this.#engine.open();
    this.#sinks.push(sink);
    return sink;
  }

  async fail(): Promise<void> {
    await this.#engine.fail?.();
  }

  async hang(): Promise<void> {
    await this.#engine.hang?.();
  }

  async heal(): Promise<void> {
    await this.#engine.heal?.();
  }

  /** Closes all sinks and removes the engine. */
  async end(): Promise<void> {
    try {
      await this.heal();
      for (const sink of this.#sinks) await this.settled('close', sink.close()).catch(() => undefined);
    } finally {
      await this.#engine.remove?.();
    }
  }

  /** Makes the next records of a stream. */
  take(stream: string, count: number): SinkRecord[] {
    const made = this.#made.get(stream) ?? [];
    this.#made.set(stream, made);
    const from = made.length;
    const records = Array.from({ length: count }, (_, index) => ({
      stream,
      seq: from + index,
      value: this.valueOf(stream, from + index),
    }));
    made.push(...records);
    return records;
  }

  /** Makes a batch of 1 to 30 records of several streams. */
  nextBatch(): SinkRecord[] {
    const runs = 1 + Math.floor(this.random() * 6);
    return Array.from({ length: runs }, () => {
      const stream = streams[Math.floor(this.random() * streams.length)] ?? 'a';
      return this.take(stream, 1 + Math.floor(this.random() * 5));
    }).flat();
  }

  valueOf(stream: string, seq: number): Uint8Array {
    // Mostly small, sometimes empty, sometimes of more than a page, a packet or a buffer of 64 KiB.
    const kind = this.random();
    const length = kind < 0.1 ? 0 : kind < 0.98 ? Math.floor(this.random() * 300) : 70_000;
    if (this.#engine.value === undefined) return this.#randomness.randomBytes(length);
    const text = Array.from({ length }, () => characters[Math.floor(this.random() * characters.length)]).join(
      '',
    );
    return this.#engine.value(stream, seq, text);
  }

  /** Writes records, and rejects if the sink does. */
  async write(sink: RecordSink, records: readonly SinkRecord[]): Promise<void> {
    await this.settled('a write', sink.write(records, new AbortController().signal));
  }

  /** Writes records. Resolves with whether the write has resolved, and rejects if it never settles. */
  async tryWrite(sink: RecordSink, records: readonly SinkRecord[]): Promise<boolean> {
    return this.settled(
      'a write',
      sink.write(records, new AbortController().signal).then(
        () => true,
        () => false,
      ),
    );
  }

  async expectRejection(sink: RecordSink, records: readonly SinkRecord[]): Promise<void> {
    if (await this.tryWrite(sink, records))
      throw this.#error('a write to an engine that fails: expected a rejection, got none');
  }

  async expectClosed(sink: RecordSink, records: readonly SinkRecord[]): Promise<void> {
    const came = await this.settled(
      'a write',
      sink.write(records, new AbortController().signal).then(
        () => 'no error',
        (error: unknown) => (error instanceof Error && 'code' in error ? error.code : error),
      ),
    );
    if (came !== 'sink_closed')
      throw this.#error(`a write after close: expected the error sink_closed, got ${String(came)}`);
  }

  /** Writes records and aborts after `before`; without it, beforehand. The write has to reject with the reason. */
  async expectAborted(
    sink: RecordSink,
    records: readonly SinkRecord[],
    before?: () => Promise<void>,
  ): Promise<void> {
    if (await this.#abort(sink, records, before))
      throw this.#error('an aborted write: expected a rejection, got none');
  }

  /**
   * Writes records and aborts at a random moment. Resolves with whether they were kept all the same; a rejection has to
   * have the reason.
   */
  async abortedWrite(sink: RecordSink, records: readonly SinkRecord[]): Promise<boolean> {
    return this.#abort(sink, records, () => this.turns(10));
  }

  async #abort(
    sink: RecordSink,
    records: readonly SinkRecord[],
    before: (() => Promise<void>) | undefined,
  ): Promise<boolean> {
    const controller = new AbortController();
    const reason = new Error('the check has aborted this write');
    if (before === undefined) controller.abort(reason);
    let came: unknown;
    const writing = sink.write(records, controller.signal).then(
      () => true,
      (error: unknown) => {
        came = error;
        return false;
      },
    );
    await before?.();
    controller.abort(reason);
    const hasResolved = await this.settled('an aborted write', writing);
    if (!hasResolved && came !== reason)
      throw this.#error(`an aborted write: expected the signal's reason, got ${String(came)}`);
    return hasResolved;
  }

  /** Lets a random time pass: up to so many turns of the event loop. */
  async turns(most: number): Promise<void> {
    const turns = Math.floor(this.random() * (most + 1));
    for (let turn = 0; turn < turns; turn += 1) {
      await new Promise<void>((resolve) => {
        systemClock.after(0, resolve);
      });
    }
  }

  /** Lets run what follows from promises that are settled, and nothing that waits for time or for the engine. */
  async told(): Promise<void> {
    for (let tick = 0; tick < 100; tick += 1) await Promise.resolve();
  }

  /** Resolves or rejects as the promise does. Rejects if it takes longer than the deadline. */
  async settled<T>(what: string, promise: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = systemClock.after(this.#deadlineMs, () => {
        reject(
          this.#error(`${what}: expected it to settle within ${this.#deadlineMs} ms, got one that waits`),
        );
      });
      promise.then(resolve, reject).finally(() => timer.stop());
    });
  }

  /**
   * The engine has to have each record that was made, once, equal, and in order within its stream. `uncertain` records
   * are the last of their streams, and may be missing.
   */
  async expectKept(uncertain: readonly SinkRecord[] = []): Promise<void> {
    const found = new Map<string, SinkRecord[]>();
    for (const record of await this.#engine.records()) {
      const ofStream = found.get(record.stream) ?? [];
      found.set(record.stream, ofStream);
      ofStream.push(record);
    }
    for (const stream of found.keys()) {
      if (!this.#made.has(stream)) throw this.#error(`expected no record of a stream ${stream}, got some`);
    }
    for (const [stream, made] of this.#made) {
      const came = found.get(stream) ?? [];
      const numbers = new Set(came.map(({ seq }) => seq));
      const expected = made.filter((record) => numbers.has(record.seq) || !uncertain.includes(record));
      const problem = difference(came, expected);
      if (problem !== undefined) throw this.#error(`stream ${stream}: ${problem}`);
    }
  }

  async expectNothingOpen(): Promise<void> {
    const count = await this.#engine.openCount?.();
    if (count !== 0) throw this.#error(`open files, connections and threads: expected 0, got ${count}`);
  }

  #error(message: string): Error {
    return new Error(`${message} (seed ${this.#seed})`);
  }
}

/** Says what is wrong with the records of a stream; `undefined`: nothing. */
function difference(came: readonly SinkRecord[], expected: readonly SinkRecord[]): string | undefined {
  const numbers = (records: readonly SinkRecord[]): string => records.map(({ seq }) => seq).join(' ');
  if (numbers(came) !== numbers(expected))
    return `expected the records ${numbers(expected)}, got ${numbers(came)}`;
  const at = came.findIndex(({ value }, index) => !areEqual(value, expected[index]?.value));
  if (at === -1) return undefined;
  return `record ${came[at]?.seq}: expected the ${expected[at]?.value.length} bytes that were written, got ${came[at]?.value.length} others`;
}

function areEqual(one: Uint8Array, other: Uint8Array | undefined): boolean {
  return one.length === other?.length && one.every((byte, index) => byte === other[index]);
}
