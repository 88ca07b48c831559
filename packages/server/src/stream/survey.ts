import { ofCauses, type StallCause } from './meter.ts';
import type { GatewayStream } from './stream.ts';

/**
 * Open streams, by phase. `draining`: the provider has finished, and a reader still has to get the rest, or reads it
 * again.
 */
export type OpenStreams = Readonly<
  Record<'draining' | 'opening' | 'paused' | 'streaming' | 'waiting', number>
>;

/** The state of all streams together at one moment. */
export interface Survey {
  readonly streams: OpenStreams;
  readonly readers: number;
  /** Readers for which more than half of their bound waits. */
  readonly laggingReaders: number;
  /** Readers that hold back their credit for longer than `stallTimeoutMs`. */
  readonly pausedReaders: number;
  /** The largest lags of any reader, in bytes and in milliseconds. `maxLagRatio`: in parts of that reader's bound. */
  readonly maxLagBytes: number;
  readonly maxLagMs: number;
  readonly maxLagRatio: number;
  /** The bytes that wait for the slowest reader of each stream, added up. */
  readonly waitingBytes: number;
  readonly heldBytes: number;
  /** How long the present stalls have lasted so far, by cause. */
  readonly stallMs: Readonly<Record<StallCause, number>>;
}

/** Where a stream that is open stands. */
export function placeOf({ end, isPaused, phase }: GatewayStream): keyof OpenStreams {
  if (end !== undefined) return 'draining';
  return isPaused ? 'paused' : phase;
}

/** Looks at every stream and reader once. Done only when asked, never on the path of a chunk. */
export function survey(all: Iterable<GatewayStream>, nowMs: number): Survey {
  const streams = { draining: 0, opening: 0, paused: 0, streaming: 0, waiting: 0 };
  const stallMs = ofCauses();
  let readers = 0;
  let laggingReaders = 0;
  let pausedReaders = 0;
  let maxLagBytes = 0;
  let maxLagMs = 0;
  let maxLagRatio = 0;
  let waitingBytes = 0;
  let heldBytes = 0;
  for (const stream of all) {
    heldBytes += stream.heldBytes;
    if (!stream.isLive) continue;
    if (stream.isOpen) streams[placeOf(stream)] += 1;
    const { cause: stallCause } = stream.stalls;
    if (stallCause !== undefined) stallMs[stallCause] += stream.stalls.lastingMs(nowMs);
    let slowestBytes = 0;
    for (const reader of stream.audience.readers) {
      readers += 1;
      if (reader.isPaused) pausedReaders += 1;
      const lagBytes = reader.waitingBytes;
      if (lagBytes === 0) continue;
      const ratio = lagBytes / reader.maxWaitingBytes;
      slowestBytes = Math.max(slowestBytes, lagBytes);
      maxLagMs = Math.max(maxLagMs, reader.waitingMs);
      maxLagRatio = Math.max(maxLagRatio, ratio);
      if (ratio > 0.5) laggingReaders += 1;
    }
    waitingBytes += slowestBytes;
    maxLagBytes = Math.max(maxLagBytes, slowestBytes);
  }
  return {
    streams,
    readers,
    laggingReaders,
    pausedReaders,
    maxLagBytes,
    maxLagMs,
    maxLagRatio,
    waitingBytes,
    heldBytes,
    stallMs,
  };
}
