import { describe, expect, inject, test } from 'vitest';
import { createCoalesce } from '../../src/format/coalesce.ts';
import type { EventRun } from '../../src/format/sse.ts';
import { mergePairs } from '../../src/merge.ts';
import { formats } from '../support/formats.ts';
import { type Accumulate, accumulators } from './accumulate.ts';
import { payloadsOf } from '../../src/format/payloads.ts';
import { bodyOf, close, type CutStream, cutEverywhere, note, usage } from './cut-stream.ts';
import {
  fixtures,
  type FormatName,
  formatNames,
  readRecordings,
  toEvents,
  type WireEvent,
} from './fixtures.ts';

const streams: readonly {
  readonly format: FormatName;
  readonly name: string;
  readonly events: readonly WireEvent[];
}[] = [
  ...formatNames.flatMap((format) => fixtures[format].map(({ events, name }) => ({ format, name, events }))),
  ...readRecordings().map(({ events, format, name }) => ({ format, name: `recorded ${name}`, events })),
];

/** What a user sees of an answer, in one SDK: its text, and why it ended. */
interface Seen {
  readonly text: unknown;
  readonly reasons: readonly unknown[];
}

/** The ways of reading that say both, each with how its result is looked at. The last says what a whole length is called. */
const views: Record<FormatName, Record<string, (result: unknown) => Seen>> = {
  'openai-chat': {
    openaiChat: (result) => {
      const { final, snapshot } = result as { final: ChatMessage; snapshot?: ChatMessage };
      const { choices = [] } = final.choices === undefined ? (snapshot ?? {}) : final;
      return {
        text: choices.map(({ message }) => message?.content ?? '').filter((text) => text !== ''),
        reasons: choices.map((choice) => choice.finish_reason),
      };
    },
    aiSdkOpenaiChat: aiSdk,
    aiSdkOpenaiCompatible: aiSdk,
  },
  'openai-completions': {},
  'openai-responses': {
    openaiResponses: (result) => {
      const { incomplete_details: details, output: all = [] } = result as ResponseMessage;
      // What a tool prints is there when it is whole.
      const output = all.filter(({ type }) => type !== 'shell_call_output');
      return {
        // Of log probabilities the SDK takes those alone that have bytes.
        text: JSON.parse(
          JSON.stringify(output, (key, value: unknown) =>
            key === 'logprobs' || key === 'status' ? undefined : value,
          ),
        ) as unknown,
        reasons: [details?.reason],
      };
    },
    aiSdkOpenaiResponses: aiSdk,
  },
  'anthropic-messages': {
    anthropicMessages: anthropicMessage,
    anthropicBetaMessages: anthropicMessage,
    aiSdkAnthropic: aiSdk,
  },
  gemini: { aiSdkGoogle: aiSdk },
};

const fullLength: Record<FormatName, readonly string[]> = {
  'openai-chat': ['length'],
  'openai-completions': ['length'],
  'openai-responses': ['max_output_tokens', 'length'],
  'anthropic-messages': ['max_tokens', 'length'],
  gemini: ['MAX_TOKENS', 'length'],
};

interface ChatMessage {
  readonly choices?: readonly {
    readonly finish_reason?: unknown;
    readonly message?: { readonly content?: unknown };
  }[];
}

interface ResponseMessage {
  readonly incomplete_details?: { readonly reason?: unknown } | null;
  readonly output?: readonly Record<string, unknown>[];
}

function anthropicMessage(result: unknown): Seen {
  const { final, snapshot } = result as { final: AnthropicMessage; snapshot?: AnthropicMessage };
  const { content = [], stop_reason: reason } = final.content === undefined ? (snapshot ?? {}) : final;
  return { text: content, reasons: [reason] };
}

interface AnthropicMessage {
  readonly content?: readonly unknown[];
  readonly stop_reason?: unknown;
}

function aiSdk(result: unknown): Seen {
  const { parts } = result as { parts: readonly Record<string, unknown>[] };
  const texts = parts.filter(({ type }) => type === 'text-delta' || type === 'reasoning-delta');
  return {
    text: texts.map(({ text }) => text).join(''),
    reasons: parts.flatMap(({ finishReason, type }) => (type === 'finish-step' ? [finishReason] : [])),
  };
}

/** All errors in a result, wherever they are. */
function errorsIn(result: unknown): string[] {
  if (Array.isArray(result)) return result.flatMap(errorsIn);
  if (typeof result !== 'object' || result === null) return [];
  return Object.entries(result).flatMap(([key, value]: [string, unknown]) => {
    const { message, name } =
      ((key === 'error' ? value : undefined) as { message?: unknown; name?: unknown } | undefined) ?? {};
    return typeof message === 'string' ? [`${String(name)}: ${message}`] : errorsIn(value);
  });
}

function textOf(bytes: Uint8Array | undefined): string {
  return Buffer.from(bytes ?? []).toString();
}

/** The payloads of the closing events, in order; the end marker as text. */
function payloadsIn(closing: Uint8Array | undefined): unknown[] {
  return textOf(closing)
    .split('\n')
    .filter((line) => line.startsWith('data: '))
    .map((line) => (line === 'data: [DONE]' ? '[DONE]' : (JSON.parse(line.slice(6)) as unknown)));
}

function cutsOf(format: FormatName, events: readonly WireEvent[]): CutStream[] {
  return [...cutEverywhere(format, events)];
}

/**
 * The cuts of which SDKs read the answer. In the midst of a long text each event is like the one before it: there every fifth. The
 * nightly takes them all, and what a closing is made of is looked at behind every event below.
 */
function readCuts(format: FormatName, events: readonly WireEvent[]): CutStream[] {
  const all = cutsOf(format, events);
  if (all.length <= 100 || inject('propertyRuns') !== undefined) return all;
  return all.filter((_, at) => at % 5 === 0 || at < 10 || at >= all.length - 10);
}

describe('promise 18: however an answer is cut, the SDKs make a whole message of it', () => {
  test.each(streams)(
    '$format: $name',
    async ({ events, format }) => {
      const cuts = readCuts(format, events);
      const ways = Object.entries(accumulators[format]).filter(([name]) => name !== 'wire');
      for (const [name, accumulate] of ways) {
        const uncut = await accumulate(Buffer.from(toEvents(format, events).join('')));
        const known = new Set(errorsIn(uncut));
        const view = views[format][name];
        // Those of which nothing more is asked than that they do not throw are asked less often of a long stream.
        const every = view === undefined && cuts.length > 40 ? 5 : 1;
        for (const cut of cuts.filter(({ behind }) => behind % every === 0)) {
          if (cut.closing === undefined) continue;
          const where = `${name}, behind event ${cut.behind}`;
          const result = await accumulate(bodyOf(cut));
          const errors = errorsIn(result);
          // What an SDK does not like of the provider's own events, it does not like here.
          expect(
            errors.filter((error) => !known.has(error)),
            where,
          ).toEqual([]);
          if (view === undefined) continue;
          const { reasons, text } = view(result);
          expect(text, where).toEqual(view(await accumulate(cut.runs.map(({ bytes }) => bytes))).text);
          if (errors.length > 0 || cut.isOver) continue;
          expect(reasons, where).not.toEqual([]);
          const allowed = [...fullLength[format], ...view(uncut).reasons];
          for (const reason of reasons) expect(allowed, where).toContain(reason);
          expect(
            reasons.some((reason) => fullLength[format].includes(String(reason))),
            where,
          ).toBe(true);
        }
      }
    },
    600_000,
  );
});

describe.each(streams)('promise 18: the closing of $format: $name', ({ events, format }) => {
  const cuts = cutsOf(format, events);

  test('says why in its last event, and ends what is open', () => {
    for (const { behind, closing, isOver } of cuts) {
      if (closing === undefined) continue;
      const payloads = payloadsIn(closing);
      const hasMarker = format === 'openai-chat' || format === 'openai-completions';
      expect(payloads.at(-1) === '[DONE]', `behind event ${behind}`).toBe(hasMarker);
      expect(payloads.at(hasMarker ? -2 : -1), `behind event ${behind}`).toMatchObject({ spillway: note });
      expect(textOf(closing).includes(`"${fullLength[format][0]}"`), `behind event ${behind}`).toBe(!isOver);
    }
  });

  test('closes what is open by the grammar, and leaves calls open', () => {
    if (format !== 'anthropic-messages' && format !== 'openai-responses') return;
    for (const { behind, closing, isOver, runs } of cuts) {
      if (closing === undefined || isOver) continue;
      const open = openIn([...payloadsOf(runs), ...payloadsIn(closing)]);
      expect(
        open.filter((kind) => !isCall(kind)),
        `behind event ${behind}`,
      ).toEqual([]);
      const openBefore = openIn(payloadsOf(runs)).filter(isCall);
      expect(open.filter(isCall), `behind event ${behind}`).toEqual(openBefore);
    }
  });

  test('is the same of what was merged while it waited', () => {
    const merge = createCoalesce(formats[format].delta);
    for (const { closing, runs } of cuts.filter((_, at) => at % 7 === 0 || at === cuts.length - 1)) {
      const merged: EventRun[] = mergePairs(runs, merge, () => true).map(({ chunk }) => chunk);
      expect(textOf(close(format, merged))).toBe(textOf(closing));
    }
  });
});

/** The kinds of all blocks, items and parts that have begun and not ended. */
function openIn(events: readonly unknown[]): string[] {
  const open = new Map<string, string>();
  for (const event of events) {
    const {
      content_block: block,
      content_index,
      index,
      item,
      output_index,
      part,
      summary_index,
      type,
    } = (event ?? {}) as Record<string, unknown>;
    const place = JSON.stringify([index, output_index, content_index, summary_index]);
    const [, step] = /(?:_|\.)(start|stop|added|done)$/.exec(String(type)) ?? [];
    const kind = ((block ?? item ?? part) as { type?: string } | undefined)?.type;
    if ((step === 'start' || step === 'added') && kind !== undefined) open.set(place, kind);
    else if (step === 'stop' || (step === 'done' && kind !== undefined)) open.delete(place);
  }
  return [...open.values()];
}

function isCall(kind: string): boolean {
  return /tool_use$|_call$|_output$|^mcp_/.test(kind);
}

test('promise 18: an answer that has not begun has no closing', () => {
  const ping = { bytes: Buffer.from('event: ping\ndata: {"type":"ping"}\n\n'), byteLength: 0, events: 1 };
  expect(close('anthropic-messages', [ping])).toBeUndefined();
  expect(close('openai-responses', [ping])).toBeUndefined();
});

test('of Gemini, usage that is its own keeps its details', () => {
  const usageMetadata = {
    promptTokenCount: 9,
    candidatesTokenCount: 8,
    totalTokenCount: 202,
    thoughtsTokenCount: 185,
  };
  const said = { candidates: [{ content: { parts: [{ text: 'x' }] }, index: 0 }], usageMetadata };
  const bytes = Buffer.from(`data: ${JSON.stringify(said)}\n\n`);
  const runs = [{ bytes, byteLength: bytes.length, events: 1 }];
  const own = close('gemini', runs, { usage: { inputTokens: 9, outputTokens: 193 } });
  expect(payloadsIn(own ?? bytes)).toMatchObject([{ usageMetadata }]);
  const counted = close('gemini', runs, { usage: { inputTokens: 9, outputTokens: 200 } });
  expect(payloadsIn(counted ?? bytes)).toMatchObject([{ usageMetadata: { totalTokenCount: 209 } }]);
});

describe('promise 18: a call that is cut keeps its arguments as they came', () => {
  /** The arguments of all calls in the events, by format. */
  const callStreams = streams.filter(({ events }) =>
    /tool_call|function_call|_tool_use|"tool_use"/.test(JSON.stringify(events)),
  );

  test.each(callStreams)('$format: $name', ({ events, format }) => {
    for (const { closing, runs } of cutEverywhere(format, events)) {
      if (closing === undefined || format === 'gemini') continue;
      const before = textOf(Buffer.concat(runs.map(({ bytes }) => bytes)));
      const added = payloadsIn(closing).flatMap((payload) => argumentsIn(payload, before));
      for (const text of added) expect(() => JSON.parse(text) as unknown, text).toThrow();
    }
  });
});

/** What a closing event adds to the arguments of calls, with those that it repeats left out. */
function argumentsIn(payload: unknown, before: string): string[] {
  if (typeof payload !== 'object' || payload === null) return [];
  return Object.entries(payload).flatMap(([key, value]: [string, unknown]) => {
    if (key === 'output' || key === 'item' || key === 'response') return [];
    if ((key === 'arguments' || key === 'partial_json' || key === 'delta') && typeof value === 'string') {
      return before.includes(value) && value.length > 1 ? [] : [value];
    }
    return argumentsIn(value, before);
  });
}

describe('promise 18: an answer whose start is not kept is whole all the same', () => {
  const all = streams.filter(({ name }) => !name.startsWith('recorded'));
  // LangChain takes nothing of a response that has no output, and the closing has none here.
  const ways = (format: FormatName): [string, Accumulate][] =>
    Object.entries(accumulators[format]).filter(
      ([name]) => !['wire', 'langchainOpenaiResponses'].includes(name),
    );

  test.each(all)(
    '$format: $name',
    async ({ events, format }) => {
      const { identity } = formats[format];
      const cuts = cutsOf(format, events).filter((_, at) => at % 5 === 4);
      for (const [name, accumulate] of ways(format)) {
        const known = new Set(errorsIn(await accumulate(Buffer.from(toEvents(format, events).join('')))));
        for (const { behind, runs } of cuts) {
          const where = `${name}, behind event ${behind}`;
          const [first] = payloadsOf(runs.filter((run) => run.events > 0));
          const kept = runs.slice(Math.floor(runs.length / 2));
          const closing = close(format, kept, { isFromStart: false, identity: identity?.(first) });
          if (closing === undefined) continue;
          const bytes = runs.map((run) => run.bytes);
          const result = await accumulate([...bytes, closing]);
          expect(
            errorsIn(result).filter((error) => !known.has(error)),
            where,
          ).toEqual([]);
          const view = views[format][name];
          expect(view?.(result).text, where).toEqual(view?.(await accumulate(bytes)).text);
        }
      }
    },
    60_000,
  );

  test('of Responses has no closing without its id', () => {
    const [fixture] = fixtures['openai-responses'];
    const runs = cutsOf('openai-responses', fixture?.events ?? []).at(-1)?.runs ?? [];
    expect(close('openai-responses', runs.slice(5), { isFromStart: false })).toBeUndefined();
  });
});

test('without a count, the usage is what the provider has said, or is left out', () => {
  const unknown = { inputTokens: undefined, outputTokens: undefined };
  for (const format of formatNames) {
    const [fixture] = fixtures[format];
    const runs = cutsOf(format, fixture?.events ?? [])[3]?.runs ?? [];
    const counted = textOf(close(format, runs));
    const uncounted = textOf(close(format, runs, { usage: unknown }));
    expect(counted).toContain(String(usage.outputTokens));
    expect(uncounted).not.toContain(String(usage.outputTokens));
  }
});
