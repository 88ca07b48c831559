import type { ServerResponse } from 'node:http';
import {
  brotliCompressSync,
  constants,
  deflateRawSync,
  deflateSync,
  gzipSync,
  zstdCompressSync,
} from 'node:zlib';
import Anthropic from '@anthropic-ai/sdk';
import { GoogleGenAI } from '@google/genai';
import OpenAI from 'openai';

/** What a provider says instead of an answer. */
export interface Spelling {
  readonly name: string;
  readonly contentType: string | undefined;
  readonly body: Buffer | string;
  readonly encoding?: string;
  /** What of it a client has to be told when only an event can tell it; default: nothing that is known beforehand. */
  readonly words?: string;
}

const words = 'There is no such one, say we.';
const json = 'application/json';
const inError = JSON.stringify({ error: { message: words, type: 'x_error', code: 'x_code', param: null } });
const detail = JSON.stringify({ detail: words });

function quickBrotli(bytes: Buffer): Buffer {
  return brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 2 } });
}

function packed(name: string, pack: (bytes: Buffer) => Buffer, encoding = name): Spelling {
  return { name, contentType: json, body: pack(Buffer.from(detail)), encoding, words };
}

/** Text that hardly gets smaller: packed it is still larger than what is held of a refusal. */
function noise(bytes: number): string {
  let seed = 1;
  const next = (): number => (seed = (Math.imul(seed, 1_103_515_245) + 12_345) >>> 0);
  return Buffer.from(Array.from({ length: bytes }, () => next() >> 16)).toString('base64');
}

function packedLarge(
  name: string,
  pack: (bytes: Buffer) => Buffer,
  { detail: text, encoding = name }: { readonly detail: string; readonly encoding?: string },
): Spelling {
  const body = pack(Buffer.from(JSON.stringify({ detail: `${words} ${text}` })));
  return { name: `over 64 KiB in ${name}`, contentType: json, body, encoding, words };
}

/** How providers, and what stands in front of them, spell a refusal. */
export const spellings: readonly Spelling[] = [
  { name: 'error', contentType: json, body: inError, words },
  {
    name: "Anthropic's",
    contentType: json,
    body: JSON.stringify({ type: 'error', error: { type: 'invalid_request_error', message: words } }),
    words,
  },
  {
    name: "Gemini's",
    contentType: 'application/json; charset=UTF-8',
    body: JSON.stringify({ error: { code: 422, message: words, status: 'INVALID_ARGUMENT' } }, null, 2),
    words,
  },
  { name: 'error, a string', contentType: json, body: JSON.stringify({ error: words }), words },
  { name: 'detail', contentType: json, body: detail, words },
  {
    name: 'detail, a list',
    contentType: json,
    body: JSON.stringify({ detail: [{ loc: ['body', 'model'], msg: words, type: 'missing' }] }),
    words,
  },
  { name: 'message', contentType: json, body: JSON.stringify({ message: words }), words },
  {
    name: 'flat',
    contentType: json,
    body: JSON.stringify({ object: 'error', message: words, type: 'NotFoundError', param: null, code: 404 }),
    words,
  },
  {
    name: 'problem+json',
    contentType: 'application/problem+json',
    body: JSON.stringify({ type: 'about:blank', title: 'No such one', status: 422, detail: words }),
    words,
  },
  { name: 'plain text', contentType: 'text/plain; charset=utf-8', body: `${words}\nWörtlich.\n`, words },
  { name: 'HTML', contentType: 'text/html', body: `<html><h1>${words}</h1></html>\r\n`, words },
  { name: 'a list', contentType: json, body: `[${inError}]`, words },
  { name: 'a list of words', contentType: json, body: JSON.stringify([words]), words },
  { name: 'a JSON string', contentType: json, body: JSON.stringify(words), words },
  { name: 'an event stream', contentType: 'text/event-stream', body: `data: ${inError}\n\n`, words },
  { name: 'without a type', contentType: undefined, body: words, words },
  { name: 'nothing', contentType: undefined, body: '' },
  { name: 'over 64 KiB', contentType: json, body: JSON.stringify({ detail: words.repeat(9000) }), words },
  packed('gzip', gzipSync),
  packed('br', brotliCompressSync),
  packed('deflate', deflateSync),
  packed('deflate without a head', deflateRawSync, 'deflate'),
  packed('zstd', zstdCompressSync),
  packed('gzip in br', (bytes) => brotliCompressSync(gzipSync(bytes)), 'gzip, br'),
  packedLarge('gzip', gzipSync, { detail: noise(200_000) }),
  packedLarge('br', quickBrotli, { detail: noise(200_000) }),
  packedLarge('zstd', zstdCompressSync, { detail: noise(200_000) }),
  packedLarge('deflate', deflateSync, { detail: noise(200_000) }),
  packedLarge('gzip, br', (bytes) => quickBrotli(gzipSync(bytes)), { detail: noise(200_000) }),
  packedLarge('gzip, of a few bytes', gzipSync, { detail: words.repeat(60_000), encoding: 'gzip' }),
  { name: 'an unknown coding', contentType: 'text/plain', body: words, encoding: 'x-own' },
];

/** What stands beside a refusal: whose it is, and when to come again. */
export const hints: Readonly<Record<string, string>> = {
  'x-request-id': 'req-77',
  'request-id': 'req_77',
  'anthropic-ratelimit-requests-remaining': '0',
  'anthropic-ratelimit-tokens-reset': '2026-11-27T00:00:00Z',
  'x-ratelimit-limit-requests': '60',
  'x-ratelimit-reset-tokens': '6m0s',
  'retry-after': 'Fri, 27 Nov 2026 00:00:00 GMT',
  'retry-after-ms': '1.5',
  'x-should-retry': 'true',
  'www-authenticate': 'Bearer realm="there"',
  'x-whatever': 'a, b',
};

export function refuse(
  response: ServerResponse,
  { body, contentType, encoding }: Spelling,
  { status = 422, headers = {}, isChunked = false }: RefusalOptions = {},
): void {
  response.writeHead(status, 'Not Like This', {
    ...headers,
    ...(contentType === undefined ? {} : { 'content-type': contentType }),
    ...(encoding === undefined ? {} : { 'content-encoding': encoding }),
    ...(isChunked ? {} : { 'content-length': Buffer.byteLength(body) }),
  });
  response.end(body);
}

export interface RefusalOptions {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly isChunked?: boolean;
}

/** One official SDK's way to ask. Rejects as a user's own code would see it. */
export interface Asking {
  readonly name: string;
  readonly path: string;
  readonly body: string;
  /** What a provider's answer begins with, as events. */
  readonly firstEvent: string;
  ask(at: { url: string; name: string; maxRetries?: number | undefined }, stream: boolean): Promise<unknown>;
}

const user = { role: 'user', content: 'Hello' } as const;

async function all(events: AsyncIterable<unknown>): Promise<unknown[]> {
  const found: unknown[] = [];
  for await (const event of events) found.push(event);
  return found;
}

interface At {
  readonly url: string;
  readonly name: string;
  readonly maxRetries?: number | undefined;
}

function openai({ maxRetries, name, url }: At): OpenAI {
  return new OpenAI({
    baseURL: `${url}/v1`,
    apiKey: 'k',
    logLevel: 'off',
    defaultHeaders: { 'x-case': name },
    ...(maxRetries === undefined ? {} : { maxRetries }),
  });
}

function anthropic({ maxRetries, name, url }: At): Anthropic {
  return new Anthropic({
    baseURL: url,
    apiKey: 'k',
    logLevel: 'off',
    defaultHeaders: { 'x-case': name },
    ...(maxRetries === undefined ? {} : { maxRetries }),
  });
}

function gemini({ name, url }: At): GoogleGenAI {
  return new GoogleGenAI({
    vertexai: false,
    apiKey: 'k',
    httpOptions: { baseUrl: url, headers: { 'x-case': name } },
  });
}

/** With the SDKs as they are, but for where they send and how often. */
export const askings: readonly Asking[] = [
  {
    name: 'chat',
    path: '/v1/chat/completions',
    body: JSON.stringify({ model: 'm', messages: [user], stream: true }),
    firstEvent:
      'data: {"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"x"}}]}',
    async ask(at, stream) {
      const { completions } = openai(at).chat;
      if (!stream) return await completions.create({ model: 'm', messages: [user] });
      return await all(await completions.create({ model: 'm', messages: [user], stream }));
    },
  },
  {
    name: 'completions',
    path: '/v1/completions',
    body: JSON.stringify({ model: 'm', prompt: 'Hello', stream: true }),
    firstEvent: 'data: {"id":"c","object":"text_completion","choices":[{"index":0,"text":"x"}]}',
    async ask(at, stream) {
      const { completions } = openai(at);
      if (!stream) return await completions.create({ model: 'm', prompt: 'Hello' });
      return await all(await completions.create({ model: 'm', prompt: 'Hello', stream }));
    },
  },
  {
    name: 'responses',
    path: '/v1/responses',
    body: JSON.stringify({ model: 'm', input: 'Hello', stream: true }),
    firstEvent:
      'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":"x","sequence_number":1}',
    async ask(at, stream) {
      const { responses } = openai(at);
      if (!stream) return await responses.create({ model: 'm', input: 'Hello' });
      return await all(await responses.create({ model: 'm', input: 'Hello', stream }));
    },
  },
  {
    name: 'anthropic',
    path: '/v1/messages',
    body: JSON.stringify({ model: 'm', max_tokens: 9, messages: [user], stream: true }),
    firstEvent:
      'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}',
    async ask(at, stream) {
      const { messages } = anthropic(at);
      if (!stream) return await messages.create({ model: 'm', max_tokens: 9, messages: [user] });
      return await all(await messages.create({ model: 'm', max_tokens: 9, messages: [user], stream }));
    },
  },
  {
    name: 'gemini',
    path: '/v1beta/models/m:streamGenerateContent?alt=sse',
    body: '{"contents":[{"parts":[{"text":"Hello"}]}]}',
    firstEvent: 'data: {"candidates":[{"content":{"parts":[{"text":"x"}],"role":"model"},"index":0}]}',
    async ask(at, stream) {
      const { models } = gemini(at);
      if (!stream) return await models.generateContent({ model: 'm', contents: 'Hello' });
      const events = await all(await models.generateContentStream({ model: 'm', contents: 'Hello' }));
      // Its own copy of the headers is no part of what it read.
      return events.map((event) => ({ ...(event as object), sdkHttpResponse: undefined }));
    },
  },
];

/** Of one connection, or the gateway's own to say. */
const ownHeaders = new Set([
  'cache-control',
  'connection',
  'content-length',
  'date',
  'keep-alive',
  'transfer-encoding',
  'vary',
  'x-accel-buffering',
  'x-spillway-request-id',
]);

/** All that an SDK's user sees of an error. */
export function seen(error: unknown): Readonly<Record<string, unknown>> {
  if (!(error instanceof Error)) return { error };
  const { name, message, constructor } = error;
  const fields = error as unknown as Readonly<Record<string, unknown>>;
  const headers = fields['headers'] instanceof Headers ? fields['headers'] : new Headers();
  return {
    class: constructor.name,
    name,
    message,
    status: fields['status'],
    body: fields['error'],
    code: fields['code'],
    type: fields['type'],
    requestID: fields['requestID'],
    headers: Object.fromEntries([...headers].filter(([header]) => !ownHeaders.has(header))),
  };
}

/** An event stream that is whole, as HTTP says it. */
export function sendEvents(response: ServerResponse, body: string): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.end(body);
}
