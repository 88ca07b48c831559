import type { CutAnswer } from './format.ts';
import { isReasonValue, namedEvent } from './payloads.ts';
import { numberOf, objectOf } from './json-object.ts';

/**
 * Ends an answer of Messages: the blocks that are open, then `stop_reason: "max_tokens"` with the usage, then
 * `message_stop` with the reason. The block of a call is left open: readers run a call when its block is closed, and
 * take one without arguments for `{}`. Returns `undefined` for an answer that has not begun.
 */
export function closeAnthropicMessages({
  events,
  isFromStart,
  note,
  usage,
}: CutAnswer): Uint8Array | undefined {
  const open = new Map<unknown, boolean>();
  let hasBegun = !isFromStart;
  let hasReason = false;
  let inputTokens: number | undefined;
  let outputTokens: number | undefined;
  for (const event of events) {
    const { content_block: block, delta, index, message, type, usage: counted } = objectOf(event);
    const reported = objectOf(counted ?? objectOf(message)['usage']);
    inputTokens = numberOf(reported['input_tokens']) ?? inputTokens;
    outputTokens = numberOf(reported['output_tokens']) ?? outputTokens;
    if (type === 'message_start') hasBegun = true;
    else if (type === 'content_block_start') open.set(index, isCall(objectOf(block)['type']));
    else if (type === 'content_block_delta') {
      // Without its start, what a block is shows in its deltas.
      if (!open.has(index)) open.set(index, objectOf(delta)['type'] === 'input_json_delta');
    } else if (type === 'content_block_stop') open.delete(index);
    else if (type === 'message_delta') hasReason ||= isReasonValue(objectOf(delta)['stop_reason']);
  }
  if (!hasBegun) return undefined;
  // What was counted has the tokens of caches in it, which clients add. Without its start, an answer has told them its prompt.
  if (isFromStart) inputTokens ??= usage.inputTokens;
  const written = hasReason
    ? []
    : [
        ...[...open].flatMap(([index, isOfCall]) =>
          isOfCall ? [] : [{ type: 'content_block_stop', index }],
        ),
        {
          type: 'message_delta',
          delta: { stop_reason: 'max_tokens', stop_sequence: null },
          usage: {
            ...(inputTokens !== undefined && { input_tokens: inputTokens }),
            output_tokens: usage.outputTokens ?? outputTokens ?? 0,
          },
        },
      ];
  const all = [...written, { type: 'message_stop', spillway: note }];
  return new TextEncoder().encode(all.map(namedEvent).join(''));
}

/** Whether it is the kind of a block with an input: `tool_use`, `server_tool_use`, `mcp_tool_use`. */
function isCall(kind: unknown): boolean {
  return typeof kind === 'string' && kind.endsWith('tool_use');
}
