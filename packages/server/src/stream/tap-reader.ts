import type { Gap, Reader, ReaderOptions } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { awaitsChunk } from './awaits-chunk.ts';
import type { StreamBody, StreamOutcome } from './stream-body.ts';
import { GatewayError } from '../errors.ts';
import type { EndedReader } from './ended-reader.ts';
import type { SentPart, StreamTap, Tap, TapGate } from './tap.ts';

/** A stream, as far as the tap's reader needs it. */
interface ReadByTap {
  /** The tap has finished with the stream. */
  tapDone(tap: TapReader): void;
  /** A tap that is required has failed. */
  tapFailed(tap: TapReader): void;
  defect(where: string, error: unknown): void;
}

/** One tap's cursor on one stream. */
export class TapReader {
  readonly name: string;
  readonly #isRequired: boolean;
  readonly #tap: StreamTap;
  readonly #stream: ReadByTap;
  #reader: Reader<EventRun | Gap> | undefined;
  #hasBegun = false;

  constructor(stream: ReadByTap, { isRequired = false, name }: Tap, tap: StreamTap) {
    this.#stream = stream;
    this.name = name;
    this.#isRequired = isRequired;
    this.#tap = tap;
  }

  /** Whether the model goes on for this tap alone. */
  get isAudience(): boolean {
    return this.#tap.isAudience === true;
  }

  /** How the tap holds back the stream's readers; `undefined`: it does not. */
  get gate(): TapGate | undefined {
    return this.#tap.gate;
  }

  /** The offset behind the last chunk that the tap has kept; `undefined`: it does not say. */
  get keptOffset(): number | undefined {
    return this.#tap.keptOffset;
  }

  /** The bytes that wait for this tap in the channel. */
  get waitingBytes(): number {
    return this.#reader?.waitingBytes ?? 0;
  }

  /** The bytes that one run of several events may have for this tap. */
  get maxRunBytes(): number {
    return this.#tap.maxBytes ?? Infinity;
  }

  /** Whether this tap has yet to take the chunk at `offset`. `oldestOffset`: the channel's oldest chunk. */
  awaits(offset: number, oldestOffset: number): boolean {
    return awaitsChunk(this.#reader, this.#tap.overflow, offset, oldestOffset);
  }

  /** The stream has a body, and no chunk has come yet. */
  begin(body: StreamBody): void {
    this.#hasBegun = true;
    void this.#read(body);
  }

  /** The provider is about to be asked. */
  asked(): void {
    this.#tell((tap) => tap.asked?.());
  }

  /** The stream is about to be cancelled. */
  cancelled(): void {
    this.#tell((tap) => tap.cancelled?.());
  }

  /** A limit ends the answer in its midst. */
  cut(): void {
    this.#tell((tap) => tap.cut?.());
  }

  /** A reader of the stream is gone. */
  readerEnded(reader: EndedReader): void {
    this.#tell((tap) => tap.readerEnded?.(reader));
  }

  /** The stream has ended, in one of its states. */
  ended(outcome: StreamOutcome): void {
    this.#tell((tap) => tap.ended?.(outcome));
    // The stream had no body.
    if (!this.#hasBegun) this.#stream.tapDone(this);
  }

  /** The process ends: the tap gets no more chunks. */
  detach(): void {
    this.#reader?.detach();
  }

  /** A request got a part of the stream. */
  partSent(part: SentPart): void {
    this.#tell((tap) => tap.partSent?.(part));
  }

  /** The stream is over for everybody. */
  forgotten(): void {
    this.#tell((tap) => tap.forgotten?.());
  }

  #tell(tell: (tap: StreamTap) => void): void {
    try {
      tell(this.#tap);
    } catch (error) {
      this.#stream.defect(`tap ${this.name}`, error);
    }
  }

  async #read(body: StreamBody): Promise<void> {
    const { log } = body;
    try {
      if (log.refresh !== undefined) await log.refresh();
      this.#reader = log.reader(this.#options(body));
      await this.#tap.read(this.#reader, body);
    } catch (error) {
      // A tap that hands on the stream's own error has no defect.
      const isOfStream = log.end !== undefined && 'error' in log.end && log.end.error === error;
      if (!isOfStream && !(error instanceof GatewayError)) this.#stream.defect(`tap ${this.name}`, error);
      if (this.#isRequired) this.#stream.tapFailed(this);
    }
    this.#reader?.detach();
    this.#stream.tapDone(this);
  }

  #options({ format, maxWaitingBytes }: StreamBody): ReaderOptions<EventRun> {
    const { maxBytes = maxWaitingBytes, maxItems, merges, overflow = 'coalesce' } = this.#tap;
    return {
      maxBytes: Math.min(maxBytes, maxWaitingBytes),
      ...(maxItems !== undefined && { maxItems }),
      ...(merges === true && format !== undefined && { merges }),
      // Bytes cannot be merged.
      overflow: overflow === 'coalesce' && format === undefined ? 'block' : overflow,
    };
  }
}
