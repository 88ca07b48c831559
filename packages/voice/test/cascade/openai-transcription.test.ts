import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import {
  openOpenAiTranscription,
  type OpenAiTranscriptionOptions,
  type TranscriptionUsage,
} from '@spillway/voice';
import { serveSimulatedRecognisers } from '@spillway/voice/simulate/recogniser';
import { describe, expect, onTestFinished, test } from 'vitest';
import { until } from '../../../core/test/support/until.ts';
import { OpenedRecogniser } from '../support/opened-recogniser.ts';
import { clipIn, testKey, wideband } from '../support/recogniser-engines.ts';

const hello = clipIn('caller-hello', wideband);
const goodbye = clipIn('caller-goodbye', wideband);

interface Asked {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly form: FormData;
}

/** A server that keeps what was asked, and answers with what a test wants. */
class AskedServer {
  readonly asked: Asked[] = [];
  answer: (asked: Asked, count: number) => void = ({ response }) => answerJson(response, { text: 'words' });
  readonly #server = createServer((request, response) => void this.#take(request, response));

  async listen(): Promise<string> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    onTestFinished(() => {
      this.#server.closeAllConnections();
      this.#server.close();
    });
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const headers = { 'content-type': request.headers['content-type'] ?? '' };
    const asked = {
      request,
      response,
      form: await new Response(Buffer.concat(chunks), { headers }).formData(),
    };
    this.asked.push(asked);
    this.answer(asked, this.asked.length);
  }
}

function answerJson(response: ServerResponse, body: object, status = 200, headers = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(body));
}

function answerEvents(response: ServerResponse, ...events: object[]): void {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  response.end(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''));
}

/** A server, and a recogniser that is ready. */
async function opened(
  options: Partial<OpenAiTranscriptionOptions> = {},
  answer?: AskedServer['answer'],
): Promise<{ readonly server: AskedServer; readonly heard: OpenedRecogniser }> {
  const server = new AskedServer();
  if (answer !== undefined) server.answer = answer;
  const url = await server.listen();
  const heard = new OpenedRecogniser(openOpenAiTranscription({ url, apiKey: testKey, ...options }));
  await heard.next('ready');
  return { server, heard };
}

describe('what is asked', () => {
  test('a form with the utterance as a WAV file', async () => {
    const { heard, server } = await opened({
      model: 'gpt-transcribe',
      language: 'en',
      prompt: 'Names:\r\nAda, Zoë',
      headers: { 'openai-organization': 'org' },
    });
    heard.say(hello.audio);
    await heard.next('final');
    const [{ form, request } = { form: new FormData(), request: undefined }] = server.asked;
    expect(request?.method).toBe('POST');
    expect(request?.url).toBe('/v1/audio/transcriptions');
    expect(request?.headers).toMatchObject({
      authorization: `Bearer ${testKey}`,
      'openai-organization': 'org',
    });
    expect(Object.fromEntries([...form].filter(([name]) => name !== 'file'))).toEqual({
      model: 'gpt-transcribe',
      response_format: 'json',
      language: 'en',
      prompt: 'Names:\r\nAda, Zoë',
      stream: 'true',
    });
    const file = Buffer.from(await (form.get('file') as File).arrayBuffer());
    expect(file.toString('latin1', 0, 4) + file.toString('latin1', 8, 16)).toBe('RIFFWAVEfmt ');
    expect(file.readUInt32LE(24)).toBe(16_000);
    expect(file.readUInt32LE(40)).toBe(hello.audio.byteLength);
    expect(file.subarray(44).equals(hello.audio)).toBe(true);
  });

  test('behind the path of another server, and without events', async () => {
    const server = new AskedServer();
    const url = `${await server.listen()}/openai/`;
    const heard = new OpenedRecogniser(openOpenAiTranscription({ url, stream: false }));
    await heard.next('ready');
    heard.say(hello.audio);
    await heard.next('final');
    expect(server.asked[0]?.request.url).toBe('/openai/v1/audio/transcriptions');
    expect(server.asked[0]?.request.headers.authorization).toBeUndefined();
    expect(server.asked[0]?.form.get('stream')).toBeNull();
  });

  test('a redirect is not followed: the key is for one server', async () => {
    const other = new AskedServer();
    const location = `${await other.listen()}/v1/audio/transcriptions`;
    const { heard, server } = await opened({}, ({ response }) => {
      response.writeHead(307, { location });
      response.end();
    });
    heard.say(hello.audio);
    await heard.next('final');
    expect(server.asked.length).toBe(2);
    expect(other.asked).toEqual([]);
    expect(heard.story).toEqual(['ready', 'warned unreachable', 'final']);
  });

  test('wrong options are named, and the key is in no message', () => {
    for (const [name, options] of [
      ['url', { url: 'ws://api.example' }],
      ['url', { url: 'nothing' }],
      ['apiKey', { apiKey: 'two words' }],
      ['model', { model: '' }],
      ['format', { format: { encoding: 'mulaw', sampleRateHz: 8000 } }],
      ['sampleRateHz', { format: { encoding: 'pcm16', sampleRateHz: 4000 } }],
      ['maxUtteranceMs', { maxUtteranceMs: 999 }],
      ['timeoutMs', { timeoutMs: 99 }],
    ] as const) {
      expect(() => openOpenAiTranscription(options)).toThrow(name);
      expect(() => openOpenAiTranscription(options)).not.toThrow('two words');
    }
  });
});

describe('what is answered', () => {
  test('words come as they are made, and then whole', async () => {
    const { heard } = await opened({}, ({ response }) =>
      answerEvents(
        response,
        { type: 'transcript.text.delta', delta: 'When are' },
        { type: 'transcript.text.of.later', delta: 'x' },
        { type: 'transcript.text.delta', delta: ' you open' },
        { type: 'transcript.text.done', text: ' When are you open?' },
      ),
    );
    heard.say(hello.audio);
    await heard.next('final');
    expect(heard.of('partial').map(({ text }) => text)).toEqual(['When are', 'When are you open']);
    expect(heard.of('final')).toEqual([{ kind: 'final', text: 'When are you open?', words: [] }]);
  });

  test('what was used is told, in tokens or in seconds', async () => {
    const used: TranscriptionUsage[] = [];
    const { heard } = await opened({ onUsed: (usage) => used.push(usage) }, ({ response }, count) => {
      if (count === 1)
        answerJson(response, {
          text: 'a',
          usage: { type: 'tokens', input_tokens: 7, output_tokens: 3, total_tokens: 10 },
        });
      else if (count === 2) answerJson(response, { text: 'b', usage: { type: 'duration', seconds: 2 } });
      else if (count === 3) answerJson(response, { text: 'c', usage: 'free' });
      else
        answerEvents(response, {
          type: 'transcript.text.done',
          text: 'd',
          usage: { input_tokens: 1, output_tokens: 2 },
        });
    });
    for (let count = 1; count <= 4; count += 1) {
      heard.say(hello.audio);
      await heard.next('final', count);
    }
    expect(heard.texts).toEqual(['a', 'b', 'c', 'd']);
    expect(used).toEqual([
      { inputTokens: 7, outputTokens: 3 },
      { seconds: 2 },
      { inputTokens: 1, outputTokens: 2 },
    ]);
  });

  test('events that end in the middle are no words', async () => {
    const { heard, server } = await opened({}, ({ response }) =>
      answerEvents(response, { type: 'transcript.text.delta', delta: 'half' }),
    );
    heard.say(hello.audio);
    await heard.next('final');
    expect(heard.story).toEqual(['ready', 'warned lost', 'final']);
    expect(heard.texts).toEqual(['']);
    expect(server.asked.length).toBe(2);
  });

  test('an event or an answer that is too large', async () => {
    const { heard } = await opened({}, ({ response }, count) => {
      if (count === 1) answerEvents(response, { type: 'transcript.text.delta', delta: 'x'.repeat(70_000) });
      else answerJson(response, { text: 'x'.repeat(1_100_000) });
    });
    heard.say(hello.audio);
    heard.say(hello.audio);
    await heard.next('final', 2);
    expect(heard.story).toEqual(['ready', 'warned bad_message', 'final', 'warned bad_message', 'final']);
  });
});

describe('failures', () => {
  test('a server that is asked for too much is asked once more, after what it says', async () => {
    const clock = new VirtualClock();
    const { heard, server } = await opened({ clock }, ({ response }, count) => {
      if (count === 1) answerJson(response, {}, 429, { 'retry-after': '2' });
      else answerJson(response, { text: 'words' });
    });
    heard.say(hello.audio);
    await until(() => server.asked.length === 1);
    await advancedUntil(clock, () => server.asked.length === 2);
    await heard.next('final');
    expect(clock.nowMs()).toBeGreaterThanOrEqual(2000);
    expect(clock.nowMs()).toBeLessThan(2200);
    expect(heard.story).toEqual(['ready', 'final']);
    expect(heard.texts).toEqual(['words']);
  });

  test('nobody waits for a second try that would be too late', async () => {
    const { heard, server } = await opened({ timeoutMs: 5000 }, ({ response }) =>
      answerJson(response, {}, 429, { 'retry-after': '6' }),
    );
    heard.say(hello.audio);
    await heard.next('final');
    expect(heard.story).toEqual(['ready', 'warned rate_limited', 'final']);
    expect(server.asked.length).toBe(1);
  });

  test('an error of the server that passes is not noticed', async () => {
    const { heard, server } = await opened({}, ({ response }, count) => {
      if (count === 1) answerJson(response, {}, 500);
      else if (count === 2) answerJson(response, { text: 'words' });
      else if (count === 3) response.destroy();
      else answerJson(response, { text: 'more words' });
    });
    heard.say(hello.audio);
    await heard.next('final');
    heard.say(hello.audio);
    await heard.next('final', 2);
    expect(heard.story).toEqual(['ready', 'final', 'final']);
    expect(server.asked.length).toBe(4);
  });

  test.each([
    [
      401,
      { error: { message: `Incorrect API key provided: ${testKey}.`, code: 'invalid_api_key' } },
      'unauthorized',
    ],
    [403, {}, 'unauthorized'],
    [404, { error: { message: 'The model does not exist', code: 'model_not_found' } }, 'refused'],
    [429, { error: { message: 'You exceeded your quota', code: 'insufficient_quota' } }, 'rate_limited'],
    [402, {}, 'rate_limited'],
  ])('status %i is the end, at once, and the key is in no message', async (status, body, code) => {
    const { heard, server } = await opened({}, ({ response }) => answerJson(response, body, status));
    heard.say(hello.audio);
    const ended = await heard.next('ended');
    expect(heard.story).toEqual(['ready', `ended ${code}`]);
    expect(ended.message).toContain(String(status));
    expect(ended.message).not.toContain(testKey);
    expect(server.asked.length).toBe(1);
  });

  test('three utterances in a row without an answer are the end, and not two', async () => {
    const { heard } = await opened({}, ({ response }, count) =>
      answerJson(response, { text: 'words' }, count === 3 ? 200 : 400),
    );
    for (let count = 1; count <= 5; count += 1) {
      heard.say(hello.audio);
      await heard.next('final', count);
    }
    heard.say(hello.audio);
    await heard.next('ended');
    expect(heard.story).toEqual([
      'ready',
      'warned refused',
      'final',
      'warned refused',
      'final',
      'final',
      'warned refused',
      'final',
      'warned refused',
      'final',
      'ended refused',
    ]);
  });

  test('no answer in time: the request is aborted, and the next utterance has its own time', async () => {
    const clock = new VirtualClock();
    let closed = 0;
    const { heard, server } = await opened({ clock, timeoutMs: 3000 }, ({ response }, count) => {
      response.on('close', () => (closed += 1));
      if (count > 1) answerJson(response, { text: 'words' });
    });
    heard.say(hello.audio);
    await until(() => server.asked.length === 1);
    await clock.advance(2999);
    expect(heard.story).toEqual(['ready']);
    await clock.advance(1);
    await heard.next('final');
    expect(heard.story).toEqual(['ready', 'warned late', 'final']);
    await until(() => closed === 1);
    heard.say(hello.audio);
    await heard.next('final', 2);
    expect(heard.texts).toEqual(['', 'words']);
  });

  test('a close aborts what is under way', async () => {
    let isClosed = false;
    const { heard, server } = await opened({}, ({ response }) =>
      response.on('close', () => (isClosed = true)),
    );
    heard.say(hello.audio);
    await until(() => server.asked.length === 1);
    heard.recogniser.close();
    await until(() => isClosed);
    expect(heard.story).toEqual(['ready']);
  });
});

describe('utterances that wait', () => {
  test('at most two are under way or wait, and one more drops the oldest that was not sent', async () => {
    const open: ServerResponse[] = [];
    const { heard, server } = await opened({}, ({ response }) => open.push(response));
    heard.say(hello.audio);
    await until(() => open.length === 1);
    for (let count = 0; count < 3; count += 1) heard.say(goodbye.audio.subarray(0, 32_000 * (count + 1)));
    for (const [index, text] of ['first', 'last'].entries()) {
      await until(() => open.length === index + 1);
      const response = open[index];
      if (response !== undefined) answerJson(response, { text });
    }
    await heard.next('final', 4);
    expect(heard.story).toEqual([
      'ready',
      'final',
      'warned utterance_dropped',
      'final',
      'warned utterance_dropped',
      'final',
      'final',
    ]);
    expect(heard.texts).toEqual(['first', '', '', 'last']);
    // The newest one was sent, and those that were dropped were not.
    const sizes = server.asked.map(({ form }) => (form.get('file') as File).size - 44);
    expect(sizes).toEqual([hello.audio.byteLength, goodbye.audio.subarray(0, 96_000).byteLength]);
  });

  test('what is too long is cut, and told', async () => {
    const { heard, server } = await opened({ maxUtteranceMs: 1000 });
    heard.say(hello.audio);
    await heard.next('final');
    expect(heard.story).toEqual(['ready', 'warned utterance_cut', 'final']);
    expect((await audioOf(server.asked[0])).equals(hello.audio.subarray(0, 32_000))).toBe(true);
    heard.say(hello.audio.subarray(0, 32_000));
    await heard.next('final', 2);
    expect(heard.of('warned').length).toBe(1);
  });

  test('audio may be changed by who sent it', async () => {
    const { heard, server } = await opened();
    const frame = new Uint8Array(3200).fill(7);
    heard.recogniser.send(frame);
    frame.fill(0);
    heard.recogniser.finish();
    await heard.next('final');
    expect((await audioOf(server.asked[0])).equals(Buffer.alloc(3200, 7))).toBe(true);
  });

  test('a model that cannot tell words as they are made answers whole', async () => {
    const server = await serveSimulatedRecognisers();
    onTestFinished(() => server.close());
    const heard = new OpenedRecogniser(
      openOpenAiTranscription({ url: server.transcriptionUrl, model: 'whisper-1' }),
    );
    await heard.next('ready');
    heard.say(hello.audio);
    await heard.next('final');
    expect(heard.texts).toEqual([hello.text]);
    expect(heard.of('partial')).toEqual([]);
  });
});

/** The audio of a request. */
async function audioOf(asked: Asked | undefined): Promise<Buffer> {
  const file = asked?.form.get('file');
  if (!(file instanceof Blob)) throw new TypeError('expected a file');
  return Buffer.from(await file.arrayBuffer()).subarray(44);
}

/** Lets time pass until something is so: what has to happen goes over a socket, in which the clock stands still. */
async function advancedUntil(clock: VirtualClock, isSo: () => boolean): Promise<void> {
  await until(async () => {
    if (isSo()) return true;
    await clock.advance(10);
    return isSo();
  });
}
