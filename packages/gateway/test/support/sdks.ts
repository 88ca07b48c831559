import { createAnthropic } from '@ai-sdk/anthropic';
import { createGoogle } from '@ai-sdk/google';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import { ChatOpenAI } from '@langchain/openai';
import { generateText, type LanguageModel, streamText } from 'ai';
import OpenAI from 'openai';

/** One way in which users read a model, with nothing changed but the base URL. */
export interface Sdk {
  readonly name: string;
  readonly api: string;
  readonly format: string;
  /** The text of a streamed reply. Rejects as a user's own code would see it. */
  readonly stream: (at: Access, model: string) => Promise<string>;
  /** The text of a reply in one piece. */
  readonly generate: (at: Access, model: string) => Promise<string>;
}

/** A gateway, and the key to show it. */
export interface Access {
  readonly url: string;
  readonly apiKey: string;
}

// What a provider does not support of an option is no business of these tests.
globalThis.AI_SDK_LOG_WARNINGS = false;

const user = { role: 'user', content: 'Hello' } as const;

export function openaiSdk({ url, apiKey }: Access): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 0, logLevel: 'off' });
}

export function anthropicSdk({ url, apiKey }: Access): Anthropic {
  return new Anthropic({ baseURL: url, apiKey, maxRetries: 0, logLevel: 'off' });
}

export function geminiSdk({ url, apiKey }: Access): GoogleGenAI {
  return new GoogleGenAI({ vertexai: false, apiKey, httpOptions: { baseUrl: url } });
}

async function join<T>(
  events: AsyncIterable<T>,
  textOf: (event: T) => string | null | undefined,
): Promise<string> {
  let text = '';
  for await (const event of events) text += textOf(event) ?? '';
  return text;
}

const openaiChat: Sdk = {
  name: 'openai: Chat Completions',
  api: 'openai',
  format: 'openai-chat',
  async stream(at, model) {
    const { completions } = openaiSdk(at).chat;
    const events = await completions.create({ model, messages: [user], stream: true });
    return join(events, (event) => event.choices[0]?.delta.content);
  },
  async generate(at, model) {
    const reply = await openaiSdk(at).chat.completions.create({ model, messages: [user] });
    return reply.choices[0]?.message.content ?? '';
  },
};

const openaiResponses: Sdk = {
  name: 'openai: Responses',
  api: 'openai',
  format: 'openai-responses',
  async stream(at, model) {
    return (await openaiSdk(at).responses.stream({ model, input: 'Hello' }).finalResponse()).output_text;
  },
  async generate(at, model) {
    return (await openaiSdk(at).responses.create({ model, input: 'Hello' })).output_text;
  },
};

const openaiCompletions: Sdk = {
  name: 'openai: legacy Completions',
  api: 'openai',
  format: 'openai-completions',
  async stream(at, model) {
    const events = await openaiSdk(at).completions.create({ model, prompt: 'Hello', stream: true });
    return join(events, (event) => event.choices[0]?.text);
  },
  async generate(at, model) {
    return (await openaiSdk(at).completions.create({ model, prompt: 'Hello' })).choices[0]?.text ?? '';
  },
};

const anthropicMessages: Sdk = {
  name: '@anthropic-ai/sdk',
  api: 'anthropic',
  format: 'anthropic-messages',
  stream: (at, model) =>
    anthropicSdk(at)
      .messages.stream({ model, max_tokens: 100, messages: [user] })
      .finalText(),
  async generate(at, model) {
    const { content } = await anthropicSdk(at).messages.create({ model, max_tokens: 100, messages: [user] });
    return content[0]?.type === 'text' ? content[0].text : '';
  },
};

const googleGenai: Sdk = {
  name: '@google/genai',
  api: 'gemini',
  format: 'gemini',
  async stream(at, model) {
    const events = await geminiSdk(at).models.generateContentStream({ model, contents: 'Hello' });
    return join(events, (event) => event.text);
  },
  async generate(at, model) {
    return (await geminiSdk(at).models.generateContent({ model, contents: 'Hello' })).text ?? '';
  },
};

function aiSdk(
  name: string,
  api: string,
  format: string,
  open: (at: Access, model: string) => LanguageModel,
): Sdk {
  return {
    name,
    api,
    format,
    async stream(at, model) {
      const reply = streamText({
        model: open(at, model),
        prompt: 'Hello',
        maxRetries: 0,
        onError: () => undefined,
      });
      let text = '';
      for await (const part of reply.stream) {
        if (part.type === 'error') throw part.error;
        if (part.type === 'text-delta') text += part.text;
      }
      return text;
    },
    generate: async (at, model) =>
      (await generateText({ model: open(at, model), prompt: 'Hello', maxRetries: 0 })).text,
  };
}

function langchain(name: string, format: string, useResponsesApi: boolean): Sdk {
  const open = ({ apiKey, url }: Access, model: string): ChatOpenAI => {
    const configuration = { baseURL: `${url}/v1`, logLevel: 'off' } as const;
    return new ChatOpenAI({ model, apiKey, maxRetries: 0, useResponsesApi, configuration });
  };
  return {
    name,
    api: 'openai',
    format,
    stream: async (at, model) => join(await open(at, model).stream('Hello'), ({ text }) => text),
    generate: async (at, model) => (await open(at, model).invoke('Hello')).text,
  };
}

export const sdks: readonly Sdk[] = [
  openaiChat,
  openaiResponses,
  openaiCompletions,
  anthropicMessages,
  googleGenai,
  aiSdk('@ai-sdk/openai: chat', 'openai', 'openai-chat', ({ url, apiKey }, model) =>
    createOpenAI({ baseURL: `${url}/v1`, apiKey }).chat(model),
  ),
  aiSdk('@ai-sdk/openai: responses', 'openai', 'openai-responses', ({ url, apiKey }, model) =>
    createOpenAI({ baseURL: `${url}/v1`, apiKey }).responses(model),
  ),
  aiSdk('@ai-sdk/openai-compatible', 'openai', 'openai-chat', ({ url, apiKey }, model) =>
    createOpenAICompatible({ name: 'other', baseURL: `${url}/v1`, apiKey })(model),
  ),
  aiSdk('@ai-sdk/anthropic', 'anthropic', 'anthropic-messages', ({ url, apiKey }, model) =>
    createAnthropic({ baseURL: `${url}/v1`, apiKey })(model),
  ),
  aiSdk('@ai-sdk/google', 'gemini', 'gemini', ({ url, apiKey }, model) =>
    createGoogle({ baseURL: `${url}/v1beta`, apiKey })(model),
  ),
  langchain('@langchain/openai: chat', 'openai-chat', false),
  langchain('@langchain/openai: responses', 'openai-responses', true),
];
