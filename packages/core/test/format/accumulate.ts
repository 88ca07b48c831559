import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import { GoogleGenerativeAI } from '@google/generative-ai';
import OpenAI from 'openai';
import {
  aiSdkAnthropic,
  aiSdkGoogle,
  aiSdkOpenaiChat,
  aiSdkOpenaiCompatible,
  aiSdkOpenaiResponses,
} from './accumulate-ai-sdk.ts';
import { langchainOpenaiChat, langchainOpenaiResponses } from './accumulate-langchain.ts';
import { comparable, settled, thrown } from './comparable.ts';
import type { FormatName } from './fixtures.ts';
import {
  anthropicRules,
  geminiRules,
  nameParts,
  openaiChatRules,
  openaiCompletionsRules,
  openaiResponsesRules,
} from './join-rules.ts';
import { type JoinedEvents, joinEvents, type JoinRules, type NamedEvent, readWire } from './joined-events.ts';
import { type Replay, replayInMemory, type SseBody } from './replay.ts';

/**
 * Gives all that a user of one SDK has in hand when a stream is over, as plain data: the message, and
 * the error if it broke. Two streams that a user cannot tell apart at their ends give equal data.
 */
export type Accumulate = (sse: SseBody, replay?: Replay) => Promise<unknown>;

/** Every way in which the users of a format read it. */
export const accumulators: Record<FormatName, Record<string, Accumulate>> = {
  'openai-chat': {
    openaiChat,
    openaiChatChunks,
    aiSdkOpenaiChat,
    aiSdkOpenaiCompatible,
    langchainOpenaiChat,
    wire: wire(openaiChatRules),
  },
  'openai-responses': {
    openaiResponses,
    openaiResponsesEvents,
    aiSdkOpenaiResponses,
    langchainOpenaiResponses,
    wire: wire(openaiResponsesRules),
  },
  'openai-completions': { openaiCompletions, wire: wire(openaiCompletionsRules) },
  'anthropic-messages': {
    anthropicMessages,
    anthropicBetaMessages,
    anthropicEvents,
    aiSdkAnthropic,
    wire: wire(anthropicRules),
  },
  gemini: { geminiChunks, geminiChat, aiSdkGoogle, generativeAi, wire: wire(geminiRules, nameParts) },
};

const user = { role: 'user', content: 'hi' } as const;

/** `finalChatCompletion()`, and the last snapshot, which is what there is when the stream broke. */
async function openaiChat(sse: SseBody, replay: Replay = replayInMemory): Promise<unknown> {
  const stream = openai(sse, replay).chat.completions.stream({ model: 'm', messages: [user] });
  let snapshot: unknown;
  stream.on('chunk', (_, soFar) => (snapshot = soFar));
  const final = await settled(() => stream.finalChatCompletion());
  return { final, snapshot: comparable(snapshot) };
}

/** The chunks as the SDK's iterator gives them, put together by hand. */
function openaiChatChunks(sse: SseBody, replay: Replay = replayInMemory): Promise<unknown> {
  const open = (): Promise<AsyncIterable<unknown>> =>
    openai(sse, replay).chat.completions.create({ model: 'm', messages: [user], stream: true });
  return joined(open, openaiChatRules);
}

/** `finalResponse()`. */
function openaiResponses(sse: SseBody, replay: Replay = replayInMemory): Promise<unknown> {
  return settled(() => openai(sse, replay).responses.stream({ model: 'm', input: 'hi' }).finalResponse());
}

/** The events as the SDK's iterator gives them, put together by item and by part. */
function openaiResponsesEvents(sse: SseBody, replay: Replay = replayInMemory): Promise<unknown> {
  const open = (): Promise<AsyncIterable<unknown>> =>
    openai(sse, replay).responses.create({ model: 'm', input: 'hi', stream: true });
  return joined(open, openaiResponsesRules);
}

/** Legacy Completions: the SDK has no accumulator, so everybody writes this one. */
function openaiCompletions(sse: SseBody, replay: Replay = replayInMemory): Promise<unknown> {
  const open = (): Promise<AsyncIterable<unknown>> =>
    openai(sse, replay).completions.create({ model: 'm', prompt: 'hi', stream: true });
  return joined(open, openaiCompletionsRules);
}

/** `finalMessage()`, and the last snapshot, which is what there is when the stream broke. */
async function anthropicMessages(sse: SseBody, replay: Replay = replayInMemory): Promise<unknown> {
  const stream = anthropic(sse, replay).messages.stream({ model: 'm', max_tokens: 1, messages: [user] });
  let snapshot: unknown;
  stream.on('streamEvent', (_, soFar) => (snapshot = soFar));
  const final = await settled(() => stream.finalMessage());
  return { final, snapshot: comparable(snapshot) };
}

/** The beta namespace has an accumulator of its own, which knows more kinds of blocks. */
async function anthropicBetaMessages(sse: SseBody, replay: Replay = replayInMemory): Promise<unknown> {
  const stream = anthropic(sse, replay).beta.messages.stream({ model: 'm', max_tokens: 1, messages: [user] });
  let snapshot: unknown;
  stream.on('streamEvent', (_, soFar) => (snapshot = soFar));
  const final = await settled(() => stream.finalMessage());
  return { final, snapshot: comparable(snapshot) };
}

/** The events as the SDK's iterator gives them, put together by block. */
function anthropicEvents(sse: SseBody, replay: Replay = replayInMemory): Promise<unknown> {
  const open = (): Promise<AsyncIterable<unknown>> =>
    anthropic(sse, replay).messages.create({ model: 'm', max_tokens: 1, messages: [user], stream: true });
  return joined(open, anthropicRules);
}

/** The chunks of `generateContentStream`, put together by hand: the SDK has no accumulator. */
function geminiChunks(sse: SseBody, replay: Replay = replayInMemory): Promise<unknown> {
  const open = (): Promise<AsyncIterable<unknown>> =>
    genai(sse, replay).models.generateContentStream({ model: 'm', contents: 'hi' });
  return joined(open, geminiRules, (event) => nameParts({ ...event, data: withoutResponse(event.data) }));
}

/**
 * The history that `Chat` keeps, which it sends back with the next message. It has one content a chunk;
 * neighbours with nothing but text are joined here, since where the text is cut says nothing.
 */
async function geminiChat(sse: SseBody, replay: Replay = replayInMemory): Promise<unknown> {
  const chat = genai(sse, replay).chats.create({ model: 'm' });
  const end = await settled(async () => {
    for await (const chunk of await chat.sendMessageStream({ message: 'hi' })) void chunk;
  });
  return { end, history: joinContents(chat.getHistory()), curated: joinContents(chat.getHistory(true)) };
}

/**
 * The response that `@google/generative-ai` puts together, the SDK before `@google/genai`. It has one part a chunk; neighbours are
 * joined here, as above.
 */
function generativeAi(sse: SseBody, replay: Replay = replayInMemory): Promise<unknown> {
  const model = new GoogleGenerativeAI('k').getGenerativeModel({ model: 'm' });
  const { fetch } = globalThis;
  // It takes none as an option.
  globalThis.fetch = (input, init) => {
    globalThis.fetch = fetch;
    return replay(sse)(input, init);
  };
  return settled(async () => {
    const { candidates = [], ...rest } = await (await model.generateContentStream('hi')).response;
    const whole = candidates.map((candidate) => {
      const { content } = candidate as { content?: Content };
      return { ...candidate, ...(content === undefined ? {} : { content: joinContents([content]) }) };
    });
    return { ...rest, candidates: whole };
  });
}

function openai(sse: SseBody, replay: Replay): OpenAI {
  return new OpenAI({ apiKey: 'k', fetch: replay(sse), maxRetries: 0, logLevel: 'off' });
}

function anthropic(sse: SseBody, replay: Replay): Anthropic {
  return new Anthropic({ apiKey: 'k', fetch: replay(sse), maxRetries: 0, logLevel: 'off' });
}

function genai(sse: SseBody, replay: Replay): GoogleGenAI {
  return new GoogleGenAI({ apiKey: 'k', vertexai: false, httpOptions: { fetch: replay(sse) } });
}

/** What is on the wire, for those who use no SDK: also with the names of events and numbers as written. */
function wire(rules: JoinRules, prepare = (event: NamedEvent): NamedEvent => event): Accumulate {
  return (sse) => {
    const bytes = sse instanceof Uint8Array ? sse : Buffer.concat(sse);
    return Promise.resolve(joinEvents(readWire(bytes).map(prepare), rules));
  };
}

async function joined(
  open: () => Promise<AsyncIterable<unknown>>,
  rules: JoinRules,
  prepare = (event: NamedEvent): NamedEvent => event,
): Promise<{ events: JoinedEvents; end: unknown }> {
  const events: NamedEvent[] = [];
  let end: unknown = 'done';
  try {
    for await (const data of await open()) events.push(prepare({ name: undefined, data }));
  } catch (error) {
    end = thrown(error);
  }
  return { events: joinEvents(events, rules), end };
}

/** Every chunk carries the headers of the whole reply. */
function withoutResponse(chunk: unknown): unknown {
  const { sdkHttpResponse: _, ...rest } = chunk as Record<string, unknown>;
  return rest;
}

interface Content {
  role?: string;
  parts?: object[];
}

function joinContents(contents: readonly Content[]): Content[] {
  const all: Content[] = [];
  for (const { role, parts = [], ...rest } of contents) {
    const last = all.at(-1);
    const sameTurn = last !== undefined && last.role === role && Object.keys(rest).length === 0;
    if (sameTurn && parts.length > 0) last.parts = joinTexts([...(last.parts ?? []), ...parts]);
    else all.push({ ...(role === undefined ? {} : { role }), parts: joinTexts(parts), ...rest });
  }
  return all;
}

function joinTexts(parts: readonly object[]): object[] {
  const all: object[] = [];
  for (const part of parts) {
    const last = all.at(-1);
    if (last !== undefined && isPlainText(last) && isPlainText(part) && last.thought === part.thought) {
      all[all.length - 1] = { ...last, text: last.text + part.text };
    } else {
      all.push(part);
    }
  }
  return all;
}

function isPlainText(part: object): part is { text: string; thought?: boolean } {
  const keys = Object.keys(part).filter((key) => key !== 'thought');
  return keys.length === 1 && 'text' in part && typeof part.text === 'string';
}
