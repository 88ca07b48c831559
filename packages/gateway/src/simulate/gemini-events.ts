import {
  type ReplyEvents,
  type ReplyFormat,
  type SimulatedError,
  type SimulatedReply,
  unnamedEvent,
} from './reply-format.ts';
import { geminiRefusals } from './refusal-words.ts';

/** Gemini's generateContent: one candidate with one part of text. */
export const generateContent: ReplyFormat = {
  events,
  whole: (reply, text, tokens) => chunk(reply, text, tokens, 'STOP'),
  error,
  refusals: geminiRefusals,
  frame: unnamedEvent,
  recordedEnd: [],
};

function events(reply: SimulatedReply): ReplyEvents {
  let soFar = 0;
  return {
    first: () => '',
    token: (text) => {
      soFar += 1;
      return unnamedEvent(JSON.stringify(chunk(reply, text, soFar)));
    },
    // There is no marker: the reason is the last word.
    end: (_text, tokens) => [unnamedEvent(JSON.stringify(chunk(reply, '', tokens, 'STOP')))],
    error: (failure) => unnamedEvent(JSON.stringify(error(failure))),
  };
}

function chunk(
  { model, number }: SimulatedReply,
  text: string,
  tokens: number,
  finishReason?: string,
): object {
  return {
    candidates: [{ content: { parts: [{ text }], role: 'model' }, finishReason, index: 0 }],
    usageMetadata: { promptTokenCount: 1, candidatesTokenCount: tokens, totalTokenCount: tokens + 1 },
    modelVersion: model,
    responseId: `sim-${String(number).padStart(8, '0')}`,
  };
}

function error({ message, status, type }: SimulatedError): object {
  return { error: { code: status, message, status: type.toUpperCase() } };
}
