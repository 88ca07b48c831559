import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import { AnswerServer } from './answer-server.ts';

const words = z.string().refine((text) => text.trim() !== '', 'text content blocks must be non-empty');
const text = z.strictObject({ type: z.literal('text'), text: words });
const id = z.string().regex(/^[\w-]+$/u);
const userBlock = z.discriminatedUnion('type', [
  text,
  z.strictObject({ type: z.literal('tool_result'), tool_use_id: id, content: z.string() }),
]);
const assistantBlock = z.discriminatedUnion('type', [
  text,
  z.strictObject({
    type: z.literal('tool_use'),
    id,
    name: z.string().regex(/^[\w-]{1,64}$/u),
    input: z.record(z.string(), z.unknown()),
  }),
]);

/** What a request may have. */
const requestShape = z.strictObject({
  model: z.string().min(1),
  max_tokens: z.int().min(1),
  system: words.optional(),
  messages: z
    .array(
      z.discriminatedUnion('role', [
        z.strictObject({ role: z.literal('user'), content: z.array(userBlock).min(1) }),
        z.strictObject({ role: z.literal('assistant'), content: z.array(assistantBlock).min(1) }),
      ]),
    )
    .min(1),
  stream: z.literal(true),
  tools: z
    .array(
      z.strictObject({
        name: z.string().regex(/^[\w-]{1,64}$/u),
        description: z.string(),
        input_schema: z.looseObject({ type: z.literal('object') }),
      }),
    )
    .min(1)
    .optional(),
});

export type MessagesRequest = z.infer<typeof requestShape>;

/** A server of Anthropic's Messages. */
export function messagesServer(
  answer: (response: ServerResponse, request: MessagesRequest) => void,
): AnswerServer<MessagesRequest> {
  return new AnswerServer(
    {
      path: '/v1/messages',
      headersStatus: 401,
      refuseHeaders: (headers) => {
        if (headers['x-api-key'] !== 'sk-test') return `invalid x-api-key ${String(headers['x-api-key'])}`;
        return headers['anthropic-version'] === '2023-06-01'
          ? undefined
          : 'anthropic-version: header is required';
      },
      read: (body) => {
        const parsed = requestShape.safeParse(body);
        if (!parsed.success) return { wrong: parsed.error.message };
        const wrong = wrongIn(parsed.data);
        return wrong === undefined ? { request: parsed.data } : { wrong };
      },
      errorBody: (_status, message, isForHeaders) => ({
        type: 'error',
        error: { type: isForHeaders ? 'authentication_error' : 'invalid_request_error', message },
      }),
    },
    answer,
  );
}

/** What is wrong with the order of messages. */
function wrongIn({ messages, tools }: MessagesRequest): string | undefined {
  if (messages[0]?.role !== 'user') return 'first message must use the "user" role';
  if (messages.at(-1)?.role !== 'user') return 'This model does not support assistant message prefill.';
  let open: readonly string[] = [];
  for (const [at, { content, role }] of messages.entries()) {
    if (role === messages[at - 1]?.role) return 'roles must alternate between "user" and "assistant"';
    const results = content.flatMap((block) => (block.type === 'tool_result' ? [block.tool_use_id] : []));
    const first = content.slice(0, results.length);
    if (!first.every(({ type }) => type === 'tool_result')) return 'tool_result blocks must come first';
    if (results.toSorted().join() !== open.toSorted().join())
      return '`tool_use` ids were found without `tool_result` blocks immediately after';
    open = content.flatMap((block) => (block.type === 'tool_use' ? [block.id] : []));
    if (open.length > 0 && tools === undefined) return 'tool_use blocks need `tools`';
  }
  return undefined;
}

/** An event of an answer. */
export function event(type: string, fields: object = {}): string {
  return `event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`;
}

export const messageStart = event('message_start', {
  message: {
    id: 'msg_1',
    type: 'message',
    role: 'assistant',
    content: [],
    model: 'claude-haiku-4-5',
    stop_reason: null,
    usage: { input_tokens: 7, cache_read_input_tokens: 5, cache_creation_input_tokens: 0, output_tokens: 1 },
  },
});

/** A block of text, from its start to its end. */
export function textBlock(index: number, ...texts: readonly string[]): string {
  return [
    event('content_block_start', { index, content_block: { type: 'text', text: '' } }),
    ...texts.map((said) =>
      event('content_block_delta', { index, delta: { type: 'text_delta', text: said } }),
    ),
    event('content_block_stop', { index }),
  ].join('');
}

/** A block that asks for a tool. */
export function toolBlock(
  index: number,
  { id: callId, name }: { readonly id?: string; readonly name?: string },
  ...pieces: readonly string[]
): string {
  const block = { type: 'tool_use', id: callId, name, input: {} };
  return [
    event('content_block_start', { index, content_block: block }),
    ...pieces.map((piece) =>
      event('content_block_delta', { index, delta: { type: 'input_json_delta', partial_json: piece } }),
    ),
    event('content_block_stop', { index }),
  ].join('');
}

/** The end of an answer. */
export function messageEnd(stop: string, outputTokens = 34): string {
  const delta = { stop_reason: stop, stop_sequence: null };
  return `${event('message_delta', { delta, usage: { output_tokens: outputTokens } })}${event('message_stop')}`;
}
