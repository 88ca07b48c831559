import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { onTestFinished } from 'vitest';
import { apiKey } from './signed-line.ts';

/** A request for an answer in text. */
interface AskedAnswer {
  readonly model: string;
  readonly messages: readonly { readonly role: string; readonly content: string }[];
  /** How much of the answer was written, in bytes, and whether whoever asked has left before its end. */
  written: number;
  isLeft: boolean;
}

export interface CascadeProvider {
  /** Its base URL, as `upstream` has it. */
  readonly url: string;
  readonly asked: readonly AskedAnswer[];
  /** What was to be spoken, in order. */
  readonly spoken: readonly string[];
  /** What has been transcribed, in bytes of a WAV file each. */
  readonly transcribed: readonly number[];
}

export interface CascadeProviderOptions {
  /** What an answer says, word by word. */
  readonly answer?: string;
  /** What the caller has said, whatever comes. */
  readonly heard?: string;
  readonly usage?: { readonly prompt_tokens: number; readonly completion_tokens: number };
  /** Bytes of padding in each event: who does not read holds back a long answer. */
  readonly padding?: number;
  /** The status of answers in text. */
  readonly status?: number;
}

/**
 * A provider with the three APIs of OpenAI that a cascade needs. It refuses what the real one refuses: another path, no key,
 * fields that are missing.
 */
export async function startCascadeProvider(options: CascadeProviderOptions = {}): Promise<CascadeProvider> {
  const asked: AskedAnswer[] = [];
  const spoken: string[] = [];
  const transcribed: number[] = [];
  const server = createServer((request, response) => {
    void answer(request, response).catch(() => response.destroy());
  });
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (request.headers.authorization !== `Bearer ${apiKey}`) {
      refuse(response, 401, 'Incorrect API key provided.');
      return;
    }
    if (request.method === 'POST' && request.url === '/v1/chat/completions')
      await chat(JSON.parse(await text(request)) as AskedAnswer, response, options, asked);
    else if (request.method === 'POST' && request.url === '/v1/audio/speech')
      speak(JSON.parse(await text(request)) as Record<string, unknown>, response, spoken);
    else if (request.method === 'POST' && request.url === '/v1/audio/transcriptions')
      await transcribe(request, response, options, transcribed);
    else refuse(response, 404, `Invalid URL (${request.method} ${request.url})`);
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`, asked, spoken, transcribed };
}

async function chat(
  body: AskedAnswer,
  response: ServerResponse,
  { answer = 'It is open. Come in.', padding = 0, status = 200, usage }: CascadeProviderOptions,
  asked: AskedAnswer[],
): Promise<void> {
  const current = { ...body, written: 0, isLeft: false };
  asked.push(current);
  if (status !== 200) {
    refuse(response, status, 'Not now.');
    return;
  }
  if (!Array.isArray(body.messages) || typeof body.model !== 'string') {
    refuse(response, 400, 'Missing required parameter.');
    return;
  }
  let goOn = (): void => undefined;
  response.on('drain', () => goOn());
  response.on('close', () => {
    current.isLeft = !response.writableFinished;
    goOn();
  });
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const send = async (event: object | string): Promise<void> => {
    const data = `data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`;
    current.written += data.length;
    if (!response.write(data) && !response.destroyed) await new Promise<void>((resolve) => (goOn = resolve));
  };
  for (const content of answer.match(/\S+\s*/g) ?? []) {
    if (response.destroyed) return;
    const chunk = { id: 'c', object: 'chat.completion.chunk', model: body.model, pad: 'x'.repeat(padding) };
    await send({ ...chunk, choices: [{ index: 0, delta: { content }, finish_reason: null }] });
  }
  await send({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
  if (usage !== undefined) await send({ choices: [], usage });
  await send('[DONE]');
  response.end();
}

/** Speech of 65 ms a character: a tone, at 24,000 samples a second. */
function speak(body: Record<string, unknown>, response: ServerResponse, spoken: string[]): void {
  const { input, model, response_format: format, voice } = body;
  if (typeof input !== 'string' || typeof model !== 'string' || typeof voice !== 'string') {
    refuse(response, 400, 'Missing required parameter.');
    return;
  }
  if (format !== 'pcm') {
    refuse(response, 400, `expected pcm, got ${JSON.stringify(format)}`);
    return;
  }
  spoken.push(input);
  const samples = new Int16Array(24 * 65 * input.length);
  for (let at = 0; at < samples.length; at += 1) samples[at] = 6000 * Math.sin(at / 10);
  response.writeHead(200, { 'content-type': 'audio/pcm' });
  response.end(Buffer.from(samples.buffer));
}

async function transcribe(
  request: IncomingMessage,
  response: ServerResponse,
  { heard = 'When are you open?' }: CascadeProviderOptions,
  transcribed: number[],
): Promise<void> {
  const type = request.headers['content-type'] ?? '';
  const form = await new Response(request as unknown as ReadableStream, {
    headers: { 'content-type': type },
  }).formData();
  const file = form.get('file');
  if (!(file instanceof File) || typeof form.get('model') !== 'string') {
    refuse(response, 400, 'Missing required parameter.');
    return;
  }
  transcribed.push(file.size);
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ text: heard }));
}

function refuse(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ error: { message, type: 'invalid_request_error', code: null } }));
}
