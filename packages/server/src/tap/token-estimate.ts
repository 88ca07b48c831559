import { dataOf, eventsIn } from '@spillway/core/format/sse-events';
import { readJson } from './content/json-nodes.ts';
import { slotFinders } from './content/text-slots.ts';
import { tokensOf } from '../stream/meter.ts';
import type { StreamBody } from '../stream/stream-body.ts';

/** Of English text in UTF-8, and near it for most languages. */
const bytesPerToken = 4;
/** What is read of a stream: about 50 events, in at most a millisecond. A run that is larger costs up to four. */
const maxRuns = 64;
const maxSampleBytes = 16_384;
const maxRunBytes = 65_536;

/**
 * Estimates the tokens of an answer of so many `events` from the texts in its newest ones, as if all had as much. Without a
 * text to look at, each event counts as a token. `undefined`: the answer is no stream of events, or a conversation.
 */
export function estimateTokens(body: StreamBody | undefined, events: number): number | undefined {
  // Of what is spoken, the words are the least.
  if (body?.format === undefined || body.format.name === 'conversation') return undefined;
  const { format, log } = body;
  let sampledBytes = 0;
  let sampledEvents = 0;
  let textBytes = 0;
  for (const run of log.newest(maxRuns).toReversed()) {
    if (run.byteLength > maxRunBytes) continue;
    if (sampledBytes >= maxSampleBytes) break;
    sampledBytes += run.byteLength;
    sampledEvents += tokensOf(run);
    for (const span of eventsIn(run.bytes)) {
      const root = readJson(decoder.decode(dataOf(run.bytes, span)));
      if (root === undefined) continue;
      for (const { isText, node } of slotFinders[format.name](root))
        if (isText) textBytes += Buffer.byteLength(node.value);
    }
  }
  if (sampledEvents === 0) return events;
  return Math.ceil(((textBytes / bytesPerToken) * events) / sampledEvents);
}

const decoder = new TextDecoder();
