import { closeOpenaiCompletions } from './close-openai-chat.ts';
import type { Format } from './format.ts';
import { listOf, objectOf } from './json-object.ts';
import { classifyUnnamed, openaiChat, openaiConstants, openaiTotals, openaiUsage } from './openai-chat.ts';
import { openaiErrorBody } from './openai-error.ts';

/** OpenAI's legacy Completions: events as in Chat Completions, with `choices[].text`. */
export const openaiCompletions: Format = {
  name: 'openai-completions',
  classify: classifyUnnamed,
  delta: {
    fields: {
      ...openaiConstants,
      // Log probabilities are not merged: some SDKs keep only those of the last event.
      choices: { only: { fields: { index: 'same', text: 'text', content_filter_results: 'same' } } },
      usage: openaiTotals,
    },
  },
  hasContent: (payload) =>
    listOf(objectOf(payload)['choices']).some((choice) => (objectOf(choice)['text'] ?? '') !== ''),
  usage: openaiUsage,
  errorBody: openaiErrorBody,
  errorEvent: openaiChat.errorEvent,
  close: closeOpenaiCompletions,
};
