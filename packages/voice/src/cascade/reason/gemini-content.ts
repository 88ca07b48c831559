import { randomUUID } from 'node:crypto';
import { gemini } from '@spillway/core/format/gemini';
import { expectWhole } from '@spillway/core/invalid';
import { z } from 'zod';
import { geminiSchema } from '../../model/gemini-schema.ts';
import type { ModelTool } from '../../model/model-tool.ts';
import type { Reasoner, ReasonEvent, ReasonMessage } from '../reasoner.ts';
import { StageError } from '../stage-error.ts';
import { askStage } from '../stage-request.ts';
import { readAnswer } from './answer-payloads.ts';
import { argumentsOf, AskedTools } from './asked-tools.ts';
import { requestUrl, type TextModelOptions, who } from './text-model.ts';
import { ThoughtSignatures } from './thought-signatures.ts';
import { turnsOf, type Turn } from './turns.ts';

/** How a model of text is reached that speaks Gemini's API. */
export interface GeminiContentOptions extends TextModelOptions {
  /** The model, with or without `models/` in front: `gemini-3-flash-preview`. */
  readonly model: string;
  /**
   * The API's URL, with `http:` or `https:`, to which `/v1beta/models/{model}:streamGenerateContent` is added. Default:
   * `https://generativelanguage.googleapis.com`.
   */
  readonly url?: string;
  /** Sent as `x-goog-api-key`. Default: none. */
  readonly apiKey?: string;
  /**
   * The longest answer, in tokens of the model, its thoughts included; a longer one ends there, and counts as whole. 1 to
   * 1,000,000; default: the model's own.
   */
  readonly maxOutputTokens?: number;
}

/** What is read of an event. */
const chunkShape = z.object({
  candidates: z
    .array(
      z.object({
        index: z.number().default(0),
        content: z
          .object({
            parts: z
              .array(
                z.object({
                  text: z.string().nullish(),
                  thought: z.boolean().nullish(),
                  thoughtSignature: z.string().nullish(),
                  functionCall: z
                    .object({
                      id: z.string().nullish(),
                      name: z.string(),
                      args: z.record(z.string(), z.unknown()).nullish(),
                    })
                    .nullish(),
                }),
              )
              .default([]),
          })
          .nullish(),
        finishReason: z.string().nullish(),
      }),
    )
    .default([]),
  promptFeedback: z.object({ blockReason: z.string().nullish() }).nullish(),
});

/** The ends of an answer that is whole. All others say why it was cut. */
const wholeEnds = new Set(['FINISH_REASON_UNSPECIFIED', 'STOP', 'MAX_TOKENS']);

/** In front of the ids that are made here, because the API gave none. It is not told those. */
const ownIds = 'own-';

class GeminiContent implements Reasoner {
  readonly api = 'gemini-content';
  readonly #options: GeminiContentOptions;
  readonly #url: URL;
  readonly #signatures = new ThoughtSignatures();

  constructor(options: GeminiContentOptions) {
    const { maxOutputTokens, model, url = 'https://generativelanguage.googleapis.com' } = options;
    if (maxOutputTokens !== undefined) expectWhole('maxOutputTokens', maxOutputTokens, 1, 1_000_000);
    this.#options = options;
    const name = model.replace(/^models\//, '');
    this.#url = requestUrl(name, url, `/v1beta/models/${name}:streamGenerateContent`);
    this.#url.searchParams.set('alt', 'sse');
  }

  async *answer(
    messages: readonly ReasonMessage[],
    { signal, tools }: { readonly tools: readonly ModelTool[]; readonly signal: AbortSignal },
  ): AsyncGenerator<ReasonEvent> {
    const { apiKey, fetch: ask, headers = {}, maxEventBytes, maxOutputTokens } = this.#options;
    const { system, turns } = turnsOf(messages);
    const names = namesOf(messages);
    const response = await askStage({
      who,
      url: this.#url,
      headers: {
        ...headers,
        'content-type': 'application/json',
        ...(apiKey === undefined ? {} : { 'x-goog-api-key': apiKey }),
      },
      body: JSON.stringify({
        ...(system === undefined ? {} : { systemInstruction: { parts: [{ text: system }] } }),
        contents: turns.map((turn) => this.#content(turn, names)),
        ...(maxOutputTokens === undefined ? {} : { generationConfig: { maxOutputTokens } }),
        ...(tools.length === 0 ? {} : { tools: [{ functionDeclarations: tools.map(wireTool) }] }),
      }),
      signal,
      fetch: ask,
    });
    const calls = new AskedTools();
    for await (const { payload, usage } of readAnswer(response, {
      format: gemini,
      shape: chunkShape,
      maxEventBytes,
      signal,
    })) {
      if (usage !== undefined) yield { kind: 'used', usage };
      const candidate = payload.candidates.find(({ index }) => index === 0);
      for (const { functionCall, text, thought, thoughtSignature } of candidate?.content?.parts ?? []) {
        if (thought === true) continue;
        if (text) yield { kind: 'text', text };
        if (!functionCall) continue;
        const id = functionCall.id || `${ownIds}${randomUUID()}`;
        const input = JSON.stringify(functionCall.args ?? {});
        calls.take({ index: calls.size, id, name: functionCall.name, input });
        if (thoughtSignature) this.#signatures.keep(id, thoughtSignature);
      }
      throwIfCut(candidate?.finishReason, payload.promptFeedback?.blockReason);
    }
    for (const call of calls.whole()) yield { kind: 'toolCalled', ...call };
  }

  #content({ messages, role }: Turn, names: ReadonlyMap<string, string>): object {
    let isFirstCall = true;
    const parts = messages.flatMap((message): object[] => {
      if (message.role === 'tool') {
        const { callId, output } = message;
        const response = { output };
        return [{ functionResponse: { ...wireId(callId), name: names.get(callId) ?? '', response } }];
      }
      const text = message.text.trim() === '' ? [] : [{ text: message.text }];
      if (message.role !== 'assistant') return text;
      const calls = message.tools.map((tool) => {
        const thoughtSignature = this.#signatures.of(tool.callId, isFirstCall);
        isFirstCall = false;
        return {
          functionCall: { ...wireId(tool.callId), name: tool.name, args: argumentsOf(tool) },
          ...(thoughtSignature === undefined ? {} : { thoughtSignature }),
        };
      });
      return [...text, ...calls];
    });
    return { role: role === 'assistant' ? 'model' : 'user', parts };
  }
}

/** @throws {StageError} for an answer that a filter or a failure of the model has cut, and for a conversation that is not answered. */
function throwIfCut(finish: string | null | undefined, block: string | null | undefined): void {
  if (finish && !wholeEnds.has(finish))
    throw new StageError('lost', `${who} stopped in the middle of its answer${wordOf(finish)}.`);
  if (block) throw new StageError('refused', `${who} does not answer this conversation${wordOf(block)}.`);
}

/** A reason of the API, if it looks like one. */
function wordOf(reason: string): string {
  return /^[A-Z_]{1,64}$/.test(reason) ? ` (${reason})` : '';
}

/** The names of the tools that were asked for, by the ids of their calls: the API wants them with results. */
function namesOf(messages: readonly ReasonMessage[]): ReadonlyMap<string, string> {
  return new Map(
    messages.flatMap((message) =>
      message.role === 'assistant' ? message.tools.map(({ callId, name }) => [callId, name] as const) : [],
    ),
  );
}

function wireId(callId: string): { readonly id?: string } {
  return callId.startsWith(ownIds) ? {} : { id: callId };
}

/** The API refuses an object without properties: a tool without arguments has no schema. */
function wireTool({ description, name, parameters }: ModelTool): object {
  const { properties } = parameters;
  const hasArguments =
    typeof properties === 'object' && properties !== null && Object.keys(properties).length > 0;
  return { name, description, ...(hasArguments ? { parameters: geminiSchema(parameters) } : {}) };
}

/**
 * A model of text that speaks Gemini's API (`streamGenerateContent`): Google's own, or one of a gateway. The answer is streamed, and
 * read as the conversation takes it; thoughts are left out. A tool is asked for when the answer is whole, by an id that is made here
 * where the API gives none; its signature of a thought is given back to the model that made it. The API wants a human to speak
 * first and last: where none has, it is told that nothing was said.
 *
 * What goes wrong is a `StageError`: `unauthorized` (401, 403, or a key that is not valid), `rate_limited` (429, 503), `refused`
 * (another 4xx, or a conversation that a filter blocks), `unreachable` (5xx, or no connection), `lost` (an answer without its end,
 * with an error in it, or that was cut) and `bad_message`. No message has the key.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const reasoner = openGeminiContent({ apiKey, model: 'gemini-3-flash-preview' });
 * ```
 */
export function openGeminiContent(options: GeminiContentOptions): Reasoner {
  return new GeminiContent(options);
}
