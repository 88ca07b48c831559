import { asError } from '../as-error.ts';
import type { SinkRecord } from '../sink-record.ts';
import {
  type ReadLimits,
  RecordGap,
  type RecordSource,
  type SourceItem,
  type SourceLag,
} from '../source/record-source.ts';
import { EngineProof, type ProofOptions } from './engine-proof.ts';
import { differenceOf } from './record-difference.ts';
import { RecordMaker } from './record-maker.ts';
import type { SourceEngine } from './source-engine.ts';

/** A call of a source: what it came to. */
export type Outcome<Value> =
  | { readonly value: Value; readonly error?: undefined }
  | { readonly error: unknown; readonly value?: undefined };

/** A call that can be aborted. */
export type SourceCall<Value> = (signal: AbortSignal) => Promise<Value>;

const few: ReadLimits = { maxItems: 7 };

/** One check of {@link sourceRules}: its engine, its sources, and the records that it has made. */
export class SourceProof extends EngineProof<SourceEngine> {
  readonly maker: RecordMaker;

  constructor(engine: SourceEngine, options: ProofOptions) {
    super(engine, options);
    this.maker = new RecordMaker(options.seed, engine);
  }

  async open(name = 'proof'): Promise<RecordSource> {
    return this.opened(await this.engine.open(name));
  }

  /** Makes the next records of streams, and writes them. */
  async write(...streams: readonly (readonly [stream: string, count: number])[]): Promise<SinkRecord[]> {
    const records = streams.flatMap(([stream, count]) => this.maker.take(stream, count));
    await this.engine.write(records);
    return records;
  }

  /** Makes a batch of 1 to 30 records of several streams, and writes it. */
  async writeBatch(): Promise<SinkRecord[]> {
    const records = this.maker.nextBatch();
    await this.engine.write(records);
    return records;
  }

  async read(source: RecordSource, limits = few): Promise<readonly SourceItem[]> {
    const items = await this.settled('a read', source.read(limits, new AbortController().signal));
    if (items.length === 0 || items.length > limits.maxItems)
      throw this.error(`a read: expected 1 to ${limits.maxItems} items, got ${items.length}`);
    return items;
  }

  /** Reads until it has so many records. Rejects if it has more then. */
  async readRecords(source: RecordSource, count: number, limits = few): Promise<SourceItem[]> {
    const items: SourceItem[] = [];
    while (recordsOf(items).length < count) items.push(...(await this.read(source, limits)));
    if (recordsOf(items).length > count)
      throw this.error(`reads: expected ${count} records, got ${recordsOf(items).length}`);
    return items;
  }

  async acknowledge(source: RecordSource, items: readonly SourceItem[]): Promise<void> {
    await this.settled('an acknowledgement', source.acknowledge(items, new AbortController().signal));
  }

  async lag(source: RecordSource): Promise<SourceLag> {
    return this.settled('a lag', source.lag(new AbortController().signal));
  }

  /** What waits has to get older. */
  async expectAge(source: RecordSource): Promise<void> {
    let isAged = false;
    const look = async (): Promise<void> => {
      while (!isAged) {
        isAged ||= (await this.lag(source)).ms > 0;
        await this.maker.turns(2);
      }
    };
    await this.settled('a lag that has an age', look()).finally(() => (isAged = true));
  }

  /** Has to be what was written and no gap: each record once, equal, and in order within its stream. */
  expectSame(items: readonly SourceItem[], written: readonly SinkRecord[]): void {
    const gap = items.find((item) => item instanceof RecordGap);
    if (gap !== undefined) throw this.error(`expected no gap, got ${gap.from} to ${gap.to}`);
    this.expectRecords(items, written);
  }

  /** The records among the items have to be those. */
  expectRecords(items: readonly SourceItem[], written: readonly SinkRecord[]): void {
    const problem = differenceOf(
      recordsOf(items),
      Map.groupBy(written, ({ stream }) => stream),
    );
    if (problem !== undefined) throw this.error(problem);
  }

  /** Before the first item of a record there has to be a gap of at least so many. */
  expectGapFirst(items: readonly SourceItem[], least: number): void {
    const first = items.findIndex((item) => !(item instanceof RecordGap));
    const gaps = items
      .slice(0, first === -1 ? items.length : first)
      .filter((item) => item instanceof RecordGap);
    const told = gaps.reduce((sum, { maxRecords }) => sum + (maxRecords ?? least), 0);
    if (gaps.length === 0 || told < least)
      throw this.error(`expected a gap of ${least} records before what is left, got one of ${told}`);
  }

  /** Nothing waits for the source: the next record that is written is what comes. */
  async expectNothingLeft(source: RecordSource): Promise<void> {
    const last = await this.write(['last', 1]);
    this.expectSame(await this.read(source), last);
  }

  async outcome<Value>(what: string, call: SourceCall<Value>, signal?: AbortSignal): Promise<Outcome<Value>> {
    const settling = call(signal ?? new AbortController().signal).then(
      (value): Outcome<Value> => ({ value }),
      (error: unknown): Outcome<Value> => ({ error }),
    );
    return this.settled(what, settling);
  }

  async expectCode(what: string, code: string, call: SourceCall<unknown>): Promise<void> {
    const { error } = await this.outcome(what, call);
    const came = error instanceof Error && 'code' in error ? error.code : asText(error);
    if (came !== code) throw this.error(`${what}: expected a rejection with ${code}, got ${String(came)}`);
  }

  /** Calls and aborts after `before`; without it, beforehand. Has to reject with the reason. */
  async expectAborted(what: string, call: SourceCall<unknown>, before?: () => Promise<void>): Promise<void> {
    const outcome = await this.abort(what, call, before);
    if (outcome.error === undefined) throw this.error(`${what}, aborted: expected a rejection, got none`);
  }

  /** Calls and aborts after `before`; without it, beforehand. A rejection has to have the reason. */
  async abort<Value>(
    what: string,
    call: SourceCall<Value>,
    before?: () => Promise<void>,
  ): Promise<Outcome<Value>> {
    const controller = new AbortController();
    const reason = new Error('the check has aborted this call');
    if (before === undefined) controller.abort(reason);
    const settling = this.outcome(`${what}, aborted`, call, controller.signal);
    await before?.();
    controller.abort(reason);
    const outcome = await settling;
    if (outcome.error !== undefined && outcome.error !== reason)
      throw this.error(`${what}, aborted: expected the signal's reason, got ${asText(outcome.error)}`);
    return outcome;
  }
}

function asText(error: unknown): string {
  return error === undefined ? 'none' : asError(error).message;
}

/** The records among the items. */
export function recordsOf(items: readonly SourceItem[]): SinkRecord[] {
  return items.filter((item): item is SinkRecord => !(item instanceof RecordGap));
}
