import type { ModelUsage } from '../model/model-leg.ts';
import type { ModelTool } from '../model/model-tool.ts';

/** A tool that a model has asked for. `input`: the arguments, as JSON. */
export interface AskedTool {
  readonly callId: string;
  readonly name: string;
  readonly input: string;
}

/** A message of the conversation, as a model of text reads it. */
export type ReasonMessage =
  | { readonly role: 'system' | 'user'; readonly text: string }
  /** What was heard of an answer, and what it asked for. */
  | { readonly role: 'assistant'; readonly text: string; readonly tools: readonly AskedTool[] }
  | { readonly role: 'tool'; readonly callId: string; readonly output: string };

/** What comes of an answer. */
export type ReasonEvent =
  /** More of its words. */
  | { readonly kind: 'text'; readonly text: string }
  /** It asks for a tool, and its arguments are whole. */
  | ({ readonly kind: 'toolCalled' } & AskedTool)
  /** What it has used, in all. */
  | { readonly kind: 'used'; readonly usage: ModelUsage };

/**
 * Makes an answer in text.
 *
 * 1. Nothing is read ahead of who iterates, but what a socket holds: a conversation that is not heard holds the model back.
 * 2. It ends when the answer is whole. An answer that was cut throws a `StageError`; a limit of its length is no cut.
 * 3. An abort ends the request at once, and the iteration rejects with the signal's reason.
 */
export interface Reasoner {
  /** The API's name: `openai-chat`, `anthropic-messages`, `gemini-content`. */
  readonly api: string;
  answer(
    messages: readonly ReasonMessage[],
    options: { readonly tools: readonly ModelTool[]; readonly signal: AbortSignal },
  ): AsyncIterable<ReasonEvent>;
}
