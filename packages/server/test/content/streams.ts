import { createParser } from 'eventsource-parser';
import type { Format, FormatName } from '@spillway/core/format/format';
import { EventScanner, type EventRun } from '@spillway/core/format/sse';
import { formats } from '../../../core/test/support/formats.ts';
import type { ContentFilter, KeptContent } from '../../src/tap/content/content-filter.ts';

type Json = Record<string, unknown>;

/** What deltas add up to: an answer, or the arguments of a call. */
export type Kind = 'arguments' | 'text';

/** A stream with these deltas, as the provider of a format sends it; `undefined`: the format has no such deltas. */
export function streamOf(format: FormatName, kind: Kind, deltas: readonly string[]): string | undefined {
  const body = writers[format](kind, deltas);
  return body?.map((payload) => sse(format, payload)).join('');
}

/** What a stream's deltas add up to. */
export function saidIn(format: FormatName, kind: Kind, bytes: Uint8Array): string {
  return payloadsOf(bytes)
    .filter((data) => data !== '[DONE]')
    .map((data) => deltaOf(format, kind, JSON.parse(data) as Json))
    .join('');
}

/** The data of all events. */
export function payloadsOf(bytes: Uint8Array): string[] {
  const payloads: string[] = [];
  const parser = createParser({ onEvent: ({ data }) => payloads.push(data) });
  parser.feed(new TextDecoder().decode(bytes));
  return payloads;
}

/** The runs in which bytes arrive that are cut at these places. */
export function runsOf({ classify }: Format, bytes: Uint8Array, cuts: readonly number[]): EventRun[] {
  const runs: EventRun[] = [];
  const scanner = new EventScanner({ classify });
  const places = [0, ...cuts, bytes.length];
  for (const [index, end] of places.slice(1).entries())
    scanner.push(bytes.subarray(places[index], end), (run) => runs.push(run));
  scanner.end((run) => runs.push(run));
  return runs;
}

/** All that a filter keeps of runs. */
export function keep(
  filter: ContentFilter,
  runs: readonly EventRun[],
): Required<Omit<KeptContent, 'omittedBytes'>> & { readonly omittedBytes: number } {
  const kept = [...runs.map((run) => filter.take(run)), filter.flush()];
  const text: Record<string, string> = {};
  for (const part of kept)
    for (const [key, value] of Object.entries(part.text ?? {})) text[key] = (text[key] ?? '') + value;
  return {
    bytes: Buffer.concat(kept.map(({ bytes }) => bytes)),
    events: kept.reduce((sum, { events }) => sum + events, 0),
    text,
    redacted: kept.reduce((sum, { redacted }) => sum + redacted, 0),
    shed: [...new Set(kept.flatMap(({ shed }) => shed))],
    omittedBytes: kept.reduce((sum, { omittedBytes = 0 }) => sum + omittedBytes, 0),
  };
}

/** One event, as a run. */
export function runOf(text: string): EventRun {
  const bytes = Buffer.from(text);
  return { bytes, byteLength: bytes.length, events: 1 };
}

export const formatList = Object.values(formats);

function sse(format: FormatName, payload: Json | string): string {
  const lineEnd = format === 'gemini' ? '\r\n' : '\n';
  const hasName = format === 'openai-responses' || format === 'anthropic-messages';
  const name = hasName && typeof payload === 'object' ? `event: ${String(payload['type'])}${lineEnd}` : '';
  const data = typeof payload === 'string' ? payload : JSON.stringify(payload);
  return `${name}data: ${data}${lineEnd}${lineEnd}`;
}

const writers: Record<FormatName, (kind: Kind, deltas: readonly string[]) => (Json | string)[] | undefined> =
  {
    // Its texts are whole.
    conversation: () => undefined,
    'openai-chat': (kind, deltas) => {
      const chunk = (delta: Json, finish: string | null = null): Json => ({
        id: 'chatcmpl-1',
        object: 'chat.completion.chunk',
        created: 1_790_000_000,
        model: 'm',
        choices: [{ index: 0, delta, finish_reason: finish }],
      });
      const call = (text: string, more: Json = {}): Json => ({
        tool_calls: [
          {
            index: 0,
            ...more,
            function: { ...(more['id'] === undefined ? {} : { name: 'send' }), arguments: text },
          },
        ],
      });
      const first = kind === 'text' ? { content: '' } : call('', { id: 'call_1', type: 'function' });
      return [
        chunk({ role: 'assistant', ...first }),
        ...deltas.map((text) => chunk(kind === 'text' ? { content: text } : call(text))),
        chunk({}, kind === 'text' ? 'stop' : 'tool_calls'),
        { ...chunk({}), choices: [], usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } },
        '[DONE]',
      ];
    },
    'openai-completions': (kind, deltas) => {
      if (kind !== 'text') return undefined;
      const chunk = (text: string, finish: string | null = null): Json => ({
        id: 'cmpl-1',
        object: 'text_completion',
        created: 1_790_000_000,
        model: 'm',
        choices: [{ text, index: 0, logprobs: null, finish_reason: finish }],
      });
      return [...deltas.map((text) => chunk(text)), chunk('', 'stop'), '[DONE]'];
    },
    'openai-responses': (kind, deltas) => {
      const whole = deltas.join('');
      const place = { item_id: 'i_1', output_index: 0 };
      const response = {
        id: 'resp_1',
        object: 'response',
        status: 'in_progress',
        model: 'm',
        output: [] as Json[],
      };
      const part = (text: string): Json => ({ type: 'output_text', text, annotations: [] });
      const item =
        kind === 'text'
          ? { id: 'i_1', type: 'message', role: 'assistant', status: 'completed', content: [part(whole)] }
          : {
              id: 'i_1',
              type: 'function_call',
              call_id: 'c_1',
              name: 'send',
              status: 'completed',
              arguments: whole,
            };
      const begun = kind === 'text' ? { ...item, content: [] } : { ...item, arguments: '' };
      const type = kind === 'text' ? 'response.output_text' : 'response.function_call_arguments';
      const at = kind === 'text' ? { ...place, content_index: 0 } : place;
      const events: Json[] = [
        { type: 'response.created', response },
        { type: 'response.output_item.added', output_index: 0, item: begun },
        ...(kind === 'text' ? [{ type: 'response.content_part.added', ...at, part: part('') }] : []),
        ...deltas.map((delta) => ({ type: `${type}.delta`, ...at, delta })),
        {
          type: `${type}.done`,
          ...at,
          ...(kind === 'text' ? { text: whole } : { name: 'send', arguments: whole }),
        },
        ...(kind === 'text' ? [{ type: 'response.content_part.done', ...at, part: part(whole) }] : []),
        { type: 'response.output_item.done', output_index: 0, item },
        { type: 'response.completed', response: { ...response, status: 'completed', output: [item] } },
      ];
      return events.map((event, index) => ({ ...event, sequence_number: index }));
    },
    'anthropic-messages': (kind, deltas) => {
      const block =
        kind === 'text'
          ? { type: 'text', text: '' }
          : { type: 'tool_use', id: 'toolu_1', name: 'send', input: {} };
      const message = {
        id: 'msg_1',
        type: 'message',
        role: 'assistant',
        model: 'm',
        content: [],
        stop_reason: null,
        stop_sequence: null,
      };
      const delta = (text: string): Json =>
        kind === 'text' ? { type: 'text_delta', text } : { type: 'input_json_delta', partial_json: text };
      return [
        { type: 'message_start', message: { ...message, usage: { input_tokens: 1, output_tokens: 1 } } },
        { type: 'content_block_start', index: 0, content_block: block },
        ...deltas.map((text) => ({ type: 'content_block_delta', index: 0, delta: delta(text) })),
        { type: 'content_block_stop', index: 0 },
        {
          type: 'message_delta',
          delta: { stop_reason: 'end_turn', stop_sequence: null },
          usage: { output_tokens: 2 },
        },
        { type: 'message_stop' },
      ];
    },
    gemini: (kind, deltas) => {
      if (kind !== 'text') return undefined;
      const chunk = (text: string, more: Json = {}): Json => ({
        candidates: [{ content: { parts: [{ text }], role: 'model' }, index: 0, ...more }],
        usageMetadata: { promptTokenCount: 1, candidatesTokenCount: 2, totalTokenCount: 3 },
        modelVersion: 'm',
        responseId: 'r',
      });
      return [...deltas.map((text) => chunk(text)), chunk('', { finishReason: 'STOP' })];
    },
  };

function deltaOf(format: FormatName, kind: Kind, payload: Json): string {
  const all = {
    'openai-chat':
      kind === 'text' ? 'choices.0.delta.content' : 'choices.0.delta.tool_calls.0.function.arguments',
    'openai-completions': 'choices.0.text',
    'openai-responses': 'delta',
    'anthropic-messages': kind === 'text' ? 'delta.text' : 'delta.partial_json',
    gemini: 'candidates.0.content.parts.0.text',
    conversation: 'text',
  };
  let value: unknown = payload;
  for (const key of all[format].split('.'))
    value = typeof value === 'object' && value !== null ? (value as Json)[key] : undefined;
  return typeof value === 'string' ? value : '';
}
