import type { Format, TokenUsage } from '@spillway/core/format/format';
import { objectOf } from '@spillway/core/format/json-object';
import { parsedJson } from '@spillway/core/format/parsed-json';
import { payloadsOf } from '@spillway/core/format/payloads';
import type { EventRun } from '@spillway/core/format/sse';
import { dataOf, type EventSpan, eventsIn } from '@spillway/core/format/sse-events';
import type { StreamBody } from './stream-body.ts';

/** The runs at a stream's end among which its usage is: the end marker, and a comment, come after it. */
const newestRuns = 4;
/** What is parsed of the newest run in the midst of an answer: who reports running totals has one in each event, or nearly. */
const runningEvents = 4;
const maxRunningBytes = 65_536;

/** A stream, as far as it reports usage. */
interface ReportingStream {
  readonly body: StreamBody | undefined;
  /** What was reported before. */
  readonly reported: TokenUsage | undefined;
  readonly limits: { readonly cut: unknown } | undefined;
  /** What came in large events. */
  readonly large: { readonly tokens: number };
}

/**
 * The usage that a stream's newest events report, added to what was reported before. Each number is the last one that
 * came. Of an answer that is no stream of events, it is what was reported before; of one that a limit cuts, what was
 * reported until then: the events that close it are not the provider's, and what they say of tokens is an estimate. That an
 * answer has 0 tokens of which something came is no report.
 */
export function newestUsage({ body, large, limits, reported }: ReportingStream): TokenUsage | undefined {
  if (body?.format === undefined || limits?.cut !== undefined) return reported;
  const { format, log } = body;
  const usage = usageIn(log.newest(newestRuns), format, reported);
  // Once it was believed, it stays: what came may be dropped since.
  if (usage?.outputTokens !== 0 || reported?.outputTokens === 0) return usage;
  const hasSome = large.tokens > 0 || hasContent(log, format);
  return hasSome ? { inputTokens: usage.inputTokens, outputTokens: undefined } : usage;
}

/** Whether something of the answer itself came. What has begun so long ago that its start is not kept has said something. */
function hasContent(log: StreamBody['log'], { hasContent: isContent }: Format): boolean {
  if (log.oldestOffset > 0) return true;
  return log.newest(Infinity).some((run) =>
    payloadsOf([run]).some(
      // The last event of Responses has all of the answer in it once more, or for the first time.
      (payload) => isContent(payload) || isContent(objectOf(payload)['response']),
    ),
  );
}

/**
 * The usage of the prompt in a stream's first events: Anthropic reports it there, and nowhere else. What is said there of
 * the answer is no total.
 */
export function promptUsage(first: EventRun, format: Format | undefined): TokenUsage | undefined {
  const inputTokens = format && usageIn([first], format, undefined)?.inputTokens;
  return inputTokens === undefined ? undefined : { inputTokens, outputTokens: undefined };
}

/**
 * The usage that a stream's newest events report in its midst: running totals, which some providers have in each event.
 * `undefined`: they have none, or the answer is no stream of events that the gateway knows. It costs a few events' parse, so it
 * is not for each chunk.
 */
export function runningUsage(body: StreamBody | undefined): TokenUsage | undefined {
  if (body?.format === undefined) return undefined;
  const [run] = body.log.newest(1);
  if (run === undefined || run.byteLength > maxRunningBytes) return undefined;
  for (const span of eventsIn(run.bytes).slice(-runningEvents).toReversed()) {
    const usage = usageAt(run, span, body.format);
    if (usage !== undefined) return usage;
  }
  return undefined;
}

function usageIn(
  runs: readonly EventRun[],
  format: Format,
  before: TokenUsage | undefined,
): TokenUsage | undefined {
  let usage = before;
  for (const run of runs) {
    for (const span of eventsIn(run.bytes)) {
      const found = usageAt(run, span, format);
      if (found === undefined) continue;
      usage = {
        inputTokens: found.inputTokens ?? usage?.inputTokens,
        outputTokens: found.outputTokens ?? usage?.outputTokens,
      };
    }
  }
  return usage;
}

function usageAt(run: EventRun, span: EventSpan, format: Format): TokenUsage | undefined {
  const text = decoder.decode(dataOf(run.bytes, span));
  // In every format the field's name contains this word. The check saves most events a parse.
  return text.includes('usage') ? format.usage(parsedJson(text)) : undefined;
}

const decoder = new TextDecoder();
