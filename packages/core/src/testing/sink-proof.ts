import type { SinkRecord } from '../sink-record.ts';
import type { RecordSink } from '../sink/record-sink.ts';
import { RefusedRecords } from '../engine/refused-records.ts';
import { EngineProof, type ProofOptions } from './engine-proof.ts';
import { differenceOf } from './record-difference.ts';
import { RecordMaker } from './record-maker.ts';
import type { SinkEngine } from './sink-engine.ts';

/** One check of {@link sinkRules}: its engine, its sinks, and the records that it has made. */
export class SinkProof extends EngineProof<SinkEngine> {
  readonly #maker: RecordMaker;

  constructor(engine: SinkEngine, options: ProofOptions) {
    super(engine, options);
    this.#maker = new RecordMaker(options.seed, engine);
  }

  random(): number {
    return this.#maker.random();
  }

  async open(): Promise<RecordSink> {
    return this.opened(await this.engine.open());
  }

  /** Makes the next records of a stream. */
  take(stream: string, count: number): SinkRecord[] {
    return this.#maker.take(stream, count);
  }

  /** Makes a batch of 1 to 30 records of several streams. */
  nextBatch(): SinkRecord[] {
    return this.#maker.nextBatch();
  }

  valueAt(stream: string, seq: number): Uint8Array {
    return this.#maker.valueOf(stream, seq);
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
      throw this.error('a write to an engine that fails: expected a rejection, got none');
  }

  /** Writes records of which the engine refuses one for ever. The write has to name it, and to keep the others. */
  async expectRefused(sink: RecordSink, records: readonly SinkRecord[], refused: SinkRecord): Promise<void> {
    const came = await this.settled(
      'a write with a record that the engine refuses',
      sink.write(records, new AbortController().signal).then(
        () => 'no error',
        (error: unknown) => error,
      ),
    );
    const isNamed =
      came instanceof RefusedRecords && came.refused.length === 1 && came.refused[0]?.record === refused;
    if (!isNamed)
      throw this.error(
        `a write with a record that the engine refuses: expected records_refused with that record, got ${String(came)}`,
      );
    const others = new Map(
      [...this.#maker.made].map(([stream, made]) => [stream, made.filter((record) => record !== refused)]),
    );
    const problem = differenceOf(await this.engine.records(), others);
    if (problem !== undefined) throw this.error(problem);
  }

  /** Makes the engine refuse a record for ever. */
  async refuse(record: SinkRecord): Promise<void> {
    await this.engine.refuse?.(record);
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
      throw this.error(`a write after close: expected the error sink_closed, got ${String(came)}`);
  }

  /** Writes records and aborts after `before`; without it, beforehand. The write has to reject with the reason. */
  async expectAborted(
    sink: RecordSink,
    records: readonly SinkRecord[],
    before?: () => Promise<void>,
  ): Promise<void> {
    if (await this.#abort(sink, records, before))
      throw this.error('an aborted write: expected a rejection, got none');
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
      throw this.error(`an aborted write: expected the signal's reason, got ${String(came)}`);
    return hasResolved;
  }

  /** Lets a random time pass: up to so many turns of the event loop. */
  async turns(most: number): Promise<void> {
    await this.#maker.turns(most);
  }

  /** Lets run what follows from promises that are settled, and nothing that waits for time or for the engine. */
  async told(): Promise<void> {
    for (let tick = 0; tick < 100; tick += 1) await Promise.resolve();
  }

  /**
   * The engine has to have each record that was made, once, equal, and in order within its stream. `uncertain` records
   * are the last of their streams, and may be missing.
   */
  async expectKept(uncertain: readonly SinkRecord[] = []): Promise<void> {
    const isUncertain = (record: SinkRecord): boolean => uncertain.includes(record);
    const problem = differenceOf(await this.engine.records(), this.#maker.made, isUncertain);
    if (problem !== undefined) throw this.error(problem);
  }
}
