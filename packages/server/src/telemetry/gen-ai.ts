import type { FormatName, TokenUsage } from '@spillway/core/format/format';
import { dataOf, eventsIn } from '@spillway/core/format/sse-events';
import type { GatewayStream } from '../stream/stream.ts';

/** What OpenTelemetry's conventions for generative AI call what was asked for. */
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
 * What the provider said of the tokens that it used: in the last events of a stream, in every format. Those few are
 * the only ones that are ever parsed.
 */
export function lastUsage({ body }: GatewayStream): TokenUsage | undefined {
  if (body?.format === undefined) return undefined;
  const { format, log } = body;
  let usage: TokenUsage | undefined;
  for (const run of log.newest(2)) {
    for (const span of eventsIn(run.bytes)) {
      const text = new TextDecoder().decode(dataOf(run.bytes, span));
      // Every format has it in the name of the field; most events are spared to be parsed.
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
