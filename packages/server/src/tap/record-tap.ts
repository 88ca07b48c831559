import type { Overflow, RecordSink } from '@spillway/core';
import type { Caller } from '../access/caller.ts';
import type { Refusal } from '../access/refusal.ts';
import { streamClient } from '../access/stream-client.ts';
import { tapUnavailable } from '../stream/tap-gates.ts';
import type { StreamTap, Tap, TappedStream } from '../stream/tap.ts';
import type { ServerClock } from '../time/server-clock.ts';
import type { ShedPart } from './content/shed-parts.ts';
import type { RedactionRule } from './content/redaction-rule.ts';
import { Room } from './room.ts';
import { type RecorderOptions, StreamRecorder } from './stream-recorder.ts';
import { TapWriter } from './tap-writer.ts';

/** The log of a tap, in pino's form. */
export interface TapLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}

/** When a tap leaves parts out, and which. */
export interface ShedOptions {
  readonly aboveMs: number;
  readonly belowMs: number;
  readonly parts: readonly ShedPart[];
}

export interface RecordTapOptions {
  /** The tap's name in logs, metrics and on the console. */
  readonly name: string;
  readonly sink: RecordSink;
  /** Whether the sink can be written to, as far as it is known without a write. Default: always. */
  readonly isReady?: (() => boolean) | undefined;
  /** Which streams are written down. Default: every one. */
  readonly when?: ((stream: TappedStream) => boolean) | undefined;
  /**
   * `full`: the answer's bytes, of a conversation all but its sound. `audio`: that, too. `text`: only what was said.
   * `usage`: nothing of the answer. Default: `full`.
   */
  readonly content?: 'audio' | 'full' | 'text' | 'usage';
  /** What is replaced in content, before anything is kept. Default: nothing. */
  readonly redact?: readonly RedactionRule[] | undefined;
  /**
   * Which parts are left out of records while the oldest thing that waits has waited for longer than `aboveMs`, until it
   * has for less than `belowMs`. Records say what they lack. Default: none.
   */
  readonly shed?: ShedOptions | undefined;
  /** Whether requests that the server itself refused are written down, too. Default: false. */
  readonly keepsRefused?: boolean;
  /** Whether the request's body is kept, too. It has the prompt. Default: false. */
  readonly keepsRequest?: boolean;
  /**
   * Whether readers get only what the sink has kept. A stream that cannot be kept then ends with `tap_unavailable`.
   * Default: false.
   */
  readonly gate?: boolean;
  /** What happens when the tap falls behind on a stream. Default: `coalesce`. */
  readonly overflow?: Overflow;
  /**
   * The chunks of one stream that may wait for the sink; merged ones count as one. Also the streams that are over and may
   * still wait for a sink that keeps nothing, of a tap that is not required. 1 or more. Default: 1000.
   */
  readonly maxRecords?: number;
  /**
   * How long the sink may keep nothing before streams that need the tap end, and the tap gives up streams that do not.
   * 100 or more. Default: 5000.
   */
  readonly deadlineMs?: number;
  /**
   * The least time from the beginning of a write to that of the next, in milliseconds: 0 or more. What comes meanwhile is
   * one write, and merged where it can be. A body that is no stream of events is written at once. Default: 10, and 0 with
   * a gate.
   */
  readonly everyMs?: number | undefined;
  /**
   * The bytes of content in one record, and in all of a body that is no stream of events. Beyond it, the record has the
   * size and the digest. Default: 1 MiB.
   */
  readonly maxRecordBytes?: number;
  readonly clock: ServerClock;
  readonly log: TapLog;
}

/**
 * Where no reader waits for a write, writes begin so far apart. Disks that take as long for a write are usual, so a
 * stream's room does for it.
 */
const defaultEveryMs = 10;

/** The bytes of bodies that may wait for a tap which makes no model wait: 16 MiB. */
const maxBodyBytes = 16_777_216;

/** The most bytes that a tap with a gate keeps back of a stream. Half of the smallest usual window. */
const maxGatedBytes = 32_768;

/** What a tap has done, for metrics and the console. Counts are since the start. */
export interface TapFigures {
  readonly name: string;
  readonly isUp: boolean;
  readonly lag: TapWriter['lag'];
  readonly records: number;
  readonly bytes: number;
  readonly writes: number;
  readonly failures: number;
  /** Chunks that are in a gap record, and ends of readers that were not written. */
  readonly lost: number;
  /** Places that were replaced by redaction. */
  readonly redacted: number;
  /** Whether parts are left out of records at the moment, because the tap lags. */
  readonly isShedding: boolean;
  /** The sum of how long the oldest record of each write had waited until it was kept. */
  readonly waitedMs: number;
}

/** Writes streams down: each of them becomes records, which go to a sink that all streams share. */
export class RecordTap implements Tap {
  readonly name: string;
  /** Whether streams end that cannot be kept: those of a tap that gates, or that makes the model wait. */
  readonly isRequired: boolean;
  readonly #when: (stream: TappedStream) => boolean;
  readonly #isReady: () => boolean;
  readonly #writer: TapWriter;
  readonly #recorded: RecorderOptions;
  /** The streams that it writes down and that are not over for everybody. */
  #streams = 0;
  #records = 0;
  #bytes = 0;
  #writes = 0;
  #failures = 0;
  #lost = 0;
  #redacted = 0;
  #waitedMs = 0;

  constructor(options: RecordTapOptions) {
    const {
      clock,
      gate = false,
      log,
      maxRecordBytes = 1_048_576,
      maxRecords = 1000,
      name,
      overflow = 'coalesce',
    } = options;
    const { deadlineMs = 5000, redact, shed, sink, when = () => true } = options;
    const { isReady = () => true } = options;
    this.name = name;
    this.isRequired = gate || overflow === 'coalesce' || overflow === 'block';
    this.#when = when;
    this.#isReady = isReady;
    this.#writer = new TapWriter({
      sink,
      clock,
      deadlineMs,
      everyMs: options.everyMs ?? (gate ? 0 : defaultEveryMs),
      shed,
      listener: {
        down: (error) => {
          log.error(
            { tap: name, reason: reasonOf(error) },
            'a tap is down: its sink does not keep what is written',
          );
        },
        failed: () => (this.#failures += 1),
        up: (downMs) => log.info({ tap: name, downMs: Math.round(downMs) }, 'a tap is up again'),
        kept: (records, bytes, waitedMs) => {
          this.#records += records;
          this.#bytes += bytes;
          this.#writes += 1;
          this.#waitedMs += waitedMs;
        },
      },
    });
    this.#recorded = {
      name,
      writer: this.#writer,
      content: options.content ?? 'full',
      keepsRequest: options.keepsRequest ?? false,
      keepsRefused: options.keepsRefused ?? false,
      maxRecordBytes,
      gates: gate,
      isRequired: this.isRequired,
      overflow,
      maxItems: maxRecords,
      room: new Room(maxRecords),
      bodyRoom: new Room(maxBodyBytes),
      clock,
      redact,
      shed: shed?.parts,
      // What is kept back holds back the readers of a gate, and what waits for them is bounded by their window.
      maxHeldBytes: gate ? Math.min(maxRecordBytes, maxGatedBytes) : maxRecordBytes,
      onForgotten: () => (this.#streams -= 1),
      onLost: (count) => (this.#lost += count),
      onRedacted: (count) => (this.#redacted += count),
    };
  }

  /** @throws {GatewayError} `tap_unavailable` for a stream that needs this tap while its sink is known to be down. */
  open(stream: TappedStream): StreamTap | undefined {
    if (!this.#when(stream)) return undefined;
    if (this.isRefusing) throw tapUnavailable(this.name);
    this.#streams += 1;
    return new StreamRecorder(stream, this.#recorded);
  }

  /** Whether a stream that it wants is refused at the moment. */
  get isRefusing(): boolean {
    return this.isRequired && !this.#isUp;
  }

  get #isUp(): boolean {
    return !this.#writer.isDown && this.#isReady();
  }

  /** Whether it has nothing to do: no stream that it writes down can be read any more, and all is kept. */
  get isIdle(): boolean {
    return this.#streams === 0 && this.#writer.lag.records === 0;
  }

  /**
   * Writes down a request that was refused before it had a stream, if the tap keeps such requests. Of those that wait to
   * be written, at most `maxRecords` are kept.
   */
  refused({ address, caller = nobody, error, headers, requestId }: Refusal): void {
    if (!this.#recorded.keepsRefused || requestId === undefined) return;
    const client = streamClient({ address, caller, headers });
    const stream: TappedStream = { ...noStream, id: requestId, requestId, client };
    if (!this.#when(stream)) return;
    const recorder = new StreamRecorder(stream, this.#recorded);
    if (recorder.takeRoom()) recorder.ended({ state: 'failed', error });
    else this.#lost += 1;
  }

  get figures(): TapFigures {
    return {
      name: this.name,
      isUp: this.#isUp,
      lag: this.#writer.lag,
      records: this.#records,
      bytes: this.#bytes,
      writes: this.#writes,
      failures: this.#failures,
      lost: this.#lost,
      redacted: this.#redacted,
      isShedding: this.#writer.isShedding,
      waitedMs: this.#waitedMs,
    };
  }

  /** Writes what waits, and closes the sink. What is not kept within `timeoutMs` is given up. */
  close(timeoutMs: number): Promise<void> {
    return this.#writer.close(timeoutMs);
  }
}

const nobody: Caller = { name: '', tenant: '', owner: undefined };
/** What a tap knows of a request that asked nobody. */
const noStream = {
  origin: { name: '', api: '' },
  model: undefined,
  upstreamRequestId: undefined,
  requestBody: undefined,
  events: 0,
  bytes: 0,
} as const;

/** Sinks write no text of records into their errors, so these can be logged. */
function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
