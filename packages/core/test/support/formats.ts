import { anthropicMessages } from '../../src/format/anthropic-messages.ts';
import { conversation } from '../../src/format/conversation.ts';
import type { Format, FormatName } from '../../src/format/format.ts';
import { gemini } from '../../src/format/gemini.ts';
import { openaiChat } from '../../src/format/openai-chat.ts';
import { openaiCompletions } from '../../src/format/openai-completions.ts';
import { openaiResponses } from '../../src/format/openai-responses.ts';

export const formats: Readonly<Record<FormatName, Format>> = {
  'anthropic-messages': anthropicMessages,
  conversation,
  gemini,
  'openai-chat': openaiChat,
  'openai-completions': openaiCompletions,
  'openai-responses': openaiResponses,
};
