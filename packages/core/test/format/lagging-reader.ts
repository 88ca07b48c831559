import fc from 'fast-check';
import { expect } from 'vitest';
import { createCoalesce } from '../../src/format/coalesce.ts';
import { type EventRun, EventScanner } from '../../src/format/sse.ts';
import { openChannel } from '../../src/index.ts';
import { formats } from '../support/formats.ts';
import { StrictMemory } from '../support/strict-memory.ts';
import type { FormatName } from './fixtures.ts';

/** How a reader lags: cuts of the provider's bytes, and between them how much it takes. */
export interface Lag {
  /** Sizes of the pieces that the provider's bytes come in, over and over. */
  readonly pieces: readonly number[];
  /** Chunks that are taken behind each piece, over and over. */
  readonly takes: readonly number[];
  readonly windowBytes: number;
}

/** Sends a stream through a channel to one reader that lags like this. Returns what it was sent. */
export function send(format: FormatName, bytes: Uint8Array, lag: Lag): Uint8Array {
  const channel = openChannel<EventRun>({
    maxBytes: lag.windowBytes,
    weigh: ({ byteLength }) => byteLength,
    merge: createCoalesce(formats[format].delta),
    maxMergedBytes: 65_536,
    memory: new StrictMemory<EventRun>(undefined, (run) => ({ ...run, bytes: new Uint8Array(run.bytes) })),
  });
  const reader = channel.reader({ overflow: 'coalesce' });
  const sent: Uint8Array[] = [];
  const take = (): boolean => {
    // What is there waited.
    void reader.ready();
    const run = reader.take();
    if (run === undefined) return false;
    expect(run.bytes.byteLength).toBe(run.byteLength);
    sent.push(run.bytes);
    return true;
  };
  const offer = (run: EventRun): void => {
    while (channel.offer(run) === 'full') expect(take()).toBe(true);
  };
  const scanner = new EventScanner({ classify: formats[format].classify });
  for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
    const size = lag.pieces[turn % lag.pieces.length] ?? 1;
    const piece = new Uint8Array(bytes.subarray(at, at + size));
    scanner.push(piece, offer);
    // It was only lent: the next read takes its place.
    piece.fill(0x78);
    at += size;
    for (let count = lag.takes[turn % lag.takes.length] ?? 0; count > 0 && take(); count -= 1);
  }
  scanner.end(offer);
  while (take());
  return Buffer.concat(sent);
}

export const lagsFully: Lag = { pieces: [200], takes: [0], windowBytes: 10_000_000 };
// With a window for one chunk, none ever waits beside another.
export const keepsUp: Lag = { pieces: [1000], takes: [1000], windowBytes: 1 };
export const lag: fc.Arbitrary<Lag> = fc.record({
  pieces: fc.array(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 6 }),
  takes: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 12 }),
  windowBytes: fc.integer({ min: 500, max: 50_000 }),
});
