import { levelOf, msOfBytes, telephoneAudio } from '@spillway/core/audio';
import {
  type ElevenLabsSpeechOptions,
  openElevenLabsSpeech,
  type Speaker,
  StageError,
} from '@spillway/voice';
import { serveSimulatedSpeakers, type SimulatedSpeakerOptions } from '@spillway/voice/simulate/speaker';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { until } from '../../../core/test/support/until.ts';
import { within } from '../../../core/test/support/within.ts';
import { WordTimes } from '../../src/cascade/speak/word-times.ts';
import { quickClock } from '../support/quick-clock.ts';

const apiKey = 'xi-of-a-test-1234';
const text = 'We are open from nine to six.';

async function open(options: SimulatedSpeakerOptions = {}, own: Partial<ElevenLabsSpeechOptions> = {}) {
  const server = await serveSimulatedSpeakers({ apiKey, ...options });
  const speaker = openElevenLabsSpeech({ voice: 'v1', url: server.elevenLabsUrl, apiKey, ...own });
  onTestFinished(async () => {
    speaker.close();
    await server.close();
  });
  return { server, speaker };
}

async function hear(speaker: Speaker, said = text) {
  const pieces: Uint8Array[] = [];
  const words: { readonly end: number; readonly toMs: number }[] = [];
  for await (const event of speaker.speak(said, { signal: new AbortController().signal }))
    if (event.kind === 'audio') pieces.push(event.audio);
    else words.push(...event.words);
  return { audio: Buffer.concat(pieces), words };
}

test('words are over when it becomes silent: the times are the sound’s', async () => {
  const { speaker } = await open({}, { format: telephoneAudio });
  const { audio, words } = await hear(speaker);
  expect(words.map(({ end }) => text.slice(0, end).split(' ').at(-1))).toEqual(text.split(' '));
  for (const { toMs } of words) {
    const at = Math.round(toMs) * 8;
    expect(levelOf(telephoneAudio, audio.subarray(at - 160, at - 16))).toBeGreaterThan(0.1);
    expect(levelOf(telephoneAudio, audio.subarray(at + 16, at + 160))).toBe(0);
  }
  expect(msOfBytes(telephoneAudio, audio.byteLength)).toBe(text.length * 65);
});

test('one connection is kept from text to text, and made before the first one', async () => {
  const { server, speaker } = await open();
  await until(() => server.openCount === 1);
  for (let round = 0; round < 8; round += 1) await hear(speaker);
  expect(server.openCount).toBe(1);
  expect(server.asked.map(({ state }) => state)).toEqual(Array.from({ length: 8 }, () => 'spoken'));
  expect(server.refused).toEqual([]);
});

test('a connection that the other side closed while nothing was asked for is made anew', async () => {
  // Its 180 s pass in 0.9.
  const { server, speaker } = await open({ clock: quickClock(200) });
  await hear(speaker);
  await until(() => server.openCount === 0);
  expect((await hear(speaker)).words).toHaveLength(7);
  expect(server.asked).toHaveLength(2);
});

test('an abort ends the connection, and another one is there before the next text', async () => {
  const { server, speaker } = await open({ faults: { stallAfter: 1 } });
  for (let round = 1; round <= 8; round += 1) {
    const controller = new AbortController();
    const events = speaker.speak(text, { signal: controller.signal })[Symbol.asyncIterator]();
    await within(events.next(), 'the first of a text');
    controller.abort(new Error('enough'));
    await until(() => server.asked.filter(({ state }) => state === 'aborted').length === round);
    await until(() => server.openCount === 1);
    await expect(events.next().then(() => events.next())).rejects.toThrow('enough');
  }
  server.faults = {};
  expect((await hear(speaker)).words).toHaveLength(7);
  // Eight texts that were aborted are no eight contexts of one connection: five are allowed.
  expect(server.refused).toEqual([]);
});

test('a key that is refused, and a message of an error', async () => {
  const { server, speaker } = await open({}, { apiKey: 'other' });
  const refused = await hear(speaker).catch((error: unknown) => error);
  expect(refused).toMatchObject({ name: 'StageError', code: 'unauthorized' });
  // What is wrong with a text is said on the connection.
  const other = openElevenLabsSpeech({ voice: 'v1', url: server.elevenLabsUrl, apiKey });
  onTestFinished(() => other.close());
  const error: unknown = await hear(other, 'x'.repeat(5001)).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(StageError);
  expect(error).toMatchObject({ code: 'refused' });
  expect((await hear(other)).words).toHaveLength(7);
});

test('what the double refuses ends the connection with its code', async () => {
  const { server } = await open();
  const connect = async (query: string): Promise<WebSocket> => {
    const socket = new WebSocket(`${server.elevenLabsUrl}/v1/text-to-speech/v1/multi-stream-input?${query}`, {
      headers: { 'xi-api-key': apiKey },
    });
    onTestFinished(() => socket.terminate());
    socket.on('error', () => undefined);
    await new Promise((resolve) => {
      socket.once('open', resolve);
      socket.once('close', resolve);
    });
    return socket;
  };
  for (const query of [
    'model_id=m',
    'model_id=m&output_format=mp3_44100_128',
    'model_id=m&output_format=pcm_24000&x=1',
  ])
    expect((await connect(query)).readyState).toBe(WebSocket.CLOSED);
  for (const messages of [
    ['{'],
    ['{"text":"Hi. ","context_id":"a"}'],
    ['{"text":" ","context_id":"a"}', '{"text":"Hi.","context_id":"a"}'],
    ['{"text":" ","context_id":"a"}', '{"text":"Hi. ","context_id":"a","voice_settings":{}}'],
    ['{"text":" ","context_id":"a","other":1}'],
    ['{"context_id":"a","close_context":true}'],
    Array.from('abcdef', (id) => `{"text":" ","context_id":"${id}"}`),
  ]) {
    const socket = await connect('model_id=m&output_format=pcm_24000');
    const closed = new Promise<number>((resolve) => socket.once('close', resolve));
    for (const message of messages) socket.send(message);
    expect(await within(closed, messages.at(-1) ?? '')).toBe(1008);
  }
});

test('characters that are not those of the text end the times, and words lie over pieces', () => {
  const times = new WordTimes('Hi there, Ann.');
  const say = (chars: string, atMs: number) =>
    times.push(
      {
        chars: Array.from(chars),
        charStartTimesMs: Array.from(chars, (_, index) => index * 10),
        charDurationsMs: Array.from(chars, () => 10),
      },
      atMs,
    );
  expect(say(' Hi th', 0)).toEqual([{ end: 2, toMs: 30 }]);
  expect(say('ere,  ', 60)).toEqual([{ end: 9, toMs: 100 }]);
  expect(say('X Ann.', 120)).toEqual([]);
  expect(times.end()).toEqual([]);
});

test.each([
  [{ voice: '../x' }, 'voice: expected the id of a voice'],
  [{ url: 'http://a.example' }, 'url: expected a URL with ws: or wss:'],
  [{ model: '' }, 'model: expected'],
  [{ apiKey: 'ä' }, 'apiKey: expected printable ASCII'],
  [{ format: { encoding: 'alaw', sampleRateHz: 8000 } as const }, 'format: expected mulaw'],
  [{ stability: 2 }, 'stability: expected 0 to 1'],
  [{ speed: 2 }, 'speed: expected 0.7 to 1.2'],
  [{ connectTimeoutMs: 0 }, 'connectTimeoutMs: expected'],
])('options %j are refused', (options, message) => {
  expect(() => openElevenLabsSpeech({ voice: 'v1', ...options })).toThrow(message);
});
