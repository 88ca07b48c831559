import { createDissect } from './delta-rule.ts';
import type { Format } from './format.ts';
import type { EventRun } from './sse.ts';
import { dataOf, eventsIn } from './sse-events.ts';
import { parsedJson } from './parsed-json.ts';

/** The longest text of an event that counts as one token: a long word. Most providers send a token an event. */
const maxTokenBytes = 16;
/** Of a longer text, so many bytes are a token: English has 4 to 5. */
const bytesPerToken = 4;

/**
 * Returns a function that estimates the tokens of an answer in a run of events: an event whose text is as long as a word
 * counts 1, a longer one its bytes divided by 4, and one that brings no part of the answer (a role, a ping, the usage) 0.
 * A part that is no text, such as a whole tool call, counts 1. Looks at every byte of the run.
 *
 * A pace needs the tokens of each event by itself; the estimate of limits, by the number and the bytes of events, is right for
 * the sum of many alone.
 */
export function createTokenEstimate({
  delta,
  hasContent,
}: Pick<Format, 'delta' | 'hasContent'>): (run: EventRun) => number {
  const dissect = createDissect(delta);
  const tokensIn = (data: Uint8Array): number => {
    const holes = dissect(data, 0, data.length);
    if (holes === undefined) return hasContent(parsedJson(data)) ? 1 : 0;
    let textBytes = 0;
    for (const { end, kind, start } of holes) if (kind === 'text') textBytes += end - start;
    if (textBytes > maxTokenBytes) return textBytes / bytesPerToken;
    return textBytes === 0 ? 0 : 1;
  };
  return ({ bytes, events }: EventRun): number => {
    if (events === 0) return 0;
    let tokens = 0;
    for (const span of eventsIn(bytes)) tokens += tokensIn(dataOf(bytes, span));
    return tokens;
  };
}
