import type { Format } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import { dataOf, eventsIn } from '@spillway/core/format/sse-events';
import { readJson } from '../tap/content/json-nodes.ts';
import { slotFinders } from '../tap/content/text-slots.ts';
import { tokensOf } from './meter.ts';

/** Of English text in UTF-8, and near it for most languages. */
const bytesPerToken = 4;
/** What is read of a stream: about 50 events, in at most a millisecond. A run that is larger costs up to four. */
const maxSampleBytes = 16_384;
const maxRunBytes = 65_536;

/**
 * Estimates the tokens of an answer from the texts in its newest events, as if all its events had as much. Without a text
 * to look at, each event counts as a token.
 *
 * @param newest The newest events that are still there, in order.
 * @param events The events of the whole answer.
 */
export function estimateTokens(newest: readonly EventRun[], events: number, { name }: Format): number {
  let sampledBytes = 0;
  let sampledEvents = 0;
  let textBytes = 0;
  for (const run of newest.toReversed()) {
    if (run.byteLength > maxRunBytes) continue;
    if (sampledBytes >= maxSampleBytes) break;
    sampledBytes += run.byteLength;
    sampledEvents += tokensOf(run);
    for (const span of eventsIn(run.bytes)) {
      const root = readJson(decoder.decode(dataOf(run.bytes, span)));
      if (root === undefined) continue;
      for (const { isText, node } of slotFinders[name](root))
        if (isText) textBytes += Buffer.byteLength(node.value);
    }
  }
  if (sampledEvents === 0) return events;
  return Math.ceil(((textBytes / bytesPerToken) * events) / sampledEvents);
}

const decoder = new TextDecoder();
