import type { IncomingMessage, ServerResponse } from 'node:http';
import { type AudioFormat, msOfBytes } from '@spillway/core/audio';
import { z } from 'zod';
import { checked, Refusal } from '../model/refusal.ts';
import { sendPaced, soundOf } from './simulated-speech.ts';
import type { SpeakerShared } from './speaker-shared.ts';

/** The longest request, in bytes. */
const maxBodyBytes = 65_536;
const format: AudioFormat = { encoding: 'pcm16', sampleRateHz: 24_000 };

const speechRequest = z.strictObject({
  model: z.string().min(1),
  input: z.string().min(1).max(4096),
  voice: z.string().min(1),
  instructions: z.string().max(4096).optional(),
  speed: z.number().min(0.25).max(4).optional(),
  // The API knows others, too: this double speaks in none of them.
  response_format: z.literal('pcm'),
});

/** Answers a request for speech as OpenAI's API does. */
export async function answerSpeech(
  request: IncomingMessage,
  response: ServerResponse,
  shared: SpeakerShared,
): Promise<void> {
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  response.on('error', () => undefined);
  const refuse = (status: number, message: string, code: string, headers: object = {}): void => {
    shared.onRefused(message);
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify({ error: { message, type: 'invalid_request_error', param: null, code } }));
  };
  const { rateLimitedS, status } = shared.faults();
  if (request.method !== 'POST')
    return refuse(405, 'Not allowed to use this method.', 'method_not_supported');
  if (shared.apiKey !== undefined && request.headers.authorization !== `Bearer ${shared.apiKey}`)
    return refuse(401, `Incorrect API key provided: ${keyOf(request)}.`, 'invalid_api_key');
  if (rateLimitedS !== undefined)
    return refuse(429, 'Rate limit reached.', 'rate_limit_exceeded', { 'retry-after': String(rateLimitedS) });
  if (status !== undefined) return refuse(status, 'Told to fail.', 'told_to_fail');
  if (!/^application\/json\b/.test(request.headers['content-type'] ?? ''))
    return refuse(400, 'Expected JSON.', 'invalid_content_type');
  try {
    const asked = checked(speechRequest, JSON.parse(await bodyOf(request)));
    if (asked.instructions !== undefined && asked.model.startsWith('tts-1'))
      throw new Refusal(
        'invalid_value',
        `'instructions' is not supported by ${asked.model}.`,
        'instructions',
      );
    await speak(asked.input, response, gone.signal, shared);
  } catch (error) {
    if (gone.signal.aborted) return undefined;
    const isRefusal = error instanceof Refusal;
    return refuse(
      400,
      isRefusal ? error.message : 'The body is no JSON.',
      (isRefusal ? error.code : null) ?? 'invalid_body',
    );
  }
  return undefined;
}

async function speak(
  text: string,
  response: ServerResponse,
  signal: AbortSignal,
  shared: SpeakerShared,
): Promise<void> {
  const sound = soundOf(text, format, shared.speeches, shared.msPerCharacter);
  const asked = shared.ask('openai-speech', text, msOfBytes(format, sound.audio.byteLength));
  response.writeHead(200, { 'content-type': 'audio/pcm' });
  response.flushHeaders();
  asked.state = await sendPaced({
    ...shared,
    asked,
    sound,
    format,
    signal,
    send: (piece) =>
      new Promise((resolve) => {
        const done = (): void => resolve();
        if (response.write(piece)) done();
        else {
          response.once('drain', done);
          signal.addEventListener('abort', done, { once: true });
        }
      }),
  });
  if (asked.state === 'spoken') response.end();
  else response.destroy();
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of request) {
    pieces.push(piece as Buffer);
    bytes += (piece as Buffer).byteLength;
    if (bytes > maxBodyBytes) throw new Refusal('too_large', 'The body is too large.');
  }
  return Buffer.concat(pieces).toString('utf8');
}

function keyOf({ headers }: IncomingMessage): string {
  return headers.authorization?.replace(/^Bearer /, '') ?? 'none';
}
