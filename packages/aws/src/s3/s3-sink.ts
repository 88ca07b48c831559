import { createHash, randomUUID } from 'node:crypto';
import { type SinkRecord, SpillwayError } from '@spillway/core';
import {
  type EngineFacts,
  type EngineSink,
  type EngineSinkOptions,
  RefusedRecords,
} from '@spillway/core/engine';
import { expectRecords } from '@spillway/core/sink/expect-records';
import { WriteTurn } from '@spillway/core/sink/write-turn';
import { KeptNumbers } from '../service/kept-numbers.ts';
import { isTooLarge, nameOf, serviceFailure, statusOf, withinTime } from '../service/service-failure.ts';
import { checkOptions } from '../service/service-url.ts';
import { type BatchHead, decodeHead, encodeBatch } from './batch-object.ts';
import { numbered, S3Folder } from './s3-folder.ts';

/** An object is read so far to learn what is in it; few are read further. */
const headBytes = 65_536;
/** The manifest is written anew when it is so many objects behind: so many heads are read at an opening. */
const manifestEvery = 100;
const manifestName = 'manifest.json';
const readsAtOnce = 8;
const closeTimeoutMs = 2000;

/** How an S3 sink is opened. An object takes any record, so that none is split. */
export type S3SinkOptions = Omit<EngineSinkOptions, 'maxEntryBytes'>;

/**
 * Opens a sink that writes each batch as one object of S3, compressed by gzip: a line of JSON that says what is in it, and the
 * values as lines. How large the objects are is how seldom is written, which a tap is told by its `every`.
 *
 * Objects are numbered: `PREFIX/0000000000000001.jsonl.gz`, and so on. A number is written once (`If-None-Match: *`): of a late
 * write of a process that has died, and one of its successor, one is refused. A write whose outcome is unknown is repeated
 * with the same key and the same bytes before anything else is written. A store that does not know the condition gets keys with a digest of the content, so
 * that nothing is ever written over; then what a process that has died still had under way may be there twice.
 * `manifest.json` says up to where the streams are, so that a sink that is opened reads the newest objects only.
 *
 * `url`: `s3://BUCKET/PREFIX`, a prefix for each writer; `region=`; `endpoint=` for others' stores; `maxObjectBytes=`, the values of one object
 * before they are compressed (64 MiB). Keys come from where AWS's own tools have them; it needs `s3:PutObject`, `s3:GetObject`
 * and `s3:ListBucket`.
 *
 * @throws {SpillwayError} `invalid_option` for a wrong option; `sink_failed` when the bucket cannot be reached.
 * @example
 * ```ts
 * import { openS3Sink } from '@spillway/aws';
 *
 * const sink = await openS3Sink({ url: 's3://my-bucket/transcripts?region=eu-central-1' });
 * await sink.write([{ stream: 's1', seq: 0, value: Buffer.from('{"n":1}') }], AbortSignal.timeout(5000));
 * await sink.close();
 * ```
 */
export async function openS3Sink(options: S3SinkOptions): Promise<EngineSink> {
  checkOptions(options);
  const folder = new S3Folder(options.url);
  const opening = `The opening of ${folder.address}`;
  try {
    return await withinTime('sink_failed', opening, options.openTimeoutMs ?? 5000, async (signal) => {
      const manifest = await loadManifest(folder, signal);
      const isConditional = await knowsConditions(folder, manifest, signal);
      const sink = new S3Sink(folder, manifest, isConditional);
      await sink.learnNewest(signal);
      return sink;
    });
  } catch (error) {
    folder.close();
    throw error;
  }
}

/** Up to where the streams are: true of the objects up to `last`, also when there are newer ones. */
interface Manifest {
  readonly spillway: 1;
  /** The number of an object. 0: there is none. */
  readonly last: number;
  /** The number of the last record of each stream, the latest stream last. */
  readonly streams: readonly (readonly [stream: string, seq: number])[];
}

/** An object whose write has begun, and of which nobody knows yet whether it is there. */
interface UnknownObject {
  readonly records: readonly SinkRecord[];
  readonly number: number;
  readonly name: string;
  readonly body: Buffer;
}

class S3Sink implements EngineSink {
  readonly durability: EngineSink['durability'];
  readonly address: string;
  readonly facts: EngineFacts;
  readonly #folder: S3Folder;
  readonly #isConditional: boolean;
  readonly #writer = randomUUID();
  readonly #kept = new KeptNumbers();
  readonly #turn: WriteTurn;
  /** The number of the newest object that is known. */
  #last: number;
  #lastInManifest: number;
  #unknown: UnknownObject | undefined;
  /** Why the store does not take a record, until the write that has it says so. */
  readonly #refused = new Map<string, string>();

  constructor(folder: S3Folder, manifest: Manifest, isConditional: boolean) {
    this.#folder = folder;
    this.#isConditional = isConditional;
    this.#last = manifest.last;
    this.#lastInManifest = manifest.last;
    for (const [stream, seq] of manifest.streams) this.#kept.add(stream, seq);
    this.durability = folder.isAws ? 'fsync' : 'memory';
    this.address = folder.address;
    this.facts = factsOf(folder, isConditional);
    this.#turn = new WriteTurn(this.address);
  }

  write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    return this.#turn.write(signal, () => this.#write(records, signal));
  }

  close(): Promise<void> {
    return this.#turn.close(async (work) => {
      await work;
      await this.#release();
    });
  }

  /** Learns what is in the objects that are newer than the manifest. */
  async learnNewest(signal: AbortSignal): Promise<void> {
    for await (const page of this.#folder.list(`${numbered(this.#last)}~`, signal)) {
      const names = page.map(({ name }) => name);
      for (let at = 0; at < names.length; at += readsAtOnce) {
        const some = names.slice(at, at + readsAtOnce);
        const heads = await Promise.all(some.map((name) => this.#headOf(name, signal)));
        for (const head of heads) this.#learn(head);
      }
    }
  }

  async #write(records: readonly SinkRecord[], signal: AbortSignal): Promise<void> {
    expectRecords(records);
    try {
      await this.#settle(signal);
      let rest = records;
      let most = Infinity;
      for (;;) {
        rest = rest.filter((record) => !this.#refused.has(idOf(record)) && !this.#isKept(record));
        if (rest.length === 0) break;
        const object = await this.#objectOf(this.#firstOf(rest).slice(0, most));
        this.#unknown = object;
        // Smaller objects find out which record is too large.
        const isTaken = await this.#settle(signal);
        most = isTaken ? Infinity : Math.max(1, object.records.length >> 1);
      }
      if (this.#last - this.#lastInManifest >= manifestEvery) await this.#saveManifest(signal);
    } catch (error) {
      signal.throwIfAborted();
      throw serviceFailure('sink_failed', `A write to ${this.address}`, error);
    }
    if (this.#refused.size === 0) return;
    const refused = records.flatMap((record) => {
      const reason = this.#refused.get(idOf(record));
      return reason === undefined ? [] : [{ record, reason }];
    });
    this.#refused.clear();
    if (refused.length > 0) throw new RefusedRecords(refused);
  }

  #isKept({ seq, stream }: SinkRecord): boolean {
    return this.#kept.has(stream, seq);
  }

  /** As many as fit into one object. */
  #firstOf(records: readonly SinkRecord[]): readonly SinkRecord[] {
    let bytes = 0;
    const end = records.findIndex(({ value }, index) => {
      bytes += value.byteLength;
      return index > 0 && bytes > this.#folder.maxObjectBytes;
    });
    return end === -1 ? records : records.slice(0, end);
  }

  async #objectOf(records: readonly SinkRecord[]): Promise<UnknownObject> {
    const number = this.#last + 1;
    const body = await encodeBatch(this.#writer, number, records);
    const digest = createHash('sha256').update(body).digest('hex').slice(0, 16);
    const name = `${numbered(number)}${this.#isConditional ? '' : `-${digest}`}.jsonl.gz`;
    return { records, number, name, body };
  }

  /**
   * Writes the object of which nobody knows whether it is there, until that is known. Rejected: it is still unknown. Resolves with
   * whether the store took it: one that is too large it does not, and its record is refused, if it is one.
   */
  async #settle(signal: AbortSignal): Promise<boolean> {
    if (this.#unknown === undefined) return true;
    signal.throwIfAborted();
    const { body, name, number, records } = this.#unknown;
    const how = { contentType: 'application/gzip', onlyNew: this.#isConditional };
    let isNew: boolean;
    try {
      isNew = await this.#folder.put(name, body, how, signal);
    } catch (error) {
      if (!isTooLarge(error)) throw error;
      this.#unknown = undefined;
      const [only, ...others] = records;
      if (only !== undefined && others.length === 0)
        this.#refused.set(idOf(only), `the store does not take ${body.length} bytes at once`);
      return false;
    }
    if (!isNew) {
      const head = await this.#headOf(name, signal);
      if (head.writer !== this.#writer) {
        // Somebody else was faster: a process that has died, or another one. What it has written need not be written again.
        this.#unknown = undefined;
        this.#learn(head);
        return true;
      }
    }
    this.#unknown = undefined;
    this.#last = number;
    for (const { seq, stream } of records) this.#kept.add(stream, seq);
    return true;
  }

  async #headOf(name: string, signal: AbortSignal): Promise<BatchHead> {
    for (const maxBytes of [headBytes, undefined]) {
      const bytes = await this.#folder.get(name, signal, maxBytes);
      const head = bytes && (await decodeHead(bytes));
      if (head !== undefined) return head;
    }
    throw new SpillwayError('sink_failed', `${this.address}: expected ${name} to be an object of records.`);
  }

  #learn({ number, runs }: BatchHead): void {
    this.#last = Math.max(this.#last, number);
    for (const [stream, firstSeq, lengths] of runs) this.#kept.add(stream, firstSeq + lengths.length - 1);
  }

  async #saveManifest(signal: AbortSignal): Promise<void> {
    const manifest: Manifest = { spillway: 1, last: this.#last, streams: [...this.#kept.entries()] };
    try {
      await putManifest(this.#folder, manifest, false, signal);
      this.#lastInManifest = manifest.last;
    } catch {
      // The records are kept. The next write tries again, and an opening reads more objects meanwhile.
    }
  }

  async #release(): Promise<void> {
    if (this.#last > this.#lastInManifest) await this.#saveManifest(AbortSignal.timeout(closeTimeoutMs));
    this.#folder.close();
  }
}

function idOf({ seq, stream }: SinkRecord): string {
  return `${stream} ${seq}`;
}

async function loadManifest(folder: S3Folder, signal: AbortSignal): Promise<Manifest> {
  const bytes = await folder.get(manifestName, signal);
  if (bytes === undefined) return { spillway: 1, last: 0, streams: [] };
  const manifest = JSON.parse(Buffer.from(bytes).toString()) as Partial<Manifest>;
  if (manifest.spillway !== 1 || !Number.isSafeInteger(manifest.last) || !Array.isArray(manifest.streams))
    throw new SpillwayError(
      'invalid_option',
      `${folder.address}: expected ${manifestName} to be a manifest of records.`,
    );
  return manifest as Manifest;
}

/** Whether the store writes an object only where there is none. It is tried at the manifest, with what that has anyhow. */
async function knowsConditions(folder: S3Folder, manifest: Manifest, signal: AbortSignal): Promise<boolean> {
  try {
    // The first one may write it. A second one that does as well was not told what it was asked.
    return (
      !(await putManifest(folder, manifest, true, signal)) ||
      !(await putManifest(folder, manifest, true, signal))
    );
  } catch (error) {
    if (statusOf(error) === 501 || nameOf(error) === 'NotImplemented') {
      await putManifest(folder, manifest, false, signal);
      return false;
    }
    throw error;
  }
}

function putManifest(
  folder: S3Folder,
  manifest: Manifest,
  onlyNew: boolean,
  signal: AbortSignal,
): Promise<boolean> {
  const body = Buffer.from(JSON.stringify(manifest));
  return folder.put(manifestName, body, { contentType: 'application/json', onlyNew }, signal);
}

function factsOf(folder: S3Folder, isConditional: boolean): EngineFacts {
  const warnings: string[] = [];
  if (!folder.isAws)
    warnings.push('Whoever answers at this endpoint is not known to keep more than its memory.');
  if (!isConditional)
    warnings.push(
      'This store does not know If-None-Match: what a process that has died still had under way may be there twice.',
    );
  return {
    engine: folder.isAws ? 'S3' : 'A store that speaks as S3 does',
    durability: folder.isAws
      ? 'S3 answers when an object is on disks of several machines.'
      : 'Not AWS: nothing says what this endpoint does before it answers.',
    duplicates: `The last record of the 10,000 latest streams is known for ever, by the objects and their manifest${isConditional ? '' : ', but for a write that was under way when its process died'}.`,
    warnings,
  };
}
