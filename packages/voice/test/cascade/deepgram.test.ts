import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type AudioFormat, bytesOfMs, silence, telephoneAudio } from '@spillway/core/audio';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { type DeepgramListenOptions, openDeepgramListen } from '@spillway/voice';
import { serveSimulatedRecognisers } from '@spillway/voice/simulate/recogniser';
import { describe, expect, onTestFinished, test } from 'vitest';
import { type WebSocket, WebSocketServer } from 'ws';
import { until } from '../../../core/test/support/until.ts';
import { OpenedRecogniser } from '../support/opened-recogniser.ts';
import { testKey } from '../support/recogniser-engines.ts';

/** Silence of a telephone. */
function quiet(ms: number): Uint8Array {
  return silence(telephoneAudio, bytesOfMs(telephoneAudio, ms));
}

interface Word {
  readonly word: string;
  readonly start: number;
  readonly end: number;
  readonly punctuated_word?: string;
}

/** Results, as the API sends them. */
function results(
  start: number,
  duration: number,
  transcript: string,
  more: {
    readonly is_final?: boolean;
    readonly from_finalize?: boolean;
    readonly words?: readonly Word[];
  } = {},
): object {
  const { words = [], ...flags } = more;
  return {
    type: 'Results',
    channel_index: [0, 1],
    start,
    duration,
    is_final: true,
    speech_final: false,
    ...flags,
    channel: { alternatives: [{ transcript, confidence: 0.9, words }] },
  };
}

/** A server that says what a test wants. */
class ListenServer {
  readonly #server: WebSocketServer;
  readonly requests: IncomingMessage[] = [];
  readonly texts: string[] = [];
  audioBytes = 0;
  #socket: WebSocket | undefined;

  constructor() {
    this.#server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    this.#server.on('connection', (socket, request) => {
      this.#socket = socket;
      this.requests.push(request);
      socket.on('error', () => undefined);
      socket.on('message', (data, isBinary) => {
        if (isBinary) this.audioBytes += (data as Buffer).byteLength;
        else this.texts.push((data as Buffer).toString());
      });
    });
    onTestFinished(() => {
      for (const socket of this.#server.clients) socket.terminate();
      this.#server.close();
    });
  }

  get socket(): WebSocket {
    if (this.#socket === undefined) throw new TypeError('nobody is connected');
    return this.#socket;
  }

  async url(): Promise<string> {
    if (this.#server.address() === null) await once(this.#server, 'listening');
    return `ws://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1/listen`;
  }

  say(...messages: readonly object[]): void {
    for (const message of messages) this.socket.send(JSON.stringify(message));
  }

  /** Resolves when so many messages of a type have come. */
  async has(type: string, count = 1): Promise<void> {
    await until(
      () => this.texts.filter((text) => text === `{"type":"${type}"}`).length >= count,
      () => `${type}: got ${this.texts.join(', ')}`,
    );
  }
}

async function opened(
  options: Partial<DeepgramListenOptions> = {},
): Promise<{ readonly server: ListenServer; readonly heard: OpenedRecogniser }> {
  const server = new ListenServer();
  const heard = new OpenedRecogniser(
    openDeepgramListen({ url: await server.url(), apiKey: testKey, ...options }),
  );
  await heard.next('ready');
  await until(() => server.requests.length === 1);
  return { server, heard };
}

describe('the connection', () => {
  test('has the settings in its query, beside those that were there', async () => {
    const server = new ListenServer();
    const heard = new OpenedRecogniser(
      openDeepgramListen({
        url: `${await server.url()}?keyterm=Ada&encoding=opus`,
        apiKey: testKey,
        model: 'nova-2-phonecall',
        language: 'de',
      }),
    );
    await heard.next('ready');
    await until(() => server.requests.length === 1);
    const [path, query] = server.requests[0]?.url?.split('?') ?? [];
    expect(path).toBe('/v1/listen');
    expect(Object.fromEntries(new URLSearchParams(query))).toEqual({
      keyterm: 'Ada',
      model: 'nova-2-phonecall',
      encoding: 'mulaw',
      sample_rate: '8000',
      channels: '1',
      interim_results: 'true',
      punctuate: 'true',
      language: 'de',
    });
    expect(server.requests[0]?.headers.authorization).toBe(`Token ${testKey}`);
  });

  test('has a sign every 4 s while nobody speaks: the API waits for 10', async () => {
    const clock = new VirtualClock();
    const { heard, server } = await opened({ clock, keepAliveMs: 120_000 });
    for (let count = 1; count <= 5; count += 1) {
      await clock.advance(3999);
      expect(server.texts.length).toBe(count - 1);
      await clock.advance(1);
      await server.has('KeepAlive', count);
    }
    heard.recogniser.close();
    await server.has('CloseStream');
    await clock.advance(60_000);
    expect(server.texts.length).toBe(6);
  });

  test('is told that it is over', async () => {
    const { heard, server } = await opened();
    let code = 0;
    server.socket.on('close', (closeCode) => (code = closeCode));
    heard.recogniser.close();
    await server.has('CloseStream');
    await until(() => code !== 0);
    expect(code).toBe(1000);
  });

  test.each([
    [1008, 'DATA-0000', 'refused'],
    [1011, 'NET-0001', 'lost'],
    [1000, '', 'lost'],
    [1011, testKey, 'lost'],
  ])('that is closed with %i and “%s”', async (closeCode, reason, code) => {
    const { heard, server } = await opened();
    server.socket.close(closeCode, reason);
    const { message } = await heard.next('ended');
    expect(heard.story).toEqual(['ready', `ended ${code}`]);
    expect(message).not.toContain(testKey);
  });

  test.each([
    [401, 'unauthorized'],
    [402, 'refused'],
    [429, 'rate_limited'],
    [503, 'refused'],
  ])('that is refused with status %i', async (status, code) => {
    const server = await serveSimulatedRecognisers({ faults: { status } });
    onTestFinished(() => server.close());
    const heard = new OpenedRecogniser(openDeepgramListen({ url: server.deepgramUrl, apiKey: testKey }));
    await heard.next('ended');
    expect(heard.story).toEqual([`ended ${code}`]);
  });

  test('a complaint is passed on by its code alone', async () => {
    const { heard, server } = await opened();
    server.say({ type: 'Error', variant: 'SCHEMA', description: `the key ${testKey}` });
    server.say({ type: 'Warning', code: `a text with ${testKey}` }, { type: 'Metadata' }, { type: 'New' });
    await heard.next('warned', 2);
    expect(heard.of('warned').map(({ code }) => code)).toEqual(['SCHEMA', 'error']);
    expect(JSON.stringify(heard.events)).not.toContain(testKey);
  });

  test('wrong options are named, and the key is in no message', () => {
    for (const [name, options] of [
      ['url', { url: 'http://api.example' }],
      ['apiKey', { apiKey: 'two words' }],
      ['model', { model: '' }],
      ['sampleRateHz', { format: { encoding: 'pcm16', sampleRateHz: 4000 } as AudioFormat }],
      ['finalTimeoutMs', { finalTimeoutMs: 1 }],
      ['connectTimeoutMs', { connectTimeoutMs: 0 }],
    ] as const) {
      expect(() => openDeepgramListen(options)).toThrow(name);
      expect(() => openDeepgramListen(options)).not.toThrow('two words');
    }
  });
});

describe('the words of an utterance', () => {
  test('are of several final results and the last one, and what may still change is told as partial', async () => {
    const { heard, server } = await opened();
    heard.speak(quiet(3000));
    server.say(
      results(0, 1, 'hello', { is_final: false }),
      results(0, 1.5, 'Hello,'),
      results(1.5, 0.5, 'when', { is_final: false }),
    );
    await heard.next('partial', 3);
    heard.recogniser.finish();
    await server.has('Finalize');
    server.say(results(1.5, 1.5, 'when are you open?', { from_finalize: true }));
    await heard.next('final');
    expect(heard.of('partial').map(({ text }) => text)).toEqual(['hello', 'Hello,', 'Hello, when']);
    expect(heard.texts).toEqual(['Hello, when are you open?']);
  });

  test('have their places since its own first sample, whatever was sent before', async () => {
    const { heard, server } = await opened();
    heard.say(quiet(2000));
    await server.has('Finalize');
    server.say(results(0, 2, '', { from_finalize: true }));
    await heard.next('final');
    heard.say(quiet(1000));
    await server.has('Finalize', 2);
    const words = [
      { word: 'yes', punctuated_word: 'Yes,', start: 2.1, end: 2.4 },
      { word: 'please', start: 2.5, end: 3.2 },
    ];
    server.say(results(2, 1, 'Yes, please', { from_finalize: true, words }));
    const { words: placed } = await heard.next('final', 2);
    // No word lasts longer than the audio that was sent.
    expect(placed).toEqual([
      { text: 'Yes,', fromMs: expect.closeTo(100, 3), toMs: expect.closeTo(400, 3) },
      { text: 'please', fromMs: expect.closeTo(500, 3), toMs: 1000 },
    ]);
  });

  test('a late answer about an utterance that is done is none about the next one', async () => {
    const { heard, server } = await opened();
    heard.say(quiet(1000));
    await server.has('Finalize');
    // Final results about all of it: nothing more has to come.
    server.say(results(0, 1, 'first'));
    await heard.next('final');
    heard.say(quiet(1000));
    await server.has('Finalize', 2);
    server.say(
      results(1, 0, '', { from_finalize: true }),
      results(0.5, 0.5, 'late', { from_finalize: true }),
    );
    server.say(results(1, 1, 'second', { from_finalize: true }));
    await heard.next('final', 2);
    expect(heard.texts).toEqual(['first', 'second']);
  });

  test('results about the next utterance are the end of this one', async () => {
    const { heard, server } = await opened();
    heard.say(quiet(1000));
    heard.speak(quiet(1000));
    await server.has('Finalize');
    server.say(results(0, 0.5, 'one'), results(1, 0.8, 'two', { is_final: false }));
    await heard.next('partial', 2);
    expect(heard.texts).toEqual(['one']);
    expect(heard.of('partial').map(({ text }) => text)).toEqual(['one', 'two']);
    expect(heard.of('warned')).toEqual([]);
  });

  test('a Finalize that is not answered because little audio was left is waited for 1 s', async () => {
    const clock = new VirtualClock();
    const { heard, server } = await opened({ clock });
    heard.speak(quiet(1000));
    server.say(results(0, 0.8, 'words'));
    await heard.next('partial');
    heard.recogniser.finish();
    await server.has('Finalize');
    await clock.advance(999);
    expect(heard.texts).toEqual([]);
    await clock.advance(1);
    expect(heard.story).toEqual(['ready', 'final']);
    expect(heard.texts).toEqual(['words']);
  });

  test('an answer that does not come in time is told, with the words that came', async () => {
    const clock = new VirtualClock();
    const { heard, server } = await opened({ clock, finalTimeoutMs: 5000, keepAliveMs: 120_000 });
    heard.speak(quiet(2000));
    server.say(results(0, 0.5, 'two'), results(0.5, 0.5, 'words', { is_final: false }));
    await heard.next('partial', 2);
    heard.recogniser.finish();
    await clock.advance(4999);
    expect(heard.texts).toEqual([]);
    await clock.advance(1);
    expect(heard.story).toEqual(['ready', 'warned late', 'final']);
    expect(heard.texts).toEqual(['two words']);
    // What was not answered counts as lost, and the next utterance has its own time.
    expect(heard.recogniser.unconfirmedMs).toBe(0);
  });
});

describe('pressure', () => {
  test('what no result has been about is unconfirmed, whatever results say', async () => {
    const { heard, server } = await opened();
    heard.speak(quiet(2000));
    expect(heard.recogniser.unconfirmedMs).toBe(2000);
    server.say(results(0, 0.5, '', { is_final: false }));
    await until(() => heard.recogniser.unconfirmedMs === 1500);
    expect(heard.of('drained').length).toBeGreaterThan(0);
    server.say(results(0, 1_000_000, '', { is_final: false }));
    await until(() => heard.recogniser.unconfirmedMs === 0);
    heard.speak(quiet(20));
    expect(heard.recogniser.unconfirmedMs).toBe(20);
  });

  test('another side that does not read is the end, before a socket holds more than it may', async () => {
    const format: AudioFormat = { encoding: 'pcm16', sampleRateHz: 48_000 };
    const { heard, server } = await opened({ format });
    server.socket.pause();
    const second = new Uint8Array(bytesOfMs(format, 1000));
    let sentMs = 0;
    await until(() => {
      heard.speak(second);
      sentMs += 1000;
      const { bufferedMs, unconfirmedMs } = heard.recogniser;
      expect(bufferedMs).toBeLessThanOrEqual(unconfirmedMs);
      // 1 MiB and one second.
      expect(bufferedMs).toBeLessThan(1_048_576 / 96 + 2000);
      return heard.of('ended').length > 0;
    });
    expect(heard.story).toEqual(['ready', 'ended late']);
    expect(sentMs).toBeGreaterThan(1_048_576 / 96);
    server.socket.resume();
  });

  test('more utterances without an answer than may be are the end', async () => {
    const { heard } = await opened();
    for (let count = 1; count <= 256; count += 1) heard.say(quiet(20));
    expect(heard.story).toEqual(['ready']);
    heard.say(quiet(20));
    expect(heard.story).toEqual(['ready', 'ended late']);
  });

  test('more words than an utterance can have are the end', async () => {
    const { heard, server } = await opened();
    heard.speak(quiet(10_000));
    const words = Array.from({ length: 1000 }, () => ({ word: 'x', start: 1, end: 2 }));
    for (let count = 0; count < 6; count += 1) server.say(results(0, 1 + count, '', { words }));
    await heard.next('ended');
    expect(heard.story).toEqual(['ready', 'ended bad_message']);
  });
});
