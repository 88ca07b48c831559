import { once } from 'node:events';
import { type AudioFormat, decodeMulaw, Resampler, telephoneAudio } from '@spillway/core/audio';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import {
  serveSimulatedRecognisers,
  type SimulatedRecogniserServer,
  type SimulatedRecogniserServerOptions,
} from '@spillway/voice/simulate/recogniser';
import { speech, speechNames } from '@spillway/voice/simulate/speech';
import OpenAI, { toFile } from 'openai';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { until } from '../../../core/test/support/until.ts';
import { clipIn, wideband } from '../support/recogniser-engines.ts';
import { wav } from '../support/wav.ts';

async function serve(options: SimulatedRecogniserServerOptions = {}): Promise<SimulatedRecogniserServer> {
  const server = await serveSimulatedRecognisers(options);
  onTestFinished(() => server.close());
  return server;
}

function pcm16(samples: Int16Array): Uint8Array {
  return new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength);
}

describe('transcriptions', () => {
  test('OpenAI’s own client is answered, whole and as events', async () => {
    const server = await serve({ apiKey: 'sk-test' });
    const client = new OpenAI({ apiKey: 'sk-test', baseURL: `${server.transcriptionUrl}/v1`, maxRetries: 0 });
    for (const name of speechNames) {
      const { audio, text } = clipIn(name, wideband);
      const file = await toFile(wav(audio, { tag: 1, bits: 16, rate: 16_000 }), 'a.wav');
      const whole = await client.audio.transcriptions.create({ file, model: 'whisper-1' });
      expect(whole.text).toBe(text);
      const events = await client.audio.transcriptions.create({
        file: await toFile(wav(audio, { tag: 1, bits: 16, rate: 16_000 }), 'a.wav'),
        model: 'gpt-4o-mini-transcribe',
        stream: true,
      });
      let joined = '';
      for await (const event of events) {
        if (event.type === 'transcript.text.delta') joined += event.delta;
        else if (event.type === 'transcript.text.done') expect(event.text).toBe(joined);
      }
      expect(joined).toBe(text);
    }
    expect(server.heard.length).toBe(2 * speechNames.length);
    expect(server.refused).toEqual([]);
  });

  test('OpenAI’s own client is refused as by the API', async () => {
    const server = await serve({ apiKey: 'sk-test' });
    const client = (apiKey: string): OpenAI =>
      new OpenAI({ apiKey, baseURL: `${server.transcriptionUrl}/v1`, maxRetries: 0 });
    const { audio } = clipIn('caller-hello', wideband);
    const file = wav(audio, { tag: 1, bits: 16, rate: 16_000 });
    const asked = async (bytes: Uint8Array, more: object = {}, key = 'sk-test'): Promise<unknown> =>
      client(key)
        .audio.transcriptions.create({ file: await toFile(bytes, 'a.wav'), model: 'whisper-1', ...more })
        .then(
          () => 200,
          (error: unknown) => (error instanceof OpenAI.APIError ? error.status : error),
        );
    expect(await asked(file)).toBe(200);
    expect(await asked(file, {}, 'sk-other')).toBe(401);
    expect(await asked(file, { model: 'whisper-9' })).toBe(404);
    expect(await asked(file, { language: 'English' })).toBe(400);
    expect(await asked(file, { response_format: 'verbose_json' })).toBe(400);
    expect(await asked(file, { colour: 'blue' })).toBe(400);
    expect(await asked(Buffer.from('no audio'))).toBe(400);
    expect(await asked(file.subarray(0, 1000))).toBe(400);
    expect(await asked(wav(audio.subarray(0, 3000), { tag: 1, bits: 16, rate: 16_000 }))).toBe(400);
    server.faults = { rateLimitedS: 1 };
    expect(await asked(file)).toBe(429);
    server.faults = { status: 503 };
    expect(await asked(file)).toBe(503);
  });
});

describe('what is understood', () => {
  const heardOf = async (format: AudioFormat, audio: Uint8Array): Promise<string> => {
    const server = await serve();
    const body = new FormData();
    const file = wav(audio, { tag: 1, bits: 16, rate: format.sampleRateHz });
    body.set('file', new Blob([Buffer.from(file)]), 'a.wav');
    body.set('model', 'whisper-1');
    const url = `${server.transcriptionUrl}/v1/audio/transcriptions`;
    const response = await fetch(url, { method: 'POST', body });
    return ((await response.json()) as { text: string }).text;
  };
  const { audio, text } = speech('caller-question');
  const samples = decodeMulaw(audio);
  const narrow: AudioFormat = { encoding: 'pcm16', sampleRateHz: 8000 };

  test('a clip that is quieter, or was resampled', async () => {
    expect(await heardOf(narrow, pcm16(samples.map((one) => one / 5)))).toBe(text);
    const format: AudioFormat = { encoding: 'pcm16', sampleRateHz: 44_100 };
    const resampler = new Resampler(telephoneAudio, format);
    expect(await heardOf(format, Buffer.concat([resampler.push(audio), resampler.end()]))).toBe(text);
  });

  test('the part of a clip that is there, and two clips one after the other', async () => {
    expect(await heardOf(narrow, pcm16(samples.subarray(0, 9000)))).toBe('What events do you');
    expect(await heardOf(narrow, pcm16(samples.subarray(2400)))).toBe('events do you have this month?');
    const two = Buffer.concat([
      pcm16(decodeMulaw(speech('caller-hello').audio)),
      new Uint8Array(16_000),
      pcm16(samples),
    ]);
    expect(await heardOf(narrow, two)).toBe(`${speech('caller-hello').text} ${text}`);
  });

  test('nothing else', async () => {
    const tone = Int16Array.from({ length: 16_000 }, (_, index) => 9000 * Math.sin(index / 3));
    expect(await heardOf(narrow, pcm16(tone))).toBe('');
    expect(await heardOf(narrow, new Uint8Array(32_000))).toBe('');
    expect(await heardOf(narrow, pcm16(samples.toReversed()))).toBe('');
  });
});

describe('Deepgram’s live API', () => {
  const query = 'model=nova-3&encoding=mulaw&sample_rate=8000&channels=1&interim_results=true';

  /** A client, and what came. */
  async function connected(
    server: SimulatedRecogniserServer,
    asked = query,
    headers: Record<string, string> = {},
  ): Promise<{
    readonly socket: WebSocket;
    readonly messages: Record<string, unknown>[];
    readonly closed: Promise<string>;
  }> {
    const socket = new WebSocket(`${server.deepgramUrl}?${asked}`, { headers });
    onTestFinished(() => socket.terminate());
    const messages: Record<string, unknown>[] = [];
    socket.on('message', (data) => messages.push(JSON.parse((data as Buffer).toString()) as never));
    const closed = new Promise<string>((resolve) => {
      socket.on('close', (code, reason) => resolve(`${code} ${reason.toString()}`));
    });
    await new Promise<void>((resolve, reject) => {
      socket.on('open', resolve);
      socket.on('error', reject);
    });
    return { socket, messages, closed };
  }

  test('tells words as they come, and all of them with their places after Finalize', async () => {
    const server = await serve({ interimMs: 300, segmentMs: 900 });
    const { messages, socket } = await connected(server);
    const { audio, text } = speech('caller-question');
    for (let at = 0; at < audio.byteLength; at += 160) socket.send(audio.subarray(at, at + 160));
    socket.send('{"type":"Finalize"}');
    await until(() => messages.some((message) => message['from_finalize'] === true));
    const finals = messages.filter((message) => message['is_final'] === true) as unknown as {
      readonly start: number;
      readonly duration: number;
      readonly channel: {
        readonly alternatives: readonly [
          { readonly transcript: string; readonly words: readonly { start: number; end: number }[] },
        ];
      };
    }[];
    expect(finals.length).toBeGreaterThan(1);
    const best = finals.map(({ channel }) => channel.alternatives[0]);
    expect(best.map(({ transcript }) => transcript).join(' ')).toBe(text);
    let end = 0;
    for (const { duration, start } of finals) {
      expect(start).toBeCloseTo(end, 4);
      end = start + duration;
    }
    expect(end).toBeCloseTo(audio.byteLength / 8000, 4);
    const words = best.flatMap((one) => one.words);
    expect(words.length).toBe(text.split(' ').length);
    for (const [index, word] of words.entries())
      expect(word.start).toBeGreaterThanOrEqual((words[index - 1]?.end ?? 0) - 0.001);
    expect(server.heard).toEqual([{ api: 'deepgram', text, audioMs: audio.byteLength / 8 }]);
  });

  test('closes a connection on which nothing comes for 10 s, and not one that gives a sign', async () => {
    const clock = new VirtualClock();
    const server = await serve({ clock });
    const quiet = await connected(server);
    const alive = await connected(server);
    // What was sent before a ping is there when that is answered.
    const answered = async ({ socket }: { readonly socket: WebSocket }): Promise<void> => {
      socket.ping();
      await once(socket, 'pong');
    };
    await answered(quiet);
    await answered(alive);
    await clock.advance(9999);
    await answered(quiet);
    alive.socket.send('{"type":"KeepAlive"}');
    await answered(alive);
    await clock.advance(1);
    expect(await quiet.closed).toBe('1011 NET-0001');
    await clock.advance(9998);
    await answered(alive);
    await clock.advance(1);
    expect(await alive.closed).toBe('1011 NET-0001');
  });

  test('does not answer a Finalize when less than 100 ms were left', async () => {
    const server = await serve({ segmentMs: 1000 });
    const { messages, socket } = await connected(server);
    socket.send(new Uint8Array(8000).fill(0xff));
    socket.send(new Uint8Array(400).fill(0xff));
    socket.send('{"type":"Finalize"}');
    socket.send('{"type":"CloseStream"}');
    await until(() => messages.some(({ type }) => type === 'Metadata'));
    expect(messages.map(({ from_finalize: is, type }) => `${String(type)} ${String(is)}`)).toEqual([
      'Results false',
      'Metadata undefined',
    ]);
  });

  test('closes a connection for what is no message', async () => {
    const server = await serve();
    for (const text of ['{"type":"Flush"}', 'hello', '{"type":"KeepAlive","more":1}']) {
      const { closed, socket } = await connected(server);
      socket.send(text);
      expect(await closed).toBe('1008 DATA-0000');
    }
    const { closed, socket } = await connected(server, query.replace('mulaw', 'linear16'));
    socket.send(new Uint8Array(3));
    expect(await closed).toBe('1008 DATA-0000');
  });

  test('refuses what is asked for wrongly', async () => {
    const server = await serve({ apiKey: 'dg-test' });
    const token = { authorization: 'Token dg-test' };
    await connected(server, query, token);
    for (const [asked, headers, status] of [
      [query, {}, 401],
      [query, { authorization: 'Bearer dg-test' }, 401],
      [query.replace('mulaw', 'opus'), token, 400],
      [query.replace('model=nova-3&', ''), token, 400],
      [`${query}&colour=blue`, token, 400],
      [query.replace('channels=1', 'channels=2'), token, 400],
    ] as const)
      await expect(connected(server, asked, headers)).rejects.toThrow(String(status));
    expect(server.refused.length).toBe(6);
  });

  test('wrong options are named', async () => {
    for (const [name, options] of [
      ['interimMs', { interimMs: 1 }],
      ['segmentMs', { segmentMs: 1 }],
      ['faults.lateMs', { faults: { lateMs: -1 } }],
      ['faults.status', { faults: { status: 200 } }],
    ] as const)
      await expect(serveSimulatedRecognisers(options)).rejects.toThrow(name);
  });
});
