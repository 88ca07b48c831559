import type { Format, TokenUsage } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import { dataOf, eventsIn } from '@spillway/core/format/sse-events';

/** The runs at a stream's end among which its usage is: the end marker, and a comment, come after it. */
export const newestRuns = 4;

/** The usage that these events report, added to what was reported `before`. Each number is the last one that came. */
export function usageIn(
  runs: readonly EventRun[],
  format: Format,
  before?: TokenUsage,
): TokenUsage | undefined {
  let usage = before;
  for (const run of runs) {
    for (const span of eventsIn(run.bytes)) {
      const text = decoder.decode(dataOf(run.bytes, span));
      // In every format the field's name contains this word. The check saves most events a parse.
      const found = text.includes('usage') ? format.usage(parsed(text)) : undefined;
      if (found === undefined) continue;
      usage = {
        inputTokens: found.inputTokens ?? usage?.inputTokens,
        outputTokens: found.outputTokens ?? usage?.outputTokens,
      };
    }
  }
  return usage;
}

const decoder = new TextDecoder();

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}
