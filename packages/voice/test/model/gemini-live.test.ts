import { msOfBytes, telephoneAudio } from '@spillway/core/audio';
import type { LiveServerMessage } from '@google/genai';
import { describe, expect, onTestFinished, test } from 'vitest';
import { until } from '../../../core/test/support/until.ts';
import type { GeminiLiveOptions } from '../../src/index.ts';
import { openGeminiLive } from '../../src/index.ts';
import { speech } from '../../src/simulate/speech.ts';
import { OpenedGemini, serveGemini } from '../support/opened-gemini.ts';
import { quiet } from '../support/realtime-client.ts';
import { WildServer } from '../support/wild-server.ts';

const hello = Buffer.concat([quiet(300), speech('caller-hello').audio, quiet(1200)]);
const answer = speech('caller-goodbye');

/** A server that says what a test wants, as Google's types have it. */
class WildGemini {
  readonly server = new WildServer();
  readonly #isBinary: boolean;

  constructor(isBinary = true) {
    this.#isBinary = isBinary;
    this.server.answer = (message) => {
      if ('setup' in message) this.say({ setupComplete: {} });
    };
    onTestFinished(() => this.server.close());
  }

  async open(options: Partial<GeminiLiveOptions> = {}): Promise<OpenedGemini> {
    const opened = new OpenedGemini(await this.server.listening(), { format: pcm24, ...options });
    await opened.next('ready');
    return opened;
  }

  say(message: Partial<Omit<LiveServerMessage, 'data' | 'text'>> | string): void {
    const text = typeof message === 'string' ? message : JSON.stringify(message);
    this.server.sockets.at(-1)?.send(this.#isBinary ? Buffer.from(text) : text);
  }

  /** So many milliseconds of a part. */
  speak(ms: number): void {
    const data = Buffer.alloc(ms * 48).toString('base64');
    this.say({
      serverContent: { modelTurn: { parts: [{ inlineData: { mimeType: 'audio/pcm;rate=24000', data } }] } },
    });
  }

  get received(): readonly Readonly<Record<string, unknown>>[] {
    return this.server.received;
  }
}

const pcm24 = { encoding: 'pcm16', sampleRateHz: 24_000 } as const;
const loud = Buffer.alloc(960, 0x22);

/** The kinds of what came, without what comes at its own pace. */
function kindsOf({ kinds }: OpenedGemini): string[] {
  return kinds.filter((kind) => !['drained', 'used'].includes(kind));
}

describe('a conversation with Gemini', () => {
  test('is set up, greets, hears, and answers, in the telephone’s format', async () => {
    const { sessions, url } = await serveGemini({
      speed: 1000,
      greeting: speech('caller-hello'),
      script: [{ heard: 'When are you open?', says: answer }],
    });
    const opened = new OpenedGemini(url, {
      instructions: 'You answer for a library.',
      voice: 'Kore',
      language: 'en-US',
      maxOutputTokens: 2000,
    });
    await opened.next('ready');
    opened.leg.respond('Greet the caller.');
    await opened.next('responseEnded');
    const greeting = Buffer.concat(opened.of('audio').map(({ audio }) => audio));
    expect(msOfBytes(telephoneAudio, greeting.byteLength)).toBe(
      msOfBytes(telephoneAudio, speech('caller-hello').audio.byteLength),
    );
    // Its turn is over when it would have been heard.
    await until(() => sessions[0]?.truth.answers.length === 1);
    await opened.next('used');
    opened.speak(hello);
    await opened.next('responseEnded', 2);
    await opened.next('used', 2);
    const whole = opened.events.flatMap((event) =>
      (event.kind === 'said' || event.kind === 'heard') && event.isWhole
        ? [`${event.kind} ${event.text}`]
        : [],
    );
    expect(whole).toEqual([
      `said ${speech('caller-hello').text}`,
      'heard When are you open?',
      `said ${answer.text}`,
    ]);
    expect(opened.of('responseEnded').map(({ state }) => state)).toEqual(['completed', 'completed']);
    expect(opened.of('audioEnded').map(({ part }) => part.itemId)).toEqual(['said-1', 'said-2']);
    const madeMs = msOfBytes(telephoneAudio, answer.audio.byteLength);
    expect(opened.of('used').at(-1)?.usage).toEqual({
      inputTokens: 100,
      outputTokens: Math.ceil(madeMs / 40),
    });
    expect(sessions[0]?.truth).toMatchObject({
      refusal: undefined,
      texts: ['Greet the caller.'],
      receivedMs: msOfBytes(telephoneAudio, hello.byteLength) - 2,
      turns: [{ heard: 'When are you open?' }],
      setup: {
        model: 'models/gemini-live',
        systemInstruction: { parts: [{ text: 'You answer for a library.' }] },
        generationConfig: {
          maxOutputTokens: 2000,
          speechConfig: {
            languageCode: 'en-US',
            voiceConfig: { prebuiltVoiceConfig: { voiceName: 'Kore' } },
          },
        },
      },
    });
  });

  test('a response ends when it is made, and not a minute later, when it would have been heard', async () => {
    const wild = new WildGemini();
    const opened = await wild.open();
    wild.speak(400);
    wild.say({ serverContent: { generationComplete: true } });
    await opened.next('responseEnded');
    expect(kindsOf(opened)).toEqual(['ready', 'responseStarted', 'audio', 'audioEnded', 'responseEnded']);
    // What comes behind its end is of no other answer.
    wild.speak(20);
    wild.say({ serverContent: { turnComplete: true } });
    wild.speak(100);
    await opened.next('responseStarted', 2);
    expect(opened.of('audio').map(({ responseId }) => responseId)).toEqual(['turn-1', 'turn-2']);
  });

  test('text in text messages is understood, too', async () => {
    const wild = new WildGemini(false);
    const opened = await wild.open();
    wild.speak(400);
    expect((await opened.next('audio')).audio.byteLength).toBe(400 * 48 - 0);
  });

  test('goes on with what was said before, where speakers alternate', async () => {
    const { sessions, url } = await serveGemini();
    const opened = new OpenedGemini(url, {
      past: [
        { role: 'model', text: 'Hello.' },
        { role: 'caller', text: 'Are you open?' },
        { role: 'caller', text: 'Today?' },
      ],
    });
    await opened.next('ready');
    opened.leg.respond();
    await opened.next('audio');
    expect(sessions[0]?.truth).toMatchObject({
      refusal: undefined,
      history: [
        { role: 'model', text: 'Hello.' },
        { role: 'user', text: 'Are you open?Today?' },
      ],
      texts: ['Please go on.'],
    });
  });

  test('is resumed by its handle, and then not told what was said', async () => {
    const { sessions, url } = await serveGemini({ speed: 1000, greeting: speech('caller-hello') });
    const handles: string[] = [];
    const onResumable = (handle: string): number => handles.push(handle);
    const first = new OpenedGemini(url, { onResumable });
    await first.next('ready');
    first.leg.respond();
    await until(() => handles.length === 1);
    const past = [{ role: 'model', text: 'Hello.' }] as const;
    const second = new OpenedGemini(url, { resumptionHandle: handles[0] ?? '', past });
    await second.next('ready');
    expect(sessions[1]?.truth).toMatchObject({
      history: [],
      setup: { sessionResumption: { handle: handles[0] } },
    });
  });
});

describe('an interruption of Gemini', () => {
  test('is told at once, and what still comes of the old answer is dropped until its turn is over', async () => {
    const wild = new WildGemini();
    const opened = await wild.open();
    wild.speak(400);
    await opened.next('audio');
    opened.leg.send(loud);
    opened.leg.send(loud);
    wild.say({ serverContent: { interrupted: true } });
    wild.speak(200);
    wild.say({ serverContent: { outputTranscription: { text: 'late' } } });
    wild.say({ serverContent: { turnComplete: true } });
    wild.speak(100);
    await opened.next('responseStarted', 2);
    expect(kindsOf(opened)).toEqual([
      'ready',
      'responseStarted',
      'audio',
      'speechStarted',
      'audioEnded',
      'responseEnded',
      'said',
      'responseStarted',
      'audio',
    ]);
    expect(opened.of('responseEnded')[0]?.state).toBe('cancelled');
    // Frames of 24,000 Hz are sent as 16,000, the last 2 ms wait.
    expect(opened.of('speechStarted')[0]?.atMs).toBeCloseTo(38.7, 0);
  });

  test('an answer whose turn never ends does not silence the next one for ever', async () => {
    const wild = new WildGemini();
    const timers: (() => void)[] = [];
    const after = (ms: number, callback: () => void): { stop(): void } => {
      if (ms === 2000) timers.push(callback);
      return { stop: () => undefined };
    };
    const opened = await wild.open({ clock: { after } });
    wild.speak(400);
    opened.leg.send(loud);
    wild.say({ serverContent: { interrupted: true } });
    await opened.next('responseEnded');
    expect(timers).toHaveLength(1);
    timers[0]?.();
    wild.speak(100);
    await opened.next('responseStarted', 2);
  });

  test('by nobody is a warning, and the ear keeps what it has', async () => {
    const { url } = await serveGemini({ speed: 1000, faults: { phantomAtMs: 1000 } });
    const opened = new OpenedGemini(url);
    await opened.next('ready');
    opened.speak(quiet(100));
    opened.leg.respond('Say hello.');
    const { code } = await opened.next('warned');
    expect(code).toBe('phantom_interruption');
    await opened.next('said', 2);
    expect(opened.of('speechStarted')).toEqual([]);
    expect(opened.of('responseEnded')[0]?.state).toBe('incomplete');
    const audio = opened.of('audio').reduce((sum, one) => sum + one.audio.byteLength, 0);
    expect(msOfBytes(telephoneAudio, audio)).toBeGreaterThanOrEqual(1000);
  });

  test('by a key that was pressed is one', async () => {
    const { sessions, url } = await serveGemini({ speed: 1000 });
    const opened = new OpenedGemini(url);
    await opened.next('ready');
    opened.leg.respond('Say hello.');
    await opened.next('responseEnded');
    opened.leg.tell('The caller pressed 5 on the telephone.');
    await opened.next('speechStarted');
    expect(opened.of('warned')).toEqual([]);
    await until(() => sessions[0]?.truth.answers[0]?.isInterrupted ?? false);
  });

  test('by each of some keys that were pressed quickly is one, and one by nobody behind them is none', async () => {
    const wild = new WildGemini();
    const opened = await wild.open();
    opened.leg.send(loud);
    for (let ms = 0; ms < 4000; ms += 20) opened.leg.send(Buffer.alloc(960));
    wild.speak(400);
    await opened.next('audio');
    const interrupt = (): void => {
      wild.say({ serverContent: { interrupted: true } });
      wild.say({ serverContent: { turnComplete: true } });
    };
    for (const key of ['1', '2', '3']) opened.leg.tell(`The caller pressed ${key} on the telephone.`);
    interrupt();
    // The answer to the first key has begun before the second one arrives.
    wild.speak(100);
    await opened.next('audio', 2);
    interrupt();
    interrupt();
    wild.speak(100);
    await opened.next('audio', 3);
    expect(opened.of('speechStarted')).toHaveLength(3);
    expect(opened.of('warned')).toEqual([]);
    interrupt();
    expect((await opened.next('warned')).code).toBe('phantom_interruption');
    expect(opened.of('speechStarted')).toHaveLength(3);
  });

  test('by a key that did nothing is not awaited for ever', async () => {
    const wild = new WildGemini();
    const opened = await wild.open();
    opened.leg.tell('The caller pressed 1 on the telephone.');
    opened.leg.tell('The caller pressed 2 on the telephone.');
    wild.speak(400);
    await opened.next('audio');
    for (let ms = 0; ms < 3100; ms += 20) opened.leg.send(Buffer.alloc(960));
    wild.say({ serverContent: { interrupted: true } });
    expect((await opened.next('warned')).code).toBe('phantom_interruption');
  });

  test('when no answer is open is known by the first words; by silence behind them, that it is over', async () => {
    const wild = new WildGemini();
    const opened = await wild.open();
    opened.leg.send(loud);
    wild.say({ serverContent: { inputTranscription: { text: ' When' } } });
    await opened.next('speechStarted');
    wild.say({ serverContent: { inputTranscription: { text: ' are you open?' } } });
    await opened.next('heard', 2);
    for (let ms = 0; ms < 480; ms += 20) opened.leg.send(Buffer.alloc(960));
    expect(opened.of('speechStopped')).toEqual([]);
    for (let ms = 0; ms < 60; ms += 20) opened.leg.send(Buffer.alloc(960));
    expect(opened.of('heard').at(-1)).toMatchObject({ text: 'When are you open?', isWhole: true });
    expect(opened.of('speechStopped')[0]?.atMs).toBeCloseTo(39, 0);
    // Words that come late, into the answer to them, are no speech.
    wild.speak(100);
    wild.say({ serverContent: { inputTranscription: { text: ' Hm.' } } });
    wild.say({ serverContent: { turnComplete: true } });
    await opened.next('heard', 5);
    expect(opened.of('speechStarted')).toHaveLength(1);
    expect(opened.of('heard').filter(({ isWhole }) => isWhole)).toEqual([
      { kind: 'heard', itemId: 'heard-0', text: 'When are you open?', isWhole: true },
      { kind: 'heard', itemId: 'heard-1', text: 'Hm.', isWhole: true },
    ]);
  });
});

describe('an answer of Gemini that is cancelled', () => {
  test('is made to its end, and nothing of it comes', async () => {
    const { sessions, url } = await serveGemini({ speed: 20, greeting: answer });
    const opened = new OpenedGemini(url);
    await opened.next('ready');
    opened.leg.respond('Say hello.');
    await opened.next('audio');
    const before = opened.of('audio').length;
    opened.leg.cancel();
    const { state } = await opened.next('responseEnded');
    expect(state).toBe('cancelled');
    // What the resampler held.
    expect(opened.of('audio').length).toBeLessThanOrEqual(before + 1);
    await until(() => sessions[0]?.truth.answers[0]?.text === answer.text);
  });

  test('before it has begun is not heard when it comes, and the next one is', async () => {
    const { sessions, url } = await serveGemini({
      speed: 1000,
      thinkMs: 50,
      greeting: speech('caller-hello'),
    });
    const opened = new OpenedGemini(url);
    await opened.next('ready');
    opened.leg.respond('Say hello.');
    opened.leg.cancel();
    const { state } = await opened.next('responseEnded');
    expect(state).toBe('cancelled');
    await until(() => sessions[0]?.truth.answers.length === 1);
    await opened.next('used');
    // The ear has nothing of its words.
    expect(kindsOf(opened)).toEqual(['ready', 'responseStarted', 'responseEnded']);
    opened.leg.respond('Say it again.');
    await opened.next('audio');
  });

  test.each(['a voice', 'a key'])(
    'by who stops it with %s does not lose the answer to that',
    async (what) => {
      const wild = new WildGemini();
      const opened = await wild.open();
      opened.cancelsAtSpeech = true;
      opened.leg.respond('Say hello.');
      opened.leg.cancel();
      if (what === 'a key') opened.leg.tell('The caller pressed 5 on the telephone.');
      else opened.leg.send(loud);
      wild.say({ serverContent: { interrupted: true } });
      wild.say({ serverContent: { turnComplete: true } });
      await opened.next('speechStarted');
      wild.speak(100);
      await opened.next('audio');
    },
  );

  test('for words of a caller does not lose the answer to them', async () => {
    const wild = new WildGemini();
    const opened = await wild.open();
    opened.cancelsAtSpeech = true;
    opened.leg.respond('Say hello.');
    opened.leg.cancel();
    wild.say({ serverContent: { inputTranscription: { text: 'Are you open?' } } });
    wild.speak(100);
    await opened.next('audio');
  });

  test('one that is asked for meanwhile waits for its end', async () => {
    const wild = new WildGemini();
    const opened = await wild.open();
    wild.speak(100);
    await opened.next('audio');
    opened.leg.respond('Say goodbye.');
    wild.say({ serverContent: { generationComplete: true } });
    await opened.next('responseEnded');
    expect(wild.received).toHaveLength(1);
    wild.say({ serverContent: { turnComplete: true } });
    await until(() => wild.received.length === 2);
    expect(wild.received[1]).toEqual({ realtimeInput: { text: 'Say goodbye.' } });
  });
});

describe('tools of Gemini', () => {
  const findBook = {
    name: 'find_book',
    description: 'Finds a book.',
    parameters: {
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      type: 'object',
      additionalProperties: false,
      properties: {
        title: { type: ['string', 'null'], minLength: 1 },
        kind: { oneOf: [{ const: 'paper' }, { type: 'integer', enum: [1, 2] }] },
        tags: { type: 'array', items: { type: 'string', default: 'x' } },
      },
      required: ['title'],
    },
  };

  test('are declared in the API’s own schema, asked for, and answered', async () => {
    const calls = { name: 'find_book', input: { title: 'Momo' } };
    const { sessions, url } = await serveGemini({ speed: 1000, script: [{ calls, says: answer }] });
    const opened = new OpenedGemini(url, { tools: [findBook] });
    await opened.next('ready');
    opened.speak(hello);
    const asked = await opened.next('toolCalled');
    expect(asked).toMatchObject({ name: 'find_book', input: '{"title":"Momo"}', responseId: 'turn-1' });
    opened.leg.giveResult(asked.callId, 'on the second floor');
    await opened.next('audio');
    const truth = sessions[0]?.truth;
    expect(truth?.results).toEqual([{ id: asked.callId, response: { output: 'on the second floor' } }]);
    expect(truth?.setup?.tools?.[0]?.functionDeclarations?.[0]?.parameters).toEqual({
      type: 'OBJECT',
      properties: {
        title: { type: 'STRING', nullable: true, minLength: 1 },
        kind: { anyOf: [{ enum: ['paper'] }, { type: 'INTEGER' }] },
        tags: { type: 'ARRAY', items: { type: 'STRING' } },
      },
      required: ['title'],
    });
  });

  test('that the model has taken back get no result, and no answer is awaited', async () => {
    const wild = new WildGemini();
    const opened = await wild.open();
    opened.leg.send(loud);
    wild.say({ toolCall: { functionCalls: [{ id: 'one', name: 'find_book', args: {} }] } });
    await opened.next('responseEnded');
    wild.say({ serverContent: { turnComplete: true } });
    wild.say({ toolCallCancellation: { ids: ['one'] } });
    // It is the caller who has done that.
    await opened.next('speechStarted');
    wild.say({ toolCall: { functionCalls: [{ id: 'two', name: 'find_book', args: {} }] } });
    await opened.next('toolCalled', 2);
    expect(opened.of('toolCancelled')).toEqual([{ kind: 'toolCancelled', callId: 'one' }]);
    opened.leg.giveResult('one', 'late');
    opened.leg.giveResult('two', 'in time');
    await until(() => wild.received.some((message) => 'toolResponse' in message));
    expect(wild.received.filter((message) => 'toolResponse' in message)).toEqual([
      {
        toolResponse: {
          functionResponses: [{ id: 'two', name: 'find_book', response: { output: 'in time' } }],
        },
      },
    ]);
    await until(() => opened.of('responseEnded').some(({ responseId }) => responseId === 'dropped-one'));
  });

  test('are waited for within a turn, or behind its end, and no answer is due meanwhile', async () => {
    const wild = new WildGemini();
    const opened = await wild.open();
    wild.speak(100);
    wild.say({ toolCall: { functionCalls: [{ id: 'one', name: 'find_book', args: {} }] } });
    await opened.next('responseEnded');
    // The last of what it said before it asked.
    wild.speak(40);
    await opened.next('audio', 2);
    opened.leg.giveResult('one', 'yes');
    wild.speak(200);
    wild.say({ serverContent: { generationComplete: true } });
    await opened.next('responseEnded', 2);
    expect(kindsOf(opened)).toEqual([
      'ready',
      'responseStarted',
      'audio',
      'toolCalled',
      'responseEnded',
      'audio',
      'audioEnded',
      'responseStarted',
      'audio',
      'audioEnded',
      'responseEnded',
    ]);
    expect(opened.of('audio').map(({ part }) => part.itemId)).toEqual(['said-1', 'said-1', 'said-2']);
  });
});

test('audio of no bytes is none, and begins no answer', async () => {
  const wild = new WildGemini();
  const opened = await wild.open();
  wild.speak(0);
  wild.say({ serverContent: { inputTranscription: { text: 'Hm.' } } });
  await opened.next('heard');
  expect(kindsOf(opened)).toEqual(['ready', 'heard', 'speechStarted']);
});

test('words of an answer that come behind its turn begin no other one', async () => {
  const wild = new WildGemini();
  const opened = await wild.open();
  wild.speak(100);
  wild.say({ serverContent: { turnComplete: true } });
  wild.say({ serverContent: { outputTranscription: { text: 'Late.' } } });
  wild.say({ serverContent: { inputTranscription: { text: 'Hm.' } } });
  await opened.next('heard');
  expect(opened.of('responseStarted')).toHaveLength(1);
});

describe('the end of a session with Gemini', () => {
  test('leaves what was said and heard until then, whole, before it is told', async () => {
    const wild = new WildGemini();
    const opened = await wild.open();
    wild.say({ serverContent: { outputTranscription: { text: ' We' } } });
    wild.speak(100);
    wild.say({ serverContent: { outputTranscription: { text: ' are' } } });
    wild.say({ serverContent: { generationComplete: true } });
    wild.say({ serverContent: { outputTranscription: { text: ' open.' } } });
    wild.say({ serverContent: { inputTranscription: { text: ' Hm?' } } });
    await opened.next('heard');
    wild.server.sockets[0]?.close(1011);
    await opened.next('ended');
    const texts = opened.events.flatMap((event) =>
      event.kind === 'said' || event.kind === 'heard' || event.kind === 'ended'
        ? [event.kind === 'ended' ? 'ended' : `${event.kind} ${event.isWhole}:${event.text}`]
        : [],
    );
    expect(texts).toEqual([
      'said false: We',
      'said false: are',
      'said false: open.',
      'heard false: Hm?',
      'heard true:Hm?',
      'said true:We are open.',
      'ended',
    ]);
    // One that was closed says nothing more.
    const closed = await wild.open();
    wild.speak(100);
    wild.say({ serverContent: { outputTranscription: { text: ' We' } } });
    await closed.next('said');
    closed.leg.close();
    await until(() => wild.server.closeCode === 1000);
    expect(closed.of('said')).toHaveLength(1);
  });

  test('is told before, and comes with the end of an answer', async () => {
    const wild = new WildGemini();
    const opened = await wild.open();
    wild.say({ goAway: { timeLeft: '50.5s' } });
    expect(await opened.next('warned')).toMatchObject({
      code: 'going_away',
      message: expect.stringContaining('50500 ms'),
    });
    wild.speak(100);
    await opened.next('audio');
    expect(opened.of('ended')).toEqual([]);
    wild.say({ serverContent: { turnComplete: true } });
    expect((await opened.next('ended')).code).toBe('expired');
  });

  test('comes a second before it would be cut, where no answer ends', async () => {
    const { sessions, url } = await serveGemini({ maxAgeMs: 1400, goAwayMs: 1300 });
    const opened = new OpenedGemini(url);
    expect((await opened.next('ended')).code).toBe('expired');
    expect(sessions[0]?.truth.refusal).toBeUndefined();
  });

  test.each([
    [1007, 'API key expired. Please renew the API key.', 'unauthorized'],
    [1007, 'Request contains an invalid argument.', 'refused'],
    [1008, 'models/x is not found for API version v1beta', 'refused'],
    [1011, 'You exceeded your current quota, please check', 'rate_limited'],
    [1008, 'The operation was aborted.', 'expired'],
    [1011, 'Internal error encountered.', 'lost'],
  ])('%i %s is %s', async (closeCode, reason, code) => {
    const wild = new WildGemini();
    const opened = await wild.open();
    wild.server.sockets[0]?.close(closeCode, reason);
    const ended = await opened.next('ended');
    expect(ended.code).toBe(code);
    expect(ended.message).toContain(reason);
  });

  test('has no key in its message', async () => {
    const wild = new WildGemini();
    const opened = await wild.open({ apiKey: 'AIza-secret' });
    expect(wild.server.requests[0]?.headers['x-goog-api-key']).toBe('AIza-secret');
    expect(wild.server.requests[0]?.url).not.toContain('secret');
    wild.server.sockets[0]?.close(1007, 'API key AIza-secret not valid.');
    const { message } = await opened.next('ended');
    expect(message).toBe('It closed the connection with code 1007: API key … not valid.');
  });

  const audio = (mimeType: string, data: string): Parameters<WildGemini['say']>[0] => ({
    serverContent: { modelTurn: { parts: [{ inlineData: { mimeType, data } }] } },
  });
  test.each([
    ['{', 'expected JSON, got 1 characters that are none'],
    ['[]', 'expected an object'],
    ['{"toolCall":{"functionCalls":[{"id":1}]}}', 'toolCall.functionCalls.0.id is not what was expected'],
    [audio('audio/pcm;rate=24000', 'AAA='), undefined],
    [audio('audio/pcm;rate=24000', 'A'), 'audio that is no base64 of whole samples'],
    [audio('audio/pcm;rate=24000', 'AA=='), 'audio that is no base64 of whole samples'],
    [audio('audio/pcm;rate=48000', 'AAA='), 'audio of another kind'],
    [audio('audio/ogg', 'AAAA'), 'audio that is no base64 of whole samples'],
  ])('%j is told as what it is', async (message, wrong) => {
    const wild = new WildGemini();
    const opened = await wild.open();
    wild.say(message);
    if (wrong === undefined) await opened.next('audio');
    else {
      const ended = await opened.next('ended');
      expect(ended.code).toBe('bad_message');
      expect(ended.message).toContain(wrong);
      await until(() => wild.server.closeCode !== undefined);
      expect(wild.server.closeCode).toBe(1008);
    }
  });
});

test.each<readonly [Partial<GeminiLiveOptions>, string]>([
  [{ url: 'https://example.com' }, 'url: expected a URL with ws: or wss:'],
  [{ model: 'a model' }, 'model: expected the name of a model'],
  [{ apiKey: 'a key' }, 'apiKey: expected printable ASCII'],
  [{ format: { encoding: 'mulaw', sampleRateHz: 8001.5 } }, 'sampleRateHz: expected'],
  [{ maxOutputTokens: 0 }, 'maxOutputTokens: expected a whole number from 1 to 65536'],
])('options that cannot be used are told: %j', (options, message) => {
  let opened: { close(): void } | undefined;
  expect(() => {
    opened = openGeminiLive({ url: 'ws://127.0.0.1:9', model: 'gemini-live', ...options });
  }).toThrow(message);
  opened?.close();
});
