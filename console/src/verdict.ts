import type { Overview, StreamRow, Totals } from '../../packages/server/src/console/snapshot.ts';
import { countCauses, type StallCause } from './causes.ts';
import { bytesText, durationText, plural } from './units.ts';

/** How the gateway is, for somebody who has ten seconds. */
export interface Verdict {
  readonly level: 'bad' | 'ok' | 'warn';
  readonly sentence: string;
}

const failuresOverMs = 60_000;
// What a token may be late by the gateway's own fault before somebody should look.
const maxLoopDelayMs = 100;
const maxHeldRatio = 0.8;

export function judge({ totals, streams }: Overview, history: readonly Totals[]): Verdict {
  const troubles: { level: 'bad' | 'warn'; text: string }[] = [];
  const heldRatio = totals.heldLimitBytes === 0 ? 0 : totals.heldBytes / totals.heldLimitBytes;
  if (heldRatio > maxHeldRatio) {
    const text = `memory is ${Math.round(heldRatio * 100)} % of its budget of ${bytesText(totals.heldLimitBytes)}`;
    troubles.push({ level: 'bad', text });
  }
  const failed = failuresSince(history, totals);
  if (failed > 0) {
    troubles.push({ level: 'bad', text: `${plural(failed, 'stream')} failed in the last minute` });
  }
  if (totals.laggingReaders > 0) {
    const text = `${plural(totals.laggingReaders, 'reader')} ${totals.laggingReaders === 1 ? 'lags' : 'lag'}`;
    troubles.push({ level: 'warn', text: withCauses(text, laggingCauses(streams)) });
  }
  const stalled = stalledStreams(streams);
  if (stalled.length > 0) {
    const text = `${plural(stalled.length, 'model')} ${stalled.length === 1 ? 'is' : 'are'} made to wait`;
    // The causes are those of its readers, and already said.
    const said = withCauses(
      text,
      stalled.map(({ stallCause }) => stallCause),
    );
    troubles.push({ level: 'warn', text: totals.laggingReaders > 0 ? text : said });
  }
  if (totals.streams.waiting > 0) {
    const text = `${plural(totals.streams.waiting, 'request')} ${totals.streams.waiting === 1 ? 'waits' : 'wait'} for a free place`;
    troubles.push({ level: 'warn', text });
  }
  if (totals.loopDelayMs.p99 > maxLoopDelayMs) {
    const text = `the gateway itself is busy: its event loop is up to ${durationText(totals.loopDelayMs.p99)} late`;
    troubles.push({ level: 'bad', text });
  }
  if (troubles.length === 0) return { level: 'ok', sentence: calmSentence(totals) };
  const level = troubles.some((trouble) => trouble.level === 'bad') ? 'bad' : 'warn';
  const sentence = `${troubles.map(({ text }) => text).join('; ')}.`;
  return { level, sentence: sentence.charAt(0).toUpperCase() + sentence.slice(1) };
}

export function stalledStreams(streams: readonly StreamRow[]): readonly StreamRow[] {
  return streams.filter(({ stallCause }) => stallCause !== null);
}

function calmSentence(totals: Totals): string {
  const open = totals.streams.streaming + totals.streams.opening + totals.streams.paused;
  if (open === 0) return 'Nothing is wrong: no stream is open.';
  const what = `${plural(open, 'stream')}, ${plural(totals.readers, 'reader')}`;
  return `Nothing is wrong: ${what}, and nobody lags.`;
}

function failuresSince(history: readonly Totals[], totals: Totals): number {
  const before = history.find(({ atMs }) => atMs >= totals.atMs - failuresOverMs) ?? totals;
  return Math.max(0, totals.ended.failed - before.ended.failed);
}

/** Of the readers for whom more than half of what may wait does. */
function laggingCauses(streams: readonly StreamRow[]): readonly (StallCause | null)[] {
  return streams.flatMap(({ readers }) =>
    readers
      .filter(({ lagBytes, maxLagBytes }) => lagBytes * 2 > maxLagBytes)
      .map(({ isLost, waitsFor }) => (isLost ? 'connection_lost' : waitsFor)),
  );
}

function withCauses(text: string, found: readonly (StallCause | null)[]): string {
  return found.length === 0 ? text : `${text}: ${countCauses(found, 'catching up')}`;
}
