import { type EventRun, EventScanner } from '../../src/format/sse.ts';
import type { CutAnswer } from '../../src/format/format.ts';
import { payloadsOf } from '../../src/format/payloads.ts';
import { formats } from '../support/formats.ts';
import { type FormatName, toEvents, type WireEvent } from './fixtures.ts';

/** The reason that the closings of these tests carry. */
export const note = { reason: 'limit', limit: 'tokensPerDay', scope: 'tenant', resetMs: 3_600_000 };
export const usage = { inputTokens: 12, outputTokens: 34 };

/** A stream that is ended behind one of its events. */
export interface CutStream {
  readonly behind: number;
  /** Whether each choice that came had said why it ended. */
  readonly isOver: boolean;
  /** What came of it. */
  readonly runs: readonly EventRun[];
  /** The events that make a whole message of it; `undefined`: there is nothing to close. */
  readonly closing: Uint8Array | undefined;
}

/** The stream, cut behind each of its events as long as it goes on. */
export function* cutEverywhere(format: FormatName, events: readonly WireEvent[]): Generator<CutStream> {
  const scanner = new EventScanner({ classify: formats[format].classify });
  const runs: EventRun[] = [];
  for (const [at, event] of toEvents(format, events, true).entries()) {
    scanner.push(Buffer.from(event), (run) => runs.push(run));
    if (scanner.hasEnded || scanner.hasFailed) return;
    if (runs.some((run) => run.events > 0)) {
      const isOver = scanner.hasFinished;
      yield { behind: at + 1, isOver, runs: [...runs], closing: close(format, runs) };
    }
  }
}

export function close(
  format: FormatName,
  runs: readonly EventRun[],
  answer: Partial<CutAnswer> = {},
): Uint8Array | undefined {
  return formats[format].close({ events: payloadsOf(runs), isFromStart: true, note, usage, ...answer });
}

/** The bytes of an answer that was cut, as a reader gets them. */
export function bodyOf({ closing, runs }: CutStream): Uint8Array[] {
  return [...runs.map(({ bytes }) => bytes), ...(closing === undefined ? [] : [closing])];
}
