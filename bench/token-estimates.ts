import { type EventRun, EventScanner } from '@spillway/core/format/sse';
import { createTokenEstimate } from '@spillway/core/format/token-estimate';
import { readRecordings, toSse } from '../packages/core/test/format/fixtures.ts';
import { formats } from '../packages/core/test/support/formats.ts';
import { answerTokens, largeEventTokens } from '../packages/gateway/src/limit/token-estimate.ts';

/** How often a stream is estimated to see what that costs. */
const rounds = 50;

/** An event with more bytes is looked at by itself. */
const largeBytes = 16_384;

/** Members of a usage that say how many of its tokens were thought, and not always sent. */
const reasoningMembers = new Set(['reasoning_tokens', 'thoughtsTokenCount']);

/**
 * Both estimates of tokens beside what the provider said, for each stream in the folder that `SPILLWAY_RECORDINGS` names:
 * by events and bytes, as limits count, and by text, as paces and taps do. With what each costs an event.
 */
export async function tokenEstimates(): Promise<void> {
  const streams = readRecordings();
  if (streams.length === 0) console.log('SPILLWAY_RECORDINGS names no folder with streams');
  for (const { events, format, name } of streams) {
    const { classify, usage } = formats[format];
    const runs: EventRun[] = [];
    const scanner = new EventScanner({ classify });
    scanner.push(toSse(format, events), (run) => runs.push({ ...run, bytes: run.bytes.slice() }), 1);
    // A file may have the next answer behind the end of the first.
    const count = runs.reduce((sum, run) => sum + run.events, 0);
    const payloads = events.slice(0, count).map((event): unknown => JSON.parse(event));
    const reported = payloads.findLast((payload) => usage(payload)?.outputTokens !== undefined);
    const tokens = usage(reported)?.outputTokens;
    if (tokens === undefined) continue;
    const bytes = runs.reduce((sum, run) => sum + run.byteLength, 0);
    const large = { events: 0, bytes: 0, tokens: 0 };
    for (const run of runs.filter(({ byteLength }) => byteLength > largeBytes)) {
      large.events += run.events;
      large.bytes += run.byteLength;
      large.tokens += largeEventTokens(format, run.bytes);
    }
    const byBytes = answerTokens(format, count, bytes, large);
    const estimate = createTokenEstimate(formats[format]);
    const byText = runs.reduce((sum, run) => sum + estimate(run), 0);
    const beganMs = performance.now();
    for (let round = 0; round < rounds; round += 1) for (const run of runs) estimate(run);
    const us = ((performance.now() - beganMs) / rounds / count) * 1000;
    const reasoning = Math.max(0, ...payloads.flatMap(reasoningIn));
    console.log(
      `${format.padEnd(18)} ${name.padEnd(28)} ${String(count).padStart(4)} events, ` +
        `${String(tokens).padStart(4)} tokens${reasoning > 0 ? `, ${reasoning} of reasoning` : ''}: ` +
        `by bytes ${written(byBytes, tokens)}, by text ${written(Math.ceil(byText), tokens)}, ${us.toFixed(1)} µs an event`,
    );
  }
}

function written(tokens: number, reported: number): string {
  const error = ((tokens - reported) / reported) * 100;
  return `${tokens} (${error > 0 ? '+' : ''}${error.toFixed(0)} %)`;
}

/** The numbers of tokens of reasoning anywhere in a payload. */
function reasoningIn(payload: unknown): number[] {
  const found: number[] = [];
  JSON.stringify(payload, (key, value: unknown) => {
    if (reasoningMembers.has(key) && typeof value === 'number') found.push(value);
    return value;
  });
  return found;
}
