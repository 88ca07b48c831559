import type { Timer } from '@spillway/core/clock';
import type { Refusal } from '@spillway/server/access/refusal';
import type { RedactionRule } from '@spillway/server/tap/content/redaction-rule';
import { redactionRules } from '@spillway/server/tap/content/redactor';
import { RecordTap, type TapLog } from '@spillway/server/tap/record-tap';
import type { SpillSink } from '@spillway/server/tap/sinks/spill-sink';
import type { TapSpill, TapState } from '@spillway/server/tap/tap-state';
import type { Tap, TappedStream } from '@spillway/server/stream/tap';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { ConfigError } from '../config/config-error.ts';
import type { TapSettings } from '../config/tap.ts';
import { openSink, type TapSink } from './open-sink.ts';
import { wants } from '../config/wants.ts';

/** How often the head of an audit log is written to the program's log, if it has moved. */
const headEveryMs = 60_000;
/** How long a stop waits for what a sink has not kept. */
const maxCloseMs = 5000;

export interface TapsOptions {
  readonly clock: ServerClock;
  readonly log: TapLog;
  /** Whether a stream is the gateway's own, such as the canary's. No tap writes it down. */
  readonly isOwn: (stream: TappedStream) => boolean;
}

interface OpenTap {
  readonly settings: TapSettings;
  readonly tap: RecordTap;
  readonly sink: TapSink;
}

/** The configured taps, and their sinks. */
export class Taps {
  readonly #taps: readonly OpenTap[];
  readonly #log: TapLog;
  readonly #timer: Timer;
  /** The heads that were logged last, by tap. */
  readonly #heads = new Map<string, string>();

  constructor(taps: readonly OpenTap[], { clock, log }: TapsOptions) {
    this.#taps = taps;
    this.#log = log;
    this.#timer = clock.every(headEveryMs, () => this.#logHeads());
    this.#logHeads();
  }

  get all(): readonly Tap[] {
    return this.#taps.map(({ tap }) => tap);
  }

  /** What the operator is told of each tap. */
  get status(): readonly TapState[] {
    return this.#taps.map(({ settings, sink, tap: { figures } }) => ({
      ...figures,
      lost: figures.lost + (sink.spill?.lostRecords ?? 0),
      to: settings.to,
      content: settings.content,
      gate: settings.gate,
      overflow: overflowOf(settings),
      durability: sink.sink.durability,
      head: sink.head,
      spill: sink.spill && spillOf(sink.spill, settings.maxSpillBytes, sink.isEngineUp === true),
    }));
  }

  /** A request was refused by the gateway itself. */
  refused(refusal: Refusal): void {
    for (const { tap } of this.#taps) tap.refused(refusal);
  }

  /** Writes down what waits, as far as each tap's deadline allows, and closes the sinks. Call it when no stream is live. */
  async close(): Promise<void> {
    this.#timer.stop();
    await Promise.all(
      this.#taps.map(async ({ settings, tap }) => {
        await tap.close(Math.min(settings.deadlineMs, maxCloseMs));
        const { records } = tap.figures.lag;
        if (records > 0)
          this.#log.error(
            { tap: settings.name, records },
            'a tap was closed with records that its sink has not kept',
          );
      }),
    );
    this.#logHeads();
  }

  /** Whoever keeps the log elsewhere can prove with it later that an audit log lacks nothing. */
  #logHeads(): void {
    for (const { settings, sink } of this.#taps) {
      if (sink.head === undefined) continue;
      const { count, hash, writer } = sink.head;
      if (count === 0 || this.#heads.get(settings.name) === hash) continue;
      this.#heads.set(settings.name, hash);
      this.#log.info({ tap: settings.name, writer, count, hash }, 'head of an audit log');
    }
  }
}

/**
 * Opens the sinks of all taps.
 *
 * @throws {ConfigError} for a sink that cannot be opened.
 */
export async function openTaps(settings: readonly TapSettings[], options: TapsOptions): Promise<Taps> {
  const taps: OpenTap[] = [];
  for (const tap of settings) {
    try {
      const sink = await openSink(tap, options.clock, options.log);
      taps.push({ settings: tap, sink, tap: recordTap(tap, sink, options) });
    } catch (error) {
      await Promise.all(taps.map((open) => open.sink.sink.close()));
      const reason = error instanceof Error ? error.message : String(error);
      throw new ConfigError(`tap ${tap.name}: expected to open ${tap.to}, got: ${reason}`, { cause: error });
    }
  }
  return new Taps(taps, options);
}

function spillOf(
  { spilledBytes, spilledRecords }: SpillSink,
  maxBytes: number,
  isEngineUp: boolean,
): TapSpill {
  return { records: spilledRecords, bytes: spilledBytes, maxBytes, isEngineUp };
}

function recordTap(settings: TapSettings, { sink }: TapSink, { clock, isOwn, log }: TapsOptions): RecordTap {
  const { content, deadlineMs, gate, maxRecordBytes, maxRecords, name, request } = settings;
  const { redact, refused, shed, shedAboveMs, shedBelowMs } = settings;
  return new RecordTap({
    name,
    sink,
    when: (stream) => !isOwn(stream) && isWanted(settings, stream),
    content,
    keepsRequest: request,
    keepsRefused: refused,
    redact: redact && rulesOf(redact),
    shed: shed && { aboveMs: shedAboveMs, belowMs: shedBelowMs, parts: shed },
    gate,
    overflow: overflowOf(settings),
    maxRecords,
    maxRecordBytes,
    deadlineMs,
    clock,
    log,
  });
}

/** In the order in which they hold back least. */
function rulesOf(names: NonNullable<TapSettings['redact']>): RedactionRule[] {
  return Object.values(redactionRules).filter((rule) => names.some((name) => redactionRules[name] === rule));
}

/** What a tap does that lags. Without a word about it, only one that must lose nothing makes others wait. */
function overflowOf({
  gate,
  lossless,
  overflow,
}: TapSettings): 'block' | 'coalesce' | 'drop-newest' | 'drop-oldest' {
  return overflow ?? (gate || lossless ? 'coalesce' : 'drop-oldest');
}

function isWanted(settings: TapSettings, { client, model = '', origin }: TappedStream): boolean {
  const { caller, tenant } = client;
  return wants(settings, { caller, model, provider: origin.name, tenant });
}
