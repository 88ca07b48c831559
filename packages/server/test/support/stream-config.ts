import type { StreamsConfig } from '../../src/stream/streams.ts';

export const windowBytes = 65_536;

export const config: StreamsConfig = {
  detachGraceMs: 30_000,
  finishEvents: 100_000,
  finishMs: 60_000,
  idleTimeoutMs: 60_000,
  keepAliveMs: 15_000,
  maxDurationMs: 600_000,
  maxRetainedBytes: 16_777_216,
  maxStreams: 100,
  minBytesPerSecond: 100,
  pauseMs: 600_000,
  retainMs: 60_000,
  stallTimeoutMs: 30_000,
  waitTimeoutMs: 30_000,
  windowBytes,
};
