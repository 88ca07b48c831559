import type { FormatName, TokenUsage } from '@spillway/core/format/format';
import type { GatewayStream } from '../stream/stream.ts';
import { newestUsage } from '../stream/newest-usage.ts';

/** The operation of each format, in OpenTelemetry's conventions for generative AI. */
const operations: Readonly<Record<FormatName, 'chat' | 'generate_content' | 'realtime' | 'text_completion'>> =
  {
    'anthropic-messages': 'chat',
    conversation: 'realtime',
    gemini: 'generate_content',
    'openai-chat': 'chat',
    'openai-completions': 'text_completion',
    'openai-responses': 'chat',
  };

export function operationOf(format: FormatName | undefined): string | undefined {
  return format === undefined ? undefined : operations[format];
}

/** The tokens that the provider says it used. Of a stream's events, only the last ones are parsed for it. */
export function lastUsage(stream: GatewayStream): TokenUsage | undefined {
  return newestUsage(stream);
}
