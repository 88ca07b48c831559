import type { IncomingMessage, ServerResponse } from 'node:http';
import { type AudioFormat, msOfBytes } from '@spillway/core/audio';
import { type Clock, systemClock } from '@spillway/core/clock';
import { AnswerQueue } from './answer-queue.ts';
import type { ClipEars } from './clip-ears.ts';
import type { RecognisedSpeech, SimulatedRecogniserFaults } from './recogniser-options.ts';

/** The largest file, as of the API, and some room for the form. */
const maxBodyBytes = 26_214_400;
/** Shorter audio is refused, as by the API. */
const minAudioMs = 100;
/** Models that there are, and whether they tell words as they are made. */
const models = new Map([
  ['gpt-4o-transcribe', true],
  ['gpt-4o-mini-transcribe', true],
  ['gpt-transcribe', true],
  ['whisper-1', false],
]);
const fields = new Set([
  'chunking_strategy',
  'file',
  'include[]',
  'language',
  'model',
  'prompt',
  'response_format',
  'stream',
  'temperature',
  'timestamp_granularities[]',
]);

/** Why a request is refused. */
class RequestRefusal extends Error {
  readonly status: number;
  readonly code: string | null;

  constructor(status: number, message: string, code: string | null = null) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** What the API's answers are made with. */
export interface SimulatedTranscriptionOptions {
  readonly ears: ClipEars;
  readonly apiKey: string | undefined;
  readonly clock?: Pick<Clock, 'after'>;
  readonly faults: () => SimulatedRecogniserFaults;
  readonly onHeard: (speech: RecognisedSpeech) => void;
  readonly onRefused: (message: string) => void;
}

/** Answers one request to `/v1/audio/transcriptions`, as strictly as the API does. Never rejects. */
export async function answerTranscription(
  request: IncomingMessage,
  response: ServerResponse,
  options: SimulatedTranscriptionOptions,
): Promise<void> {
  const { apiKey, faults, onRefused } = options;
  try {
    if (request.method !== 'POST') throw new RequestRefusal(405, 'Expected POST.');
    if (apiKey !== undefined && request.headers.authorization !== `Bearer ${apiKey}`)
      throw new RequestRefusal(401, 'Incorrect API key provided.', 'invalid_api_key');
    const { rateLimitedS, status } = faults();
    if (rateLimitedS !== undefined) {
      response.setHeader('retry-after', String(rateLimitedS));
      throw new RequestRefusal(429, 'Rate limit reached.', 'rate_limit_exceeded');
    }
    if (status !== undefined) throw new RequestRefusal(status, 'It was told to refuse.', 'server_error');
    answer(await readForm(request), response, options);
  } catch (error) {
    if (!(error instanceof RequestRefusal)) {
      response.destroy();
      return;
    }
    onRefused(error.message);
    response.writeHead(error.status, { 'content-type': 'application/json', connection: 'close' });
    response.end(
      JSON.stringify({
        error: { message: error.message, type: 'invalid_request_error', param: null, code: error.code },
      }),
    );
  }
}

interface Asked {
  readonly format: AudioFormat;
  readonly audio: Uint8Array;
  readonly isStream: boolean;
}

function answer(asked: Asked, response: ServerResponse, options: SimulatedTranscriptionOptions): void {
  const { clock = systemClock, ears, faults, onHeard } = options;
  const words = ears.wordsOf(asked.format, asked.audio);
  const text = words.map((word) => word.text).join(' ');
  const audioMs = msOfBytes(asked.format, asked.audio.byteLength);
  const usage = { type: 'tokens', input_tokens: Math.ceil(audioMs / 100), output_tokens: words.length };
  const queue = new AnswerQueue(clock, faults);
  response.on('close', () => queue.stop());
  response.on('error', () => {});
  const say = (event: object): void => void response.write(`data: ${JSON.stringify(event)}\n\n`);
  if (!asked.isStream) {
    queue.add(() => {
      onHeard({ api: 'openai-transcription', text, audioMs });
      response.writeHead(200, { 'content-type': 'application/json' });
      const body = JSON.stringify({ text, usage });
      if (faults().isCut) response.write(body.slice(0, 5), () => response.destroy());
      else response.end(body);
    });
    return;
  }
  queue.add(() => {
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    response.flushHeaders();
  });
  for (const [index, word] of words.entries())
    queue.add(() => {
      say({ type: 'transcript.text.delta', delta: index === 0 ? word.text : ` ${word.text}` });
      if (faults().isCut) response.write('data: {"type":', () => response.destroy());
    });
  queue.add(() => {
    onHeard({ api: 'openai-transcription', text, audioMs });
    if (faults().isCut) response.destroy();
    else {
      say({ type: 'transcript.text.done', text, usage });
      response.end();
    }
  });
}

async function readForm(request: IncomingMessage): Promise<Asked> {
  const type = request.headers['content-type'] ?? '';
  if (!type.startsWith('multipart/form-data'))
    throw new RequestRefusal(400, `Expected multipart/form-data, got ${type.slice(0, 64)}.`);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.byteLength;
    if (bytes > maxBodyBytes) throw new RequestRefusal(413, 'Maximum content size limit exceeded.');
    chunks.push(chunk);
  }
  const form = await new Response(Buffer.concat(chunks), { headers: { 'content-type': type } })
    .formData()
    .catch(() => {
      throw new RequestRefusal(400, 'Could not parse multipart form.');
    });
  for (const name of form.keys())
    if (!fields.has(name)) throw new RequestRefusal(400, `Unknown parameter: '${name.slice(0, 64)}'.`);
  const model = textOf(form, 'model');
  if (model === undefined) throw new RequestRefusal(400, 'you must provide a model parameter');
  const canStream = models.get(model);
  if (canStream === undefined)
    throw new RequestRefusal(404, `The model '${model.slice(0, 64)}' does not exist.`, 'model_not_found');
  const isJson = ['json', undefined].includes(textOf(form, 'response_format'));
  if (!isJson) throw new RequestRefusal(400, 'This double answers with json.', 'unsupported_value');
  const language = textOf(form, 'language');
  if (language !== undefined && !/^[a-z]{2,3}$/.test(language))
    throw new RequestRefusal(400, `Language '${language.slice(0, 64)}' is not an ISO-639 code.`);
  const stream = textOf(form, 'stream');
  if (stream !== undefined && !['true', 'false'].includes(stream))
    throw new RequestRefusal(400, "Invalid value for 'stream'.");
  const file = form.get('file');
  if (!(file instanceof Blob)) throw new RequestRefusal(400, "Missing required parameter: 'file'.");
  return { ...readWavFile(await file.bytes()), isStream: stream === 'true' && canStream };
}

function textOf(form: FormData, name: string): string | undefined {
  const value = form.get(name);
  if (value === null) return undefined;
  if (typeof value !== 'string') throw new RequestRefusal(400, `Invalid type for '${name}'.`);
  return value;
}

/** Reads a WAV file with 16 bits, mono, and nothing else in it. */
function readWavFile(file: Uint8Array): Omit<Asked, 'isStream'> {
  const bytes = Buffer.from(file.buffer, file.byteOffset, file.byteLength);
  const isWav =
    bytes.byteLength >= 44 &&
    bytes.toString('latin1', 0, 4) === 'RIFF' &&
    bytes.readUInt32LE(4) === bytes.byteLength - 8 &&
    bytes.toString('latin1', 8, 16) === 'WAVEfmt ' &&
    bytes.readUInt16LE(20) === 1 &&
    bytes.readUInt16LE(22) === 1 &&
    bytes.readUInt16LE(34) === 16 &&
    bytes.readUInt32LE(28) === bytes.readUInt32LE(24) * 2 &&
    bytes.toString('latin1', 36, 40) === 'data' &&
    bytes.readUInt32LE(40) === bytes.byteLength - 44;
  const sampleRateHz = isWav ? bytes.readUInt32LE(24) : 0;
  if (sampleRateHz < 8000 || sampleRateHz > 48_000)
    throw new RequestRefusal(400, 'Audio file might be corrupted or unsupported', 'invalid_value');
  const format: AudioFormat = { encoding: 'pcm16', sampleRateHz };
  const audio = bytes.subarray(44);
  if (msOfBytes(format, audio.byteLength) < minAudioMs)
    throw new RequestRefusal(
      400,
      'Audio file is too short. Minimum audio length is 0.1 seconds.',
      'audio_too_short',
    );
  return { format, audio };
}
