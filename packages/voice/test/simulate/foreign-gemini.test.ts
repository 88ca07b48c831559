import {
  ActivityHandling,
  GoogleGenAI,
  type LiveConnectConfig,
  type LiveServerMessage,
  Modality,
  type Session,
} from '@google/genai';
import { msOfBytes, Resampler, telephoneAudio } from '@spillway/core/audio';
import { describe, expect, onTestFinished, test } from 'vitest';
import { until } from '../../../core/test/support/until.ts';
import {
  serveSimulatedModels,
  type SimulatedGemini,
  type SimulatedModelServerOptions,
} from '../../src/simulate/model/index.ts';
import { speech } from '../../src/simulate/speech.ts';
import { WebSocket } from 'ws';
import { closed as closeOf } from '../support/carrier-server.ts';
import { quiet } from '../support/realtime-client.ts';

const pcm24 = { encoding: 'pcm16', sampleRateHz: 24_000 } as const;
const pcm16 = { encoding: 'pcm16', sampleRateHz: 16_000 } as const;

const words = Buffer.concat([quiet(300), speech('caller-hello').audio, quiet(800)]);

/** Google's own client, connected to the double. */
class GoogleClient {
  readonly messages: LiveServerMessage[] = [];
  readonly session: Session;
  readonly model: SimulatedGemini;
  closed: { readonly code: number; readonly reason: string } | undefined;

  private constructor(session: Session, model: SimulatedGemini) {
    this.session = session;
    this.model = model;
  }

  static async connect(
    options: SimulatedModelServerOptions,
    config: LiveConnectConfig = {},
    apiKey = 'g-test',
  ): Promise<GoogleClient> {
    const opened = Promise.withResolvers<SimulatedGemini>();
    const server = await serveSimulatedModels({
      apiKey: 'g-test',
      thinkMs: 0,
      onGeminiSession: opened.resolve,
      ...options,
    });
    onTestFinished(() => server.close());
    const baseUrl = new URL(server.geminiUrl).origin.replace('ws', 'http');
    const api = new GoogleGenAI({ apiKey, httpOptions: { baseUrl, apiVersion: 'v1beta' } });
    const early: LiveServerMessage[] = [];
    let client: GoogleClient | undefined;
    let closed: GoogleClient['closed'];
    const session = await api.live.connect({
      model: 'gemini-live',
      config: { responseModalities: [Modality.AUDIO], ...config },
      callbacks: {
        onmessage: (message) => (client?.messages ?? early).push(message),
        onclose: ({ code, reason }) => {
          closed = { code, reason };
          if (client !== undefined) client.closed = closed;
        },
      },
    });
    onTestFinished(() => session.close());
    client = new GoogleClient(session, await opened.promise);
    client.messages.push(...early);
    client.closed = closed;
    return client;
  }

  /** Sends telephone audio as the API takes it, in pieces of 20 ms. */
  speak(audio: Uint8Array): void {
    const resampler = new Resampler(telephoneAudio, pcm16);
    for (let at = 0; at < audio.byteLength; at += 160)
      this.session.sendRealtimeInput({
        audio: {
          mimeType: 'audio/pcm;rate=16000',
          data: Buffer.from(resampler.push(audio.subarray(at, at + 160))).toString('base64'),
        },
      });
  }

  /** What was made, in milliseconds. */
  get madeMs(): number {
    const bytes = this.messages.reduce(
      (sum, { data }) => sum + (data === undefined ? 0 : Buffer.from(data, 'base64').byteLength),
      0,
    );
    return msOfBytes(pcm24, bytes);
  }

  has(isIt: (message: LiveServerMessage) => boolean): Promise<void> {
    return until(
      () => this.messages.some(isIt),
      () =>
        `${isIt.toString()}: got ${this.messages.map((one) => JSON.stringify(one).slice(0, 80)).join('\n')}`,
    );
  }
}

const transcribed: LiveConnectConfig = { inputAudioTranscription: {}, outputAudioTranscription: {} };
const isTurnOver = ({ serverContent }: LiveServerMessage): boolean => serverContent?.turnComplete === true;

describe("Google's client", () => {
  test('speaks and is answered, in both directions with words', async () => {
    const client = await GoogleClient.connect(
      { speed: 100, script: [{ heard: 'When are you open?', says: speech('caller-hello') }] },
      {
        ...transcribed,
        systemInstruction: 'You answer for a library.',
        speechConfig: { voiceConfig: { prebuiltVoiceConfig: { voiceName: 'Kore' } } },
      },
    );
    client.speak(words);
    await client.has(({ serverContent }) => serverContent?.generationComplete === true);
    const madeAtMs = performance.now();
    await client.has(isTurnOver);
    // As long as its audio plays.
    expect(performance.now() - madeAtMs).toBeGreaterThan(client.madeMs * 0.9 - 100);
    const heard = client.messages.map(({ serverContent }) => serverContent?.inputTranscription?.text ?? '');
    const said = client.messages.map(({ serverContent }) => serverContent?.outputTranscription?.text ?? '');
    expect(heard.join('')).toBe('When are you open?');
    expect(said.join('')).toBe(speech('caller-hello').text);
    expect(client.madeMs).toBe(msOfBytes(telephoneAudio, speech('caller-hello').audio.byteLength));
    const { usageMetadata } = client.messages.find(isTurnOver) ?? {};
    expect(usageMetadata?.responseTokenCount).toBe(Math.ceil(client.madeMs / 40));
    expect(client.model.truth).toMatchObject({
      refusal: undefined,
      answers: [{ text: speech('caller-hello').text, isInterrupted: false }],
      setup: { systemInstruction: { parts: [{ text: 'You answer for a library.' }] } },
    });
  });

  test('interrupts by speaking, also when all was made and it would still be playing', async () => {
    const client = await GoogleClient.connect({ speed: 1000, greeting: speech('model-events') });
    client.session.sendRealtimeInput({ text: 'Say hello.' });
    await client.has(({ serverContent }) => serverContent?.generationComplete === true);
    client.speak(words);
    await client.has(({ serverContent }) => serverContent?.interrupted === true);
    await until(() => client.model.truth.answers.length >= 1);
    expect(client.model.truth.answers[0]).toMatchObject({ isInterrupted: true });
    expect(client.model.truth.texts).toEqual(['Say hello.']);
    const kinds = client.messages.flatMap(({ serverContent = {} }) => Object.keys(serverContent));
    const at = kinds.indexOf('interrupted');
    expect(kinds[at + 1]).toBe('turnComplete');
  });

  test('is not interrupted where it says so', async () => {
    const client = await GoogleClient.connect(
      { speed: 1000, greeting: speech('model-hours') },
      { ...transcribed, realtimeInputConfig: { activityHandling: ActivityHandling.NO_INTERRUPTION } },
    );
    client.session.sendRealtimeInput({ text: 'Say hello.' });
    await client.has(({ serverContent }) => serverContent?.generationComplete === true);
    client.speak(words);
    await client.has(({ serverContent }) => serverContent?.inputTranscription !== undefined);
    expect(client.messages.some(({ serverContent }) => serverContent?.interrupted === true)).toBe(false);
  });

  test('uses a tool, and is told that it is not wanted when the human speaks', async () => {
    const calls = { name: 'find_book', input: { title: 'Momo' } };
    const client = await GoogleClient.connect(
      { speed: 1000, script: [{ heard: 'Do you have Momo?', calls, says: speech('caller-goodbye') }] },
      {
        tools: [
          {
            functionDeclarations: [
              {
                name: 'find_book',
                parameters: { type: 'OBJECT', properties: { title: { type: 'STRING' } } } as never,
              },
            ],
          },
        ],
      },
    );
    client.speak(words);
    await client.has(({ toolCall }) => toolCall !== undefined);
    const [call] = client.messages.flatMap(({ toolCall }) => toolCall?.functionCalls ?? []);
    expect(call).toMatchObject({ name: 'find_book', args: { title: 'Momo' } });
    client.session.sendToolResponse({
      functionResponses: [{ id: call?.id ?? '', name: 'find_book', response: { output: 'yes' } }],
    });
    await client.has(({ serverContent }) => serverContent?.generationComplete === true);
    expect(client.model.truth.results).toEqual([{ id: call?.id, response: { output: 'yes' } }]);
    client.speak(words);
    await until(() => client.messages.filter(({ toolCall }) => toolCall !== undefined).length === 2);
    client.speak(words);
    await client.has(({ toolCallCancellation }) => toolCallCancellation?.ids?.length === 1);
  });

  test('is told before the connection ends', async () => {
    const server: SimulatedModelServerOptions = { speed: 1000, maxAgeMs: 700, goAwayMs: 600 };
    const client = await GoogleClient.connect(server);
    await client.has(({ goAway }) => goAway?.timeLeft === '0.6s');
    client.session.sendRealtimeInput({ text: 'Say hello.' });
    await until(() => client.closed !== undefined);
    expect(client.closed).toEqual({ code: 1008, reason: 'The operation was aborted.' });
  });
});

describe('what Gemini refuses', () => {
  const invalid = { code: 1007, reason: 'Request contains an invalid argument.' };

  test.each<readonly [string, (session: Session) => void]>([
    ['a text as content while a session runs', (session) => session.sendClientContent({ turns: 'Hello.' })],
    [
      'a sign of speech where it detects speech itself',
      (session) => session.sendRealtimeInput({ activityStart: {} }),
    ],
    [
      'audio of another kind',
      (session) => session.sendRealtimeInput({ audio: { mimeType: 'audio/wav', data: 'AAAA' } }),
    ],
    [
      'a result that nobody asked for',
      (session) =>
        session.sendToolResponse({ functionResponses: [{ id: 'x', name: 'find_book', response: {} }] }),
    ],
  ])('%s', async (_name, send) => {
    const client = await GoogleClient.connect({});
    send(client.session);
    await until(() => client.closed !== undefined);
    expect(client.closed).toEqual(invalid);
    expect(client.model.truth.refusal).toEqual(invalid);
  });

  test('what its own client would not send: a field that it does not know, a first message that sets nothing up, two setups', async () => {
    const server = await serveSimulatedModels();
    onTestFinished(() => server.close());
    const model = 'models/gemini-live';
    const parameters = { type: 'object', additionalProperties: false };
    const tools = [{ functionDeclarations: [{ name: 'find_book', parameters }] }];
    const unknown = `Unknown name "additionalProperties" at 'setup.tools[0].functionDeclarations[0].parameters': Cannot find field.`;
    for (const [messages, reason] of [
      [[{ setup: { model, tools } }], `Invalid JSON payload received. ${unknown}`.slice(0, 123)],
      [[{ realtimeInput: { text: 'Hello.' } }], invalid.reason],
      [[{ setup: { model } }, { setup: { model } }], invalid.reason],
      [['{'], 'Invalid JSON payload received.'],
    ] as const) {
      const client = new WebSocket(server.geminiUrl);
      onTestFinished(() => client.terminate());
      client.on('open', () => {
        for (const one of messages) client.send(typeof one === 'string' ? one : JSON.stringify(one));
      });
      expect(await closeOf(client)).toEqual({ code: 1007, reason });
    }
  });

  test('a key that is wrong, and a session that it does not know', async () => {
    await expect(GoogleClient.connect({}, {}, 'another')).rejects.toThrow('API key not valid');
    await expect(GoogleClient.connect({}, { sessionResumption: { handle: 'x' } })).rejects.toThrow(
      'code 1008): Requested entity was not found.',
    );
  });

  test('more than its quota', async () => {
    const client = await GoogleClient.connect({ faults: { isRateLimited: true } });
    client.session.sendRealtimeInput({ text: 'Say hello.' });
    await until(() => client.closed !== undefined);
    expect(client.closed?.code).toBe(1011);
    expect(client.closed?.reason).toContain('quota');
  });
});
