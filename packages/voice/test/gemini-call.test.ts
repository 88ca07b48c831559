import { linearSamples, msOfBytes, Resampler, telephoneAudio } from '@spillway/core/audio';
import { describe, expect, test } from 'vitest';
import { until } from '../../core/test/support/until.ts';
import {
  type CallEvent,
  type CallTool,
  type ModelLeg,
  openCall,
  openGeminiLive,
  type Utterance,
} from '../src/index.ts';
import { type CallRecord, figuresOf, placeCall } from '../src/simulate/carrier/index.ts';
import { type Speech, speech } from '../src/simulate/speech.ts';
import { ended, openLegs } from './support/carrier-server.ts';
import { serveGemini } from './support/opened-gemini.ts';

const pcm24 = { encoding: 'pcm16', sampleRateHz: 24_000 } as const;

/** A clip as the ear has to get it: made at 24,000 Hz by the model and resampled as a whole. */
function asHeard({ audio }: Speech): Buffer {
  const model = new Resampler(telephoneAudio, pcm24);
  const ear = new Resampler(pcm24, telephoneAudio);
  return Buffer.concat([ear.push(Buffer.concat([model.push(audio), model.end()])), ear.end()]);
}

/** All that was played. */
function played({ played: pieces }: CallRecord): Buffer {
  return Buffer.concat(pieces.map(({ audio }) => audio));
}

describe('a call with Gemini over sockets', () => {
  test('is heard word by word as the model made it: no click at a border, and no shift', async () => {
    const { sessions, url: modelUrl } = await serveGemini({
      speed: 10,
      deltaMs: 70,
      greeting: speech('model-greeting'),
    });
    const events: CallEvent[] = [];
    const url = await openLegs((carrier) => {
      const model = openGeminiLive({ url: modelUrl, model: 'gemini-live', apiKey: 'g-test' });
      openCall({ carrier, model, greeting: 'Greet the caller.', onEvent: (event) => events.push(event) });
    });
    const call = await placeCall(url);
    await until(() => events.some(({ kind }) => kind === 'played'), 'the greeting was played');
    call.hangUp();
    const record = await ended(call);
    const { audio } = speech('model-greeting');
    const heard = played(record).subarray(0, audio.byteLength);
    expect(heard.equals(asHeard(speech('model-greeting')))).toBe(true);
    // Twice in µ-law, which alone leaves 38 dB of noise.
    expect(snrDb(heard, audio)).toBeGreaterThan(30);
    expect(figuresOf(record).gaps).toEqual([]);
    expect(sessions[0]?.truth).toMatchObject({ refusal: undefined, texts: ['Greet the caller.'] });
  });

  test('is interrupted while its answer is made: the ear is quiet, and the next answer is heard', async () => {
    const { sessions, url: modelUrl } = await serveGemini({
      speed: 4,
      thinkMs: 100,
      greeting: speech('model-events'),
      script: [{ heard: speech('caller-interruption').text, says: speech('model-moment') }],
    });
    const events: CallEvent[] = [];
    const url = await openLegs((carrier) => {
      const model = openGeminiLive({ url: modelUrl, model: 'gemini-live', apiKey: 'g-test' });
      openCall({ carrier, model, greeting: 'Tell the events.', onEvent: (event) => events.push(event) });
    });
    const call = await placeCall(url);
    expect(await call.whenHeard(1500, 20_000)).toBe(true);
    call.say(speech('caller-interruption').audio);
    await until(() => events.filter(({ kind }) => kind === 'played').length === 1, 'the answer was played');
    call.hangUp();
    const record = await ended(call);
    const { interruptions } = figuresOf(record);
    expect(interruptions[0]).toMatchObject({ isHeardToEnd: false });
    // The double hears speech after 60 ms of it; then what is on its way.
    expect(interruptions[0]?.quietAfterMs).toBeLessThan(500);
    expect(record.clears).toHaveLength(1);
    expect(record.refusals).toEqual([]);
    expect(record.maxBufferedMs).toBeLessThanOrEqual(800.5);
    const answer = asHeard(speech('model-moment'));
    const all = played(record);
    const at = all.indexOf(answer.subarray(0, answer.byteLength - 160));
    expect(at).toBeGreaterThan(0);
    // What the model was not told: it believes to have said all that it had made.
    const [greeting, second] = sessions[0]?.truth.answers ?? [];
    expect(greeting?.isInterrupted).toBe(true);
    const interrupted = events.find((event) => event.kind === 'interrupted');
    expect(interrupted?.unheard[0]?.heardMs).toBeLessThan(greeting?.madeMs ?? 0);
    expect(second?.text ?? speech('model-moment').text).toBe(speech('model-moment').text);
    expect(events.filter(({ kind }) => kind === 'heard')).toEqual([
      { kind: 'heard', text: speech('caller-interruption').text },
    ]);
  });

  test('outlives its connection: the session goes on in another one, between two answers', async () => {
    const { sessions, url: modelUrl } = await serveGemini({
      speed: 10,
      maxAgeMs: 8000,
      goAwayMs: 7600,
      script: [{ heard: speech('caller-hello').text, says: speech('model-moment') }],
    });
    const events: CallEvent[] = [];
    let handle: string | undefined;
    const open = (past: readonly Utterance[] = []): ModelLeg =>
      openGeminiLive({
        url: modelUrl,
        model: 'gemini-live',
        apiKey: 'g-test',
        past,
        onResumable: (latest) => {
          handle = latest;
        },
        ...(handle === undefined ? {} : { resumptionHandle: handle }),
      });
    const url = await openLegs((carrier) => {
      const onEvent = (event: CallEvent): number => events.push(event);
      openCall({ carrier, model: open(), greeting: 'Greet the caller.', reopenModel: open, onEvent });
    });
    const call = await placeCall(url);
    await until(() => events.filter(({ kind }) => kind === 'ready').length === 2, 'another session is ready');
    call.say(speech('caller-hello').audio);
    await until(() => events.filter(({ kind }) => kind === 'played').length === 2, 'the answer was played');
    call.hangUp();
    const heard = played(await ended(call));
    for (const name of ['model-greeting', 'model-moment'] as const) {
      const whole = asHeard(speech(name));
      expect(heard.includes(whole.subarray(0, whole.byteLength - 160))).toBe(true);
    }
    expect(events.find(({ kind }) => kind === 'reopening')).toMatchObject({ code: 'expired' });
    // The second one is told to go, too, as soon as it has answered.
    const [first, second] = sessions.map(({ truth }) => truth);
    expect([first?.setup?.sessionResumption, second?.setup?.sessionResumption]).toEqual([
      {},
      { handle: expect.any(String) },
    ]);
    expect(first?.refusal).toBeUndefined();
    expect(second).toMatchObject({ refusal: undefined, texts: [] });
  });

  test('has tools, and is told of a key: each text is answered', async () => {
    const calls = { name: 'find_book', input: { title: 'Momo' } };
    const tool: CallTool = {
      name: 'find_book',
      description: 'Says where a book is.',
      parameters: { type: 'object', properties: { title: { type: 'string' } }, additionalProperties: false },
      run: async (input) => `${JSON.stringify(input)} is on the second floor.`,
    };
    const { sessions, url: modelUrl } = await serveGemini({
      script: [{ heard: 'Do you have Momo?', calls, says: speech('model-moment') }],
    });
    const events: CallEvent[] = [];
    const url = await openLegs((carrier) => {
      const model = openGeminiLive({ url: modelUrl, model: 'gemini-live', apiKey: 'g-test', tools: [tool] });
      openCall({ carrier, model, tools: [tool], onEvent: (event) => events.push(event) });
    });
    const call = await placeCall(url);
    await until(() => events.some(({ kind }) => kind === 'ready'), 'the model is ready');
    call.say(speech('caller-hello').audio);
    await until(() => events.some(({ kind }) => kind === 'played'), 'the answer was played');
    call.press('5');
    await until(() => sessions[0]?.truth.texts.length === 1, 'the model is told of the key');
    await until(() => events.filter(({ kind }) => kind === 'played').length === 2, 'that was answered, too');
    call.hangUp();
    await ended(call);
    expect(events.find(({ kind }) => kind === 'toolEnded')).toMatchObject({
      name: 'find_book',
      outcome: 'done',
    });
    expect(sessions[0]?.truth).toMatchObject({
      refusal: undefined,
      texts: ['The caller pressed 5 on the telephone.'],
      results: [{ response: { output: '{"title":"Momo"} is on the second floor.' } }],
    });
    expect(events.filter(({ kind }) => kind === 'used').length).toBeGreaterThanOrEqual(2);
  });
});

/** How far the error lies below the words, in dB. */
function snrDb(heard: Uint8Array, said: Uint8Array): number {
  const one = linearSamples(telephoneAudio, heard);
  const other = linearSamples(telephoneAudio, said);
  let signal = 0;
  let error = 0;
  for (const [index, value] of other.entries()) {
    signal += value ** 2;
    error += ((one[index] ?? 0) - value) ** 2;
  }
  expect(msOfBytes(telephoneAudio, one.length)).toBe(msOfBytes(telephoneAudio, other.length));
  return 10 * Math.log10(signal / error);
}
