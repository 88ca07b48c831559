import { isUtf8 } from 'node:buffer';
import { createGate, Gap, type Gate, type Overflow, type Reader, type SinkRecord } from '@spillway/core';
import type { TokenUsage } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import type { EndedReader } from '../stream/ended-reader.ts';
import type { StreamBody, StreamOutcome } from '../stream/stream-body.ts';
import type { SentPart, StreamTap, TapGate, TappedStream } from '../stream/tap.ts';
import { tapUnavailable } from '../stream/tap-gates.ts';
import type { ServerClock } from '../time/server-clock.ts';
import { type ChunkRecordOptions, ChunkRecords, type TakenRun } from './chunk-records.ts';
import { bytesIn, contentOf } from './content-of.ts';
import { redactJson } from './content/redact-json.ts';
import { type Content, recordVersion, type TapRecordBody } from './tap-record.ts';
import type { Room } from './room.ts';
import type { Recorder, TapWriter } from './tap-writer.ts';
import { estimateTokens } from './token-estimate.ts';

/** At most so many ends of readers wait to be written for one stream. Those that come beyond it are only counted. */
const maxWaitingReaders = 1000;

/** What a tap writes of each stream, and what happens when it cannot. */
export interface RecorderOptions extends Omit<ChunkRecordOptions, 'content'> {
  /** The tap's name. */
  readonly name: string;
  readonly writer: Pick<TapWriter, 'isShedding' | 'isSilent' | 'wants'>;
  /** `full` and `text` as of chunks. `audio`: as `full`, and the sound of conversations. `usage`: nothing of the answer. */
  readonly content: ChunkRecordOptions['content'] | 'audio' | 'usage';
  /** Whether a request that was refused before a provider was asked is written down. */
  readonly keepsRefused: boolean;
  /** Whether the request's body is kept. */
  readonly keepsRequest: boolean;
  /** Whether a stream that cannot be kept ends. */
  readonly isRequired: boolean;
  readonly overflow: Overflow;
  /** The chunks that may wait in one stream; merged ones count as one. */
  readonly maxItems: number;
  readonly clock: ServerClock;
  /** For records that wait for the engine although their stream does not. */
  readonly room: Room;
  /** The bytes of bodies that are no streams of events and wait for the engine. */
  readonly bodyRoom: Room;
  /** So many chunks, or ends of readers, are lost to the tap. */
  readonly onLost: (count: number) => void;
  /** The stream is over for everybody. */
  readonly onForgotten: () => void;
}

const quoting: ReadonlySet<string | undefined> = new Set(['invalid_request', 'not_found']);

interface Note {
  readonly body: TapRecordBody;
  /** On the clock that measures, and in milliseconds since 1970. */
  readonly sinceMs: number;
  readonly at: number;
}

/** A chunk or gap that was taken, with the offset of its beginning. */
interface Item {
  readonly item: EventRun | Gap;
  readonly from: number;
}

/** What is being written. */
interface Taken {
  readonly records: number;
  readonly bytes: number;
  readonly sinceMs: number;
  /** What readers may get when it is kept. */
  readonly opensHead: boolean;
  readonly opensTo: number;
  readonly offset: number;
}

/**
 * Writes down one stream: who asked, what the provider answered, how it ended, what each reader got. It is the tap's
 * part of the stream, and the stream's part of what the tap writes. One file, because what is taken, kept and given up
 * is one state, and each of the stream's events may change it.
 */
export class StreamRecorder implements StreamTap, Recorder {
  readonly overflow: Overflow;
  readonly merges = true;
  readonly maxItems: number;
  readonly wantsAudio: boolean;
  readonly gate?: TapGate;
  readonly #options: RecorderOptions;
  readonly #stream: TappedStream;
  readonly #done = Promise.withResolvers<void>();
  readonly #headKept = Promise.withResolvers<void>();
  readonly #chunks: Gate = createGate();
  readonly #startedMs: number;
  /** The begin and the answer, until they are taken. */
  #head: Note[] = [];
  /** Readers that have ended, until they are taken. */
  #readers: Note[] = [];
  #seq = 0;
  /** The tokens of an answer that was cancelled. */
  #estimate: number | undefined;
  /** The time of the last record. It never goes back. */
  #at = 0;
  #body: StreamBody | undefined;
  /** The cursor, while chunks may come from it. */
  #reader: Reader<EventRun | Gap> | undefined;
  /** Chunks that were taken out of a channel which was about to drop them, or had no room for them. */
  #rescued: Item[] = [];
  #rescuedTo = 0;
  /** Whether pieces are taken as they come; how many bytes were, and how many of those have not been written. */
  #takesEarly = false;
  #earlyBytes = 0;
  #roomBytes = 0;
  /** The offset behind what was taken. */
  #offset = 0;
  #keptOffset = 0;
  /** The provider that was asked first; `undefined`: none was. */
  #firstAsked: string | undefined;
  #hasAnswer = false;
  /** Makes records of chunks; `undefined`: no chunk is kept, or none has come. */
  #records: ChunkRecords | undefined;
  /** The stream's end, until it is taken. */
  #end: Note | undefined;
  #hasEnded = false;
  #hasFailed = false;
  #hasRoom = false;
  #isDiscarded = false;
  #taken: Taken | undefined;

  constructor(stream: TappedStream, options: RecorderOptions) {
    this.#stream = stream;
    this.#options = options;
    this.overflow = options.overflow;
    this.maxItems = options.maxItems;
    this.wantsAudio = options.content === 'audio';
    if (options.gates) this.gate = { head: this.#headKept.promise, chunks: this.#chunks };
    this.#startedMs = options.clock.nowMs();
    // Whoever waits for them gets the error. Where nobody does, nothing is to be done about it.
    this.#headKept.promise.catch(() => undefined);
    this.#done.promise.catch(() => undefined);
  }

  get keptOffset(): number | undefined {
    return this.#options.content === 'usage' ? undefined : this.#keptOffset;
  }

  asked(): void {
    if (this.#firstAsked !== undefined) return;
    const { client, gaveWay = [], model, origin, requestId } = this.#stream;
    const { address, agent, caller, tenant } = client;
    this.#firstAsked = origin.name;
    const who = { provider: origin.name, api: origin.api, model, tenant, caller, address, agent };
    const request = this.#options.keepsRequest ? this.#request() : undefined;
    const changed = gaveWay.length === 0 ? undefined : [...gaveWay];
    this.#note(this.#head, { kind: 'begin', requestId, ...who, gaveWay: changed, request });
  }

  async read(reader: Reader<EventRun | Gap>, body: StreamBody): Promise<void> {
    this.asked();
    this.#body = body;
    const { format, headers, isEvents, status } = body;
    const { origin, upstreamRequestId } = this.#stream;
    const provider = origin.name === this.#firstAsked ? undefined : origin.name;
    this.#hasAnswer = true;
    const told = { status, headers, format: format?.name, upstreamRequestId, provider };
    this.#note(this.#head, { kind: 'answer', ...told });
    const { content } = this.#options;
    if (content === 'usage') reader.detach();
    else if (!this.#hasFailed) {
      this.#reader = reader;
      this.#takesEarly = !isEvents && !this.#options.isRequired;
      const kept = content === 'audio' ? 'full' : content;
      this.#records = new ChunkRecords(format, isEvents, { ...this.#options, content: kept });
    }
    this.#look();
    await this.#done.promise;
  }

  /** The events that close the answer are not the model's, and have all of its text once more. */
  cut(): void {
    this.#estimate = estimateTokens(this.#body, this.#stream.events);
  }

  /** The channel is about to drop what waits. Readers may have got it, so it is taken first. */
  cancelled(): void {
    this.#estimate = estimateTokens(this.#body, this.#stream.events);
    const reader = this.#reader;
    if (reader === undefined || reader.end !== undefined) return;
    this.#rescue(reader);
  }

  ended({ error, state, usage }: StreamOutcome): void {
    // Nobody was asked.
    if (this.#firstAsked === undefined && !this.#options.keepsRefused) return this.#done.resolve();
    this.asked();
    this.#hasEnded = true;
    const { clock } = this.#options;
    const { bytes, events } = this.#stream;
    const nowMs = clock.nowMs();
    this.#end = {
      sinceMs: nowMs,
      at: clock.dateMs(),
      body: {
        kind: 'end',
        state,
        code: error?.code,
        // The messages of these two may quote the client.
        reason: quoting.has(error?.code) ? undefined : error?.message,
        offset: this.#chunksSent,
        events,
        bytes,
        durationMs: Math.round(nowMs - this.#startedMs),
        usage: this.#usage(usage),
      },
    };
    if (this.#options.writer.isSilent) this.engineSilent();
    this.#look();
  }

  readerEnded({
    acknowledgedOffset,
    address,
    deliveredOffset,
    error,
    lostTokens,
    number,
    reason,
    via,
  }: EndedReader): void {
    if (this.#firstAsked === undefined) return;
    if (this.#readers.length >= maxWaitingReaders) return this.#options.onLost(1);
    this.#note(this.#readers, {
      kind: 'reader',
      reader: number,
      via,
      address,
      reason,
      code: error?.code,
      delivered: deliveredOffset ?? 0,
      acknowledged: acknowledgedOffset,
      lost: lostTokens,
    });
  }

  partSent({ address, to }: SentPart): void {
    if (this.#readers.length >= maxWaitingReaders) return this.#options.onLost(1);
    const part = { reader: 0, via: 'part', address, delivered: to, acknowledged: null, lost: 0 };
    this.#note(this.#readers, { kind: 'reader', reason: 'delivered', ...part });
  }

  forgotten(): void {
    this.#options.onForgotten();
  }

  /**
   * A stream that has to be kept ends now. For any other one, the tap gives up what has not been read of a stream that
   * is over, so that the stream does not keep its place for it.
   */
  engineSilent(): void {
    if (this.#hasFailed) return;
    if (this.#options.isRequired) {
      // The model is done, and readers need not wait: what is left can wait for the engine, in the stream's own place.
      if (this.#hasEnded && this.gate === undefined) return;
      const error = tapUnavailable(this.#options.name);
      this.#headKept.reject(error);
      this.#done.reject(error);
    } else if (this.#hasEnded) {
      // What is being written is bounded already.
      if (this.#end !== undefined && !this.takeRoom()) this.#discard();
      this.#done.resolve();
    } else {
      return;
    }
    this.#hasFailed = true;
    this.#reader = undefined;
  }

  /**
   * Takes room for records that wait for the engine although their stream does not. It is released when they are kept.
   * Returns `false` where there is none.
   */
  takeRoom(): boolean {
    this.#hasRoom ||= this.#options.room.take();
    return this.#hasRoom;
  }

  /** Too many streams wait for the engine that are over: nothing more of this one is kept. */
  #discard(): void {
    this.#options.onLost(Math.max(1, this.#chunksSent - this.#offset));
    this.#head = [];
    this.#readers = [];
    this.#rescued = [];
    this.#end = undefined;
    this.#releaseBody();
    this.#isDiscarded = true;
  }

  get isMerged(): boolean {
    return this.#body === undefined || this.#body.format !== undefined;
  }

  get waitingRecords(): number {
    const { records = 0 } = this.#taken ?? {};
    const chunks = this.#reader?.waitingItems ?? 0;
    return records + this.#noteCount + chunks + (this.#end === undefined ? 0 : 1);
  }

  get waitingBytes(): number {
    return (this.#taken?.bytes ?? 0) + this.#roomBytes + (this.#reader?.waitingBytes ?? 0);
  }

  get waitingSinceMs(): number {
    const reader = this.#reader;
    const isWaiting = reader !== undefined && reader.waitingItems > 0;
    return Math.min(
      this.#taken?.sinceMs ?? Infinity,
      this.#head[0]?.sinceMs ?? Infinity,
      this.#readers[0]?.sinceMs ?? Infinity,
      this.#end?.sinceMs ?? Infinity,
      isWaiting ? this.#options.clock.nowMs() - reader.ageMs : Infinity,
    );
  }

  take(records: SinkRecord[]): number {
    const sinceMs = this.waitingSinceMs;
    const before = records.length;
    let bytes = 0;
    // What is taken after the end came before it.
    const add = (body: TapRecordBody, at = this.#end?.at ?? this.#options.clock.dateMs()): void => {
      const record = this.#record(body, at);
      records.push(record);
      bytes += record.value.length;
    };
    for (const { at, body } of this.#head) add(body, at);
    this.#head = [];
    this.#takeChunks(add);
    const isWhole = this.#end !== undefined && this.#areChunksDone;
    if (this.#end !== undefined && isWhole) this.#addEnd(this.#end, add);
    for (const { at, body } of this.#readers) add(body, at);
    this.#readers = [];
    this.#taken = {
      records: records.length - before,
      bytes,
      sinceMs,
      opensHead: this.#hasAnswer || isWhole,
      opensTo: isWhole ? Infinity : (this.#records?.heldFrom ?? this.#offset),
      offset: this.#offset,
    };
    return bytes;
  }

  kept(): void {
    const taken = this.#taken;
    this.#taken = undefined;
    this.#keptOffset = taken?.offset ?? this.#keptOffset;
    if (taken !== undefined && !this.#hasFailed) {
      if (taken.opensHead) this.#headKept.resolve();
      this.#chunks.open(taken.opensTo);
      if (taken.opensTo === Infinity) this.#done.resolve();
    }
    if (taken?.opensTo === Infinity && this.#hasRoom) {
      this.#hasRoom = false;
      this.#options.room.release();
    }
    this.#look();
  }

  /** The offset behind the last chunk that the provider has sent. */
  get #chunksSent(): number {
    return this.#body?.log.nextOffset ?? 0;
  }

  /** Without a report of the answer's tokens they are estimated. Of a body that is no stream of events nothing is known. */
  #usage(reported: TokenUsage | undefined): (TapRecordBody & { kind: 'end' })['usage'] {
    const { inputTokens, outputTokens } = reported ?? {};
    if (outputTokens !== undefined) return { inputTokens, outputTokens, source: 'reported' };
    const estimate = this.#estimate ?? estimateTokens(this.#body, this.#stream.events);
    if (estimate === undefined && inputTokens === undefined) return undefined;
    return { inputTokens, outputTokens: estimate, source: 'estimated' };
  }

  #note(notes: Note[], body: TapRecordBody): void {
    if (this.#isDiscarded) return;
    const { clock } = this.#options;
    notes.push({ body, sinceMs: clock.nowMs(), at: clock.dateMs() });
    this.#look();
  }

  /** Tells the writer if something waits; otherwise the cursor does when it comes. */
  #look(): void {
    if (this.#takesEarly) this.takeEarly();
    if (this.#taken !== undefined) return;
    const { writer } = this.#options;
    const reader = this.#reader;
    const hasChunks = reader !== undefined && reader.whenReady(this.#onReady) && reader.end === undefined;
    const isOver = this.#end !== undefined && this.#areChunksDone;
    const isRescued = this.#rescued.length > 0;
    if (hasChunks || isRescued || this.#noteCount > 0 || isOver) writer.wants(this);
  }

  get #noteCount(): number {
    return this.#head.length + this.#readers.length;
  }

  readonly #onReady = (): void => {
    const { clock, writer } = this.#options;
    if (this.#takesEarly) clock.nextTick(takeEarly, this);
    writer.wants(this);
  };

  /**
   * Takes what waits of a body, as far as it is kept and all bodies have room: pieces of a body cannot be merged, and a
   * stream has room for few of them. A tap that makes the model wait needs no such room.
   */
  takeEarly(): void {
    const reader = this.#reader;
    const { bodyRoom, maxRecordBytes } = this.#options;
    while (reader?.whenReady(this.#onReady) === true && reader.end === undefined) {
      const bytes = reader.waitingBytes;
      const isKept = bytes > 0 && this.#earlyBytes + bytes <= maxRecordBytes;
      if (!isKept || !bodyRoom.take(bytes)) return;
      this.#earlyBytes += bytes;
      this.#roomBytes += bytes;
      this.#rescue(reader);
    }
  }

  #rescue(reader: Reader<EventRun | Gap>): void {
    this.#rescued.push(...itemsOf(reader, Infinity));
    this.#rescuedTo = reader.offset;
  }

  #releaseBody(): void {
    this.#options.bodyRoom.release(this.#roomBytes);
    this.#roomBytes = 0;
  }

  /** Whether no chunk will come any more. */
  get #areChunksDone(): boolean {
    return this.#rescued.length === 0 && (this.#reader === undefined || this.#reader.end !== undefined);
  }

  #takeChunks(add: (body: TapRecordBody) => void): void {
    if (this.#rescued.length > 0) this.#addItems(this.#rescued, this.#rescuedTo, add);
    this.#rescued = [];
    this.#releaseBody();
    const reader = this.#reader;
    if (reader === undefined) return;
    this.#addItems(itemsOf(reader, this.#options.maxRecordBytes), reader.offset, add);
  }

  /** One record for each run of chunks without a gap in it. */
  #addItems(items: readonly Item[], to: number, add: (body: TapRecordBody) => void): void {
    let runs: TakenRun[] = [];
    const addRuns = (until: number): void => {
      const record = runs.length > 0 && this.#records?.record(runs, until, this.#options.writer.isShedding);
      if (record) add(record);
      runs = [];
    };
    for (const { from, item } of items) {
      if (!(item instanceof Gap)) {
        runs.push({ run: item, from });
        continue;
      }
      addRuns(item.from);
      const before = this.#records?.pending(item.from);
      if (before !== undefined) add(before);
      add({ kind: 'gap', from: item.from, to: item.to, reason: item.reason });
      this.#options.onLost(item.to - item.from);
    }
    addRuns(to);
    this.#offset = to;
  }

  /** The request's body. Redacted or not, nothing is kept of one that is too large, or that cannot be read for it. */
  #request(): Content | undefined {
    const parts = this.#stream.requestBody?.() ?? [];
    if (parts.length === 0) return undefined;
    const { maxRecordBytes, onRedacted, redact } = this.#options;
    const isTooLarge = bytesIn(parts) > maxRecordBytes;
    if (redact === undefined) return contentOf(parts, isTooLarge);
    const body = Buffer.concat(isTooLarge ? [] : parts);
    // A digest would let somebody try what was left out.
    if (isTooLarge || !isUtf8(body)) return { bytes: bytesIn(parts) };
    const { redacted, text } = redactJson(body.toString('utf8'), redact);
    if (redacted > 0) onRedacted(redacted);
    return { data: text, ...(redacted > 0 && { redacted }) };
  }

  /** What was never taken is a gap before the end: the record says what it does not have. */
  #addEnd({ at, body }: Note, add: (body: TapRecordBody, at?: number) => void): void {
    const rest = this.#records?.rest(this.#offset);
    if (rest !== undefined) add(rest);
    const missing = body.kind === 'end' && this.#options.content !== 'usage' ? body.offset - this.#offset : 0;
    if (missing > 0) {
      const reason = this.#hasFailed ? 'tap_unavailable' : 'cancelled';
      add({ kind: 'gap', from: this.#offset, to: this.#offset + missing, reason });
      this.#options.onLost(missing);
    }
    add(body, at);
    this.#end = undefined;
  }

  #record(body: TapRecordBody, at: number): SinkRecord {
    const stream = this.#stream.id;
    const seq = this.#seq;
    this.#seq += 1;
    // The clock may be set back, and a reader that left early is written late.
    this.#at = Math.max(this.#at, Math.round(at));
    const value = Buffer.from(JSON.stringify({ v: recordVersion, stream, seq, at: this.#at, ...body }));
    return { stream, seq, value };
  }
}

function takeEarly(recorder: StreamRecorder): void {
  recorder.takeEarly();
}

/** Takes what waits, until it is so many bytes. */
function itemsOf(reader: Reader<EventRun | Gap>, maxBytes: number): Item[] {
  const items: Item[] = [];
  for (let bytes = 0; bytes < maxBytes;) {
    const from = reader.offset;
    const item = reader.take();
    if (item === undefined) break;
    items.push({ item, from });
    bytes += item instanceof Gap ? 0 : item.byteLength;
  }
  return items;
}
