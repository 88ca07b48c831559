import type { FormatName, TokenUsage } from '@spillway/core/format/format';
import { dataOf, eventsIn } from '@spillway/core/format/sse-events';
import type { GatewayStream } from '../stream/stream.ts';

/** The operation of each format, in OpenTelemetry's conventions for generative AI. */
const operations: Readonly<Record<FormatName, 'chat' | 'generate_content' | 'text_completion'>> = {
  'anthropic-messages': 'chat',
  gemini: 'generate_content',
  'openai-chat': 'chat',
  'openai-completions': 'text_completion',
  'openai-responses': 'chat',
};

export function operationOf(format: FormatName | undefined): string | undefined {
  return format === undefined ? undefined : operations[format];
}

/**
 * The tokens that the provider says it used. In every format this is in a stream's last events, so only those are
 * parsed.
 */
export function lastUsage({ body }: GatewayStream): TokenUsage | undefined {
  if (body?.format === undefined) return undefined;
  const { format, log } = body;
  let usage: TokenUsage | undefined;
  for (const run of log.newest(2)) {
    for (const span of eventsIn(run.bytes)) {
      const text = new TextDecoder().decode(dataOf(run.bytes, span));
      // In every format the field's name contains this word. The check saves most events a parse.
      if (text.includes('usage')) usage = format.usage(parsed(text)) ?? usage;
    }
  }
  return usage;
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}
