import type { SinkRecord } from '../sink-record.ts';
import type { RecordSource } from '../source/record-source.ts';
import { differenceOf } from './record-difference.ts';
import { recordsOf, type SourceProof } from './source-proof.ts';

/** What became of the records, as the rules say. */
class Reading {
  readonly #proof: SourceProof;
  /** Acknowledged to an earlier source. */
  readonly #acknowledged = new Set<SinkRecord>();
  /** Their acknowledgement was rejected: nobody knows. */
  readonly #uncertain = new Set<SinkRecord>();
  /** What the source that lives has given, and not been told to be done. */
  waiting: SinkRecord[] = [];
  /** All that this source has given. */
  #came: SinkRecord[] = [];
  /** Acknowledged to this source. */
  #done: SinkRecord[] = [];
  /** So many of what waits may have been acknowledged. */
  #doubtful = 0;

  constructor(proof: SourceProof) {
    this.#proof = proof;
  }

  came(records: readonly SinkRecord[]): void {
    this.waiting.push(...records);
    this.#came.push(...records);
    const due = new Map<string, SinkRecord[]>();
    for (const [stream, ofStream] of Map.groupBy(this.#came, (record) => record.stream)) {
      const numbers = new Set(ofStream.map(({ seq }) => seq));
      const missing = (record: SinkRecord): boolean =>
        this.#acknowledged.has(record) || (this.#uncertain.has(record) && !numbers.has(record.seq));
      const made = this.#proof.maker.made.get(stream) ?? [];
      due.set(stream, made.filter((record) => !missing(record)).slice(0, ofStream.length));
    }
    const problem = differenceOf(this.#came, due);
    if (problem !== undefined) throw this.#proof.error(problem);
  }

  /** Another source goes on. What the earlier one has given and was not told about comes again. */
  restarted(): void {
    const numbers = new Set(this.#came.map(idOf));
    for (const record of this.#uncertain) if (numbers.has(idOf(record))) this.#uncertain.delete(record);
    for (const record of this.#madeOf(this.waiting.slice(0, this.#doubtful))) this.#uncertain.add(record);
    for (const record of this.#done) this.#acknowledged.add(record);
    this.waiting = [];
    this.#came = [];
    this.#done = [];
    this.#doubtful = 0;
  }

  /** The acknowledgement of the first so many of what waits was rejected. */
  doubted(count: number): void {
    this.#doubtful = Math.max(this.#doubtful, count);
  }

  acknowledged(count: number): void {
    const done = this.waiting.splice(0, count);
    this.#done.push(...this.#madeOf(done));
    this.#doubtful = Math.max(0, this.#doubtful - count);
  }

  /** Records that this source still has to give. */
  get due(): number {
    const numbers = new Set(this.#came.map(idOf));
    return [...this.#proof.maker.made.values()]
      .flat()
      .filter(
        (record) =>
          !this.#acknowledged.has(record) && !this.#uncertain.has(record) && !numbers.has(idOf(record)),
      ).length;
  }

  #madeOf(records: readonly SinkRecord[]): SinkRecord[] {
    return records.flatMap(({ seq, stream }) => this.#proof.maker.made.get(stream)?.[seq] ?? []);
  }
}

/**
 * Reads and acknowledges at random while the source's process crashes, its calls are aborted, and its engine fails where
 * it can. No record is lost, and none that was acknowledged comes again.
 */
export async function readThroughCrashes(proof: SourceProof, steps: number): Promise<void> {
  const reading = new Reading(proof);
  let source: RecordSource = await proof.open();
  const limits = { maxItems: 5 };
  const restart = async (): Promise<void> => {
    source = await proof.open();
    reading.restarted();
  };
  await proof.writeBatch();
  for (let step = 0; step < steps; step += 1) {
    const moment = proof.maker.random();
    const part = Math.ceil(proof.maker.random() * reading.waiting.length);
    const some = reading.waiting.slice(0, part);
    if (moment < 0.15) {
      await proof.writeBatch();
    } else if (moment < 0.25) {
      await restart();
    } else if (moment < 0.3) {
      await proof.settled('close', source.close());
      await restart();
    } else if (moment < 0.4) {
      const read = await proof.abort(
        'a read',
        (signal) => source.read(limits, signal),
        () => proof.maker.turns(3),
      );
      reading.came(recordsOf(read.value ?? []));
    } else if (moment < 0.5) {
      const done = await proof.abort(
        'an acknowledgement',
        (signal) => source.acknowledge(some, signal),
        () => proof.maker.turns(3),
      );
      if (done.error === undefined) reading.acknowledged(part);
      else reading.doubted(part);
    } else if (moment < 0.6 && proof.canFail) {
      const controller = new AbortController();
      const pending = proof.outcome('a read', (signal) => source.read(limits, signal), controller.signal);
      await proof.maker.turns(3);
      await proof.engine.fail?.();
      await proof.maker.turns(3);
      controller.abort();
      const read = await pending;
      reading.came(recordsOf(read.value ?? []));
      await proof.engine.heal?.();
    } else if (moment < 0.75) {
      await proof.acknowledge(source, some);
      reading.acknowledged(part);
    } else if (reading.due > 0) {
      reading.came(recordsOf(await proof.read(source, limits)));
    }
  }
  while (reading.due > 0) reading.came(recordsOf(await proof.read(source, limits)));
  await proof.acknowledge(source, reading.waiting);
  await proof.expectNothingLeft(await proof.open());
}

function idOf({ seq, stream }: SinkRecord): string {
  return `${stream} ${seq}`;
}
