import { afterEach, describe, expect, test } from 'vitest';
import { msOfBytes, telephoneAudio } from '@spillway/core/audio';
import { systemClock } from '@spillway/core/clock';
import { createServer, type Server, type Socket } from 'node:net';
import { until } from '../../../core/test/support/until.ts';
import { openOpenAiRealtime, type OpenAiRealtimeOptions } from '../../src/index.ts';
import {
  serveSimulatedModels,
  type SimulatedModel,
  type SimulatedModelServerOptions,
} from '../../src/simulate/model/index.ts';
import { speech } from '../../src/simulate/speech.ts';
import { OpenedLeg } from '../support/opened-leg.ts';
import { quiet } from '../support/realtime-client.ts';
import { WildServer } from '../support/wild-server.ts';

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

interface Joined {
  readonly leg: OpenedLeg;
  readonly model: SimulatedModel;
}

/** A leg to the double. */
async function join(
  double: SimulatedModelServerOptions = {},
  options: Partial<OpenAiRealtimeOptions> = {},
): Promise<Joined> {
  const opened = Promise.withResolvers<SimulatedModel>();
  const server = await serveSimulatedModels({
    apiKey: 'sk-test',
    thinkMs: 0,
    speed: 50,
    onSession: opened.resolve,
    ...double,
  });
  closing.push(() => server.close());
  const leg = new OpenedLeg(server.url, options);
  closing.push(() => leg.leg.close());
  const model = await opened.promise;
  await leg.next('ready');
  return { leg, model };
}

/** A leg to a server that says what the test wants. */
async function joinWild(
  options: Partial<OpenAiRealtimeOptions> = {},
  wild = new WildServer(),
): Promise<{ leg: OpenedLeg; wild: WildServer }> {
  closing.push(() => wild.close());
  const leg = new OpenedLeg(await wild.listening(), options);
  closing.push(() => leg.leg.close());
  await leg.next('ready');
  return { leg, wild };
}

describe('a session', () => {
  test('is ready when its settings were taken by an API that is strict', async () => {
    const { leg, model } = await join(
      {},
      {
        instructions: 'You answer for a library.',
        voice: 'cedar',
        language: 'en',
        maxOutputTokens: 500,
        tools: [{ name: 'find_book', description: 'Finds a book.', parameters: { type: 'object' } }],
      },
    );
    expect(leg.events).toEqual([{ kind: 'ready' }]);
    expect(model.truth.refusals).toEqual([]);
    expect(model.truth.settings).toMatchObject({
      model: 'gpt-realtime-2',
      output_modalities: ['audio'],
      instructions: 'You answer for a library.',
      max_output_tokens: 500,
      tools: [{ type: 'function', name: 'find_book', parameters: { type: 'object' } }],
      audio: {
        input: {
          format: { type: 'audio/pcmu' },
          transcription: { model: 'gpt-transcribe', language: 'en' },
          turn_detection: { type: 'server_vad', create_response: true, interrupt_response: false },
        },
        output: { format: { type: 'audio/pcmu' }, voice: 'cedar' },
      },
    });
  });

  test('that takes over knows what was said before, in the form that the API takes', async () => {
    const past = [
      { role: 'model', text: 'Hello, who is there?' },
      { role: 'caller', text: 'It is me.' },
    ] as const;
    const { leg, model } = await join({}, { past });
    leg.leg.respond();
    await leg.next('responseEnded');
    expect(model.truth.refusals).toEqual([]);
    expect(model.truth.texts).toEqual([
      { role: 'assistant', text: 'Hello, who is there?' },
      { role: 'user', text: 'It is me.' },
    ]);
  });

  test('of 16 bits at 24,000 Hz, and of A-law, is taken, too', async () => {
    for (const format of [
      { encoding: 'pcm16', sampleRateHz: 24_000 },
      { encoding: 'alaw', sampleRateHz: 8000 },
    ] as const) {
      const { leg } = await join({ speed: 1000 }, { format });
      leg.leg.respond();
      await leg.next('responseEnded');
      const bytes = leg.of('audio').reduce((sum, { audio }) => sum + audio.byteLength, 0);
      expect(msOfBytes(format, bytes)).toBe(
        msOfBytes(telephoneAudio, speech('model-greeting').audio.byteLength),
      );
    }
  });

  test('is refused with the reason, without the key', async () => {
    const tools = [{ name: '', description: '', parameters: {} }];
    const server = await serveSimulatedModels();
    closing.push(() => server.close());
    const leg = new OpenedLeg(server.url, { tools });
    expect(await leg.next('ended')).toEqual({
      kind: 'ended',
      code: 'refused',
      message: expect.stringContaining('session.tools[0].name'),
    });
  });

  test('ends with a code of its own for each reason', async () => {
    const server = await serveSimulatedModels({ apiKey: 'sk-right', maxAgeMs: 50 });
    closing.push(() => server.close());
    const wrong = new OpenedLeg(server.url, { apiKey: 'sk-wrong-and-secret' });
    const ended = await wrong.next('ended');
    expect(ended.code).toBe('unauthorized');
    expect(JSON.stringify(wrong.events)).not.toContain('secret');
    const old = new OpenedLeg(server.url, { apiKey: 'sk-right' });
    expect((await old.next('ended')).code).toBe('expired');
    const elsewhere = new OpenedLeg(`${server.url}/other`, { apiKey: 'sk-right' });
    expect((await elsewhere.next('ended')).code).toBe('refused');
    await server.close();
    const nobody = new OpenedLeg(server.url);
    expect((await nobody.next('ended')).code).toBe('unreachable');
    for (const leg of [wrong, old, elsewhere, nobody]) expect(leg.of('ended')).toHaveLength(1);
  });

  test('is not waited for without end', async () => {
    const sockets: Socket[] = [];
    const silent: Server = createServer((socket) => sockets.push(socket));
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as { port: number };
    const leg = new OpenedLeg(`ws://127.0.0.1:${port}`, { connectTimeoutMs: 100 });
    expect((await leg.next('ended')).code).toBe('unreachable');
    for (const socket of sockets) socket.destroy();
    await new Promise((resolve) => silent.close(resolve));
  });

  test('is lost when the connection is cut, or gives no sign', async () => {
    const cut = await join({ faults: { cutAtMs: 400 } });
    cut.leg.leg.respond();
    expect((await cut.leg.next('ended')).code).toBe('lost');
    const { leg, wild } = await joinWild({ keepAliveMs: 100 });
    // A socket that is not read answers no ping.
    for (const socket of wild.sockets) socket.pause();
    expect((await leg.next('ended')).code).toBe('lost');
  });

  test('tells what the words of the caller have cost, where they are counted in tokens', async () => {
    const { leg, wild } = await joinWild({});
    const type = 'conversation.item.input_audio_transcription.completed';
    const words = { type, item_id: 'i', content_index: 0, transcript: 'Hello.' };
    wild.send({ ...words, usage: { type: 'duration', seconds: 2 } });
    wild.send({ ...words, usage: { type: 'tokens', input_tokens: 20, output_tokens: 3, total_tokens: 23 } });
    expect(await leg.next('used')).toEqual({ kind: 'used', usage: { inputTokens: 20, outputTokens: 3 } });
    expect(leg.of('heard')).toHaveLength(2);
    expect(leg.of('warned')).toEqual([]);
  });

  test('that is in order outlives its pings', async () => {
    const { leg } = await joinWild({ keepAliveMs: 100 });
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(leg.of('ended')).toEqual([]);
  });

  test('has no message for who listens late but how it ended, and none after it was closed', async () => {
    const opened = Promise.withResolvers<SimulatedModel>();
    const server = await serveSimulatedModels({ onSession: opened.resolve });
    closing.push(() => server.close());
    const late = openOpenAiRealtime({ url: server.url, model: 'm', instructions: 'Be brief.' });
    const session = await opened.promise;
    await until(() => session.truth.settings.instructions === 'Be brief.');
    await server.close();
    const events: string[] = [];
    late.listen(({ kind }) => events.push(kind));
    expect(events).toEqual([]);
    await until(() => events.includes('ended'));
    expect(events).toEqual(['ready', 'ended']);
    const nowhere = openOpenAiRealtime({ url: 'ws://127.0.0.1:1', model: 'm' });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const told = new Promise((resolve) => nowhere.listen(resolve));
    expect(await told).toMatchObject({ kind: 'ended', code: 'unreachable' });
    const { leg, model } = await join();
    leg.leg.close();
    leg.leg.close();
    await model.closed;
    leg.leg.send(quiet(20));
    leg.leg.cancel();
    leg.leg.respond();
    leg.leg.tell('x');
    expect(leg.events).toEqual([{ kind: 'ready' }]);
  });

  test.each([
    [{ url: 'https://api.openai.com' }, 'url'],
    [{ url: 'nonsense' }, 'url'],
    [{ model: '' }, 'model'],
    [{ apiKey: 'sk-secret\n' }, 'apiKey'],
    [{ format: { encoding: 'pcm16', sampleRateHz: 16_000 } }, 'format'],
    [{ maxOutputTokens: 0 }, 'maxOutputTokens'],
    [{ keepAliveMs: 1 }, 'keepAliveMs'],
    [{ maxMessageBytes: 1e9 }, 'maxMessageBytes'],
    [{ connectTimeoutMs: 0 }, 'connectTimeoutMs'],
  ] as const)('is not opened with %o', (options, name) => {
    const opening = (): unknown => openOpenAiRealtime({ model: 'm', ...options });
    expect(opening).toThrow(
      expect.objectContaining({ code: 'invalid_option', message: expect.stringMatching(`^${name}: `) }),
    );
    expect(opening).not.toThrow('secret');
  });
});

describe('what the human says', () => {
  test('goes to the model as it is, and comes back as words, and as an answer', async () => {
    const { leg, model } = await join();
    const hello = Buffer.concat([quiet(300), speech('caller-hello').audio, quiet(700)]);
    leg.speak(hello);
    await leg.next('responseEnded');
    expect(model.truth.receivedMs).toBe(hello.byteLength / 8);
    expect(
      leg.events
        .map(({ kind }) => kind)
        .filter((kind) => kind !== 'drained')
        .filter((kind, at, all) => kind !== all[at - 1])
        .slice(0, 7),
    ).toEqual(['ready', 'speechStarted', 'speechStopped', 'heard', 'responseStarted', 'audio', 'said']);
    const [started] = leg.of('speechStarted');
    expect(started?.atMs).toBe(model.truth.turns[0]?.fromMs);
    expect(leg.of('heard').at(-1)).toMatchObject({ text: speech('caller-hello').text, isWhole: true });
    const audio = Buffer.concat(leg.of('audio').map((event) => event.audio));
    expect(audio.equals(speech('model-hours').audio)).toBe(true);
    expect(leg.of('said').at(-1)).toMatchObject({ text: speech('model-hours').text, isWhole: true });
    expect(leg.of('audioEnded')).toHaveLength(1);
    expect(leg.of('responseEnded')).toMatchObject([
      { state: 'completed', usage: { outputTokens: expect.any(Number) } },
    ]);
  });

  test('is left out before the model is ready: it would be taken as of another format', async () => {
    const wild = new WildServer();
    closing.push(() => wild.close());
    wild.answer = () => undefined;
    const leg = new OpenedLeg(await wild.listening());
    closing.push(() => leg.leg.close());
    await until(() => wild.of('session.update').length === 1);
    leg.leg.send(quiet(20));
    leg.leg.respond();
    wild.send({ type: 'session.updated' });
    await leg.next('ready');
    leg.leg.send(quiet(20));
    leg.leg.tell('the last one');
    await until(() => wild.of('conversation.item.create').length === 1);
    expect(wild.received.map(({ type }) => type)).toEqual([
      'session.update',
      'input_audio_buffer.append',
      'conversation.item.create',
    ]);
  });

  test('is counted in milliseconds while the socket does not take it, and told when it does', async () => {
    const { leg, wild } = await joinWild();
    for (const socket of wild.sockets) socket.pause();
    // The operating system takes some megabytes first.
    let sentMs = 0;
    // A second in one turn: the operating system has it at once.
    for (let count = 0; count < 50; count += 1) leg.leg.send(quiet(20));
    expect(leg.leg.bufferedMs).toBe(0);
    while (leg.leg.bufferedMs < 200) {
      for (let count = 0; count < 50 && leg.leg.bufferedMs < 200; count += 1) leg.leg.send(quiet(20));
      sentMs += 1000;
      await new Promise((resolve) => setImmediate(resolve));
      expect(sentMs).toBeLessThan(3_600_000);
    }
    await until(() => leg.leg.bufferedMs >= 200);
    const drained = leg.of('drained').length;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(leg.of('drained')).toHaveLength(drained);
    expect(leg.leg.bufferedMs).toBe(200);
    // What the operating system took counts, too.
    expect(leg.leg.unconfirmedMs).toBeGreaterThan(sentMs - 1000);
    for (const socket of wild.sockets) socket.resume();
    await leg.next('drained', drained + 1);
    await until(() => leg.leg.bufferedMs === 0);
    // What has arrived is confirmed by pongs, in their order, but for what no ping stands behind.
    await until(() => leg.leg.unconfirmedMs < 160);
  });

  test('is told when the socket has taken it, also where no pong says so', async () => {
    const { leg, wild } = await joinWild({}, new WildServer(false));
    for (const socket of wild.sockets) socket.pause();
    // The operating system takes some megabytes first, and perhaps some more a little later.
    while (leg.leg.bufferedMs < 200) {
      while (leg.leg.bufferedMs < 200) {
        for (let count = 0; count < 50 && leg.leg.bufferedMs < 200; count += 1) leg.leg.send(quiet(20));
        await new Promise((resolve) => setImmediate(resolve));
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const drained = leg.of('drained').length;
    for (const socket of wild.sockets) socket.resume();
    await leg.next('drained', drained + 1);
    await until(() => leg.leg.bufferedMs === 0);
    expect(leg.leg.unconfirmedMs).toBeGreaterThan(200);
  });

  test('that nobody takes ends the leg at its bound', async () => {
    const { leg, wild } = await joinWild();
    for (const socket of wild.sockets) socket.pause();
    for (let count = 0; count < 2000 && leg.of('ended').length === 0; count += 1) {
      leg.leg.send(quiet(2000));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect((await leg.next('ended')).code).toBe('overflow');
    expect(leg.leg.bufferedMs).toBe(0);
  });
});

describe('promise 22: the model is told what was heard', () => {
  /** A model in the middle of an answer. */
  async function answering(): Promise<Joined & { readonly itemId: string }> {
    const joined = await join({ speed: 10, greeting: speech('model-events') });
    joined.leg.leg.respond('Greet the caller.');
    const { part } = await joined.leg.next('audio', 10);
    return { ...joined, itemId: part.itemId };
  }

  test('its answer is cancelled, then cut at what was heard', async () => {
    const { itemId, leg, model } = await answering();
    leg.leg.cancel();
    leg.leg.truncate({ itemId, contentIndex: 0 }, 700.9);
    expect((await leg.next('responseEnded')).state).toBe('cancelled');
    await until(() => model.truth.truncations.length === 1);
    expect(model.truth.truncations).toMatchObject([{ itemId, audioEndMs: 700 }]);
    expect(speech('model-events').text.startsWith(model.truth.said[0] ?? '-')).toBe(true);
    expect(model.truth).toMatchObject({ cancellations: 1, refusals: [] });
    // The next answer is made.
    leg.leg.respond();
    await leg.next('responseStarted', 2);
  });

  test('an answer that was not heard at all is deleted', async () => {
    const { itemId, leg, model } = await answering();
    leg.leg.cancel();
    leg.leg.remove(itemId);
    await until(() => model.truth.deletions.length === 1);
    expect(model.truth).toMatchObject({ deletions: [itemId], said: [], refusals: [] });
  });

  test('one whose cancel is still on its way may be deleted, too, and what was made of it is gone', async () => {
    const { itemId, leg, model } = await answering();
    leg.leg.remove(itemId);
    leg.leg.cancel();
    expect((await leg.next('responseEnded')).state).toBe('cancelled');
    expect(model.truth).toMatchObject({ deletions: [itemId], said: [], refusals: [] });
    expect(leg.of('warned')).toEqual([]);
  });

  test('an answer that is over is not cancelled, and one is cancelled once', async () => {
    const { leg, model } = await join({ speed: 1000 });
    leg.leg.cancel();
    leg.leg.respond();
    await leg.next('responseEnded');
    leg.leg.cancel();
    leg.leg.cancel();
    leg.leg.respond();
    await leg.next('responseStarted', 2);
    leg.leg.cancel();
    leg.leg.cancel();
    await leg.next('responseEnded', 2);
    expect(model.truth).toMatchObject({ cancellations: 1, refusals: [] });
    expect(leg.of('warned')).toEqual([]);
  });

  test('a cancel that is late is harmless, and stops no other answer', async () => {
    const { leg, wild } = await joinWild();
    wild.send({ type: 'response.created', response: { id: 'resp_1' } });
    await leg.next('responseStarted');
    leg.leg.cancel();
    await until(() => wild.of('response.cancel').length === 1);
    expect(wild.of('response.cancel')).toEqual([{ type: 'response.cancel', response_id: 'resp_1' }]);
    wild.send({ type: 'response.done', response: { id: 'resp_1', status: 'completed' } });
    wild.send({
      type: 'error',
      error: { code: 'response_cancel_not_active', message: 'Cancellation failed: no active response found' },
    });
    wild.send({ type: 'response.created', response: { id: 'resp_2' } });
    await leg.next('responseStarted', 2);
    expect(leg.events.map(({ kind }) => kind)).toEqual([
      'ready',
      'responseStarted',
      'responseEnded',
      'responseStarted',
    ]);
    leg.leg.cancel();
    await until(() => wild.of('response.cancel').length === 2);
    expect(wild.of('response.cancel')[1]).toEqual({ type: 'response.cancel', response_id: 'resp_2' });
  });

  test('a refusal is told, with its code', async () => {
    const { itemId, leg } = await answering();
    leg.leg.truncate({ itemId, contentIndex: 0 }, 3_600_000);
    expect(await leg.next('warned')).toEqual({
      kind: 'warned',
      code: 'invalid_value',
      message: expect.stringMatching(/^Audio content of \d+ms is already shorter than 3600000ms$/u),
    });
  });
});

describe('responses', () => {
  test('are asked for one at a time, and those that wait are one', async () => {
    const { leg, model } = await join({ speed: 100 });
    leg.leg.respond();
    leg.leg.respond('first');
    leg.leg.respond('second');
    leg.leg.respond();
    await leg.next('responseEnded', 2);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(leg.of('responseStarted')).toHaveLength(2);
    expect(model.truth.refusals).toEqual([]);
  });

  test('that wait have the last instructions, and are forgotten by a cancel', async () => {
    const { leg, wild } = await joinWild();
    leg.leg.respond();
    leg.leg.respond('first');
    leg.leg.respond('second');
    leg.leg.respond();
    wild.send({ type: 'response.created', response: { id: 'resp_1' } });
    wild.send({ type: 'response.done', response: { id: 'resp_1', status: 'completed' } });
    await until(() => wild.of('response.create').length === 2);
    expect(wild.of('response.create')[1]).toMatchObject({ response: { instructions: 'second' } });
    wild.send({ type: 'response.created', response: { id: 'resp_2' } });
    await leg.next('responseStarted', 2);
    leg.leg.respond('third');
    leg.leg.cancel();
    wild.send({ type: 'response.done', response: { id: 'resp_2', status: 'cancelled' } });
    await leg.next('responseEnded', 2);
    leg.leg.tell('x');
    await until(() => wild.of('conversation.item.create').length === 1);
    expect(wild.of('response.create')).toHaveLength(2);
  });

  test('that are refused because the API began one by itself come after that', async () => {
    const { leg, wild } = await joinWild();
    leg.leg.respond('mine');
    await until(() => wild.of('response.create').length === 1);
    const [{ event_id } = { event_id: '' }] = wild.of('response.create');
    wild.send({ type: 'response.created', response: { id: 'resp_vad' } });
    const error = { code: 'conversation_already_has_active_response', message: 'x' };
    wild.send({ type: 'error', error: { ...error, event_id } });
    await leg.next('responseStarted');
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(wild.of('response.create')).toHaveLength(1);
    wild.send({ type: 'response.done', response: { id: 'resp_vad', status: 'completed' } });
    await until(() => wild.of('response.create').length === 2);
    expect(wild.of('response.create')[1]).toMatchObject({ response: { instructions: 'mine' } });
    expect(leg.of('warned')).toEqual([]);
  });

  test('that are refused as busy again and again are few, on the leg’s clock, and none after it was closed', async () => {
    const pausesMs: number[] = [];
    const clock = {
      after: (ms: number, callback: () => void) => {
        if (ms <= 2000) pausesMs.push(ms);
        return systemClock.after(ms / 20, callback);
      },
    };
    const { leg, wild } = await joinWild({ clock });
    wild.answer = ({ event_id, type }) => {
      const error = { code: 'conversation_already_has_active_response', message: 'x', event_id };
      if (type === 'response.create') wild.send({ type: 'error', error });
    };
    leg.leg.respond('mine');
    await until(() => pausesMs.length === 7);
    expect(pausesMs).toEqual([100, 200, 400, 800, 1600, 2000, 2000]);
    expect(wild.of('response.create')).toHaveLength(7);
    leg.leg.close();
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(pausesMs).toHaveLength(7);
  });

  test('that the API could not begin by itself are asked for', async () => {
    const { leg, model } = await join({
      speed: 5,
      greeting: speech('model-hours'),
      script: [{ says: speech('model-book') }],
    });
    leg.leg.respond();
    await leg.next('audio');
    leg.speak(speech('caller-hello').audio);
    leg.speak(quiet(800));
    await leg.next('responseEnded');
    await leg.next('responseEnded', 2);
    expect(model.truth.said).toEqual([speech('model-hours').text, speech('model-book').text]);
    expect(leg.of('warned')).toEqual([]);
  });

  test('that failed say why first', async () => {
    const { leg } = await join({ faults: { isRateLimited: true } });
    leg.leg.respond();
    await leg.next('responseEnded');
    expect(leg.events.slice(-2)).toMatchObject([
      { kind: 'warned', code: 'rate_limit_exceeded' },
      { kind: 'responseEnded', state: 'failed' },
    ]);
    leg.leg.respond();
    await leg.next('responseStarted', 2);
  });
});

test('audio of no bytes is none', async () => {
  const { leg, wild } = await joinWild();
  const place = { response_id: 'resp_1', item_id: 'item_1', content_index: 0 };
  wild.send({ type: 'response.output_audio.delta', ...place, delta: '' });
  wild.send({ type: 'response.output_audio.delta', ...place, delta: 'AAAA' });
  await leg.next('audio');
  expect(leg.of('audio').map(({ audio }) => audio.byteLength)).toEqual([3]);
});

describe('tools', () => {
  test('are called once, and their result is answered', async () => {
    const calls = { name: 'find_book', input: { title: 'Momo' } };
    const { leg, model } = await join(
      { script: [{ calls, says: speech('model-book') }] },
      { tools: [{ name: 'find_book', description: 'Finds a book.', parameters: { type: 'object' } }] },
    );
    leg.speak(speech('caller-hello').audio);
    leg.speak(quiet(800));
    const { callId, ...called } = await leg.next('toolCalled');
    expect(called).toMatchObject({ name: 'find_book', input: '{"title":"Momo"}' });
    leg.leg.giveResult(callId, '{"floor":2}');
    await leg.next('responseEnded', 2);
    expect(leg.of('toolCalled')).toHaveLength(1);
    expect(model.truth).toMatchObject({
      results: [{ callId, output: '{"floor":2}' }],
      said: [speech('model-book').text],
      refusals: [],
    });
  });

  test('whose arguments were cut are not called, and several are answered together', async () => {
    const { leg, wild } = await joinWild();
    const done = (callId: string, status: string): void =>
      wild.send({
        type: 'response.output_item.done',
        response_id: 'resp_1',
        item: { type: 'function_call', status, call_id: callId, name: 'f', arguments: '{"a":' },
      });
    wild.send({ type: 'response.created', response: { id: 'resp_1' } });
    done('cut', 'incomplete');
    done('one', 'completed');
    done('two', 'completed');
    wild.send({
      type: 'response.output_item.done',
      response_id: 'resp_1',
      item: { type: 'message', status: 'completed' },
    });
    wild.send({ type: 'response.done', response: { id: 'resp_1', status: 'completed' } });
    await leg.next('responseEnded');
    expect(leg.of('toolCalled').map(({ callId }) => callId)).toEqual(['one', 'two']);
    leg.leg.giveResult('one', '1');
    leg.leg.giveResult('two', '2');
    await until(() => wild.of('response.create').length === 1);
    expect(wild.received.slice(1).map(({ type }) => type)).toEqual([
      'conversation.item.create',
      'conversation.item.create',
      'response.create',
    ]);
  });

  test('a text is put on the human side', async () => {
    const { leg, model } = await join();
    leg.leg.tell('The caller pressed 5.');
    await until(() => model.truth.texts.length === 1);
    expect(model.truth.texts).toEqual([{ role: 'user', text: 'The caller pressed 5.' }]);
  });
});

describe('an API that speaks otherwise', () => {
  test('is understood in the names of the beta', async () => {
    const { leg, wild } = await joinWild();
    const place = { response_id: 'resp_1', item_id: 'item_1', output_index: 0, content_index: 0 };
    wild.send({ type: 'conversation.item.created', item: {} });
    wild.send({ type: 'response.created', response: { id: 'resp_1' } });
    wild.send({ type: 'response.audio_transcript.delta', ...place, delta: 'Hel' });
    wild.send({ type: 'response.audio.delta', ...place, delta: Buffer.alloc(160).toString('base64') });
    wild.send({ type: 'response.audio.done', ...place });
    wild.send({ type: 'response.audio_transcript.done', ...place, transcript: 'Hello' });
    await leg.next('said', 2);
    const part = { itemId: 'item_1', contentIndex: 0 };
    expect(leg.events.slice(1)).toEqual([
      { kind: 'responseStarted', responseId: 'resp_1' },
      { kind: 'said', responseId: 'resp_1', part, text: 'Hel', isWhole: false },
      { kind: 'audio', responseId: 'resp_1', part, audio: expect.any(Uint8Array) },
      { kind: 'audioEnded', responseId: 'resp_1', part },
      { kind: 'said', responseId: 'resp_1', part, text: 'Hello', isWhole: true },
    ]);
  });

  test('may say more than is known', async () => {
    const { leg, wild } = await joinWild();
    wild.send({ type: 'from.the.future', anything: [1] });
    wild.send({ type: 'response.created', response: { id: 'resp_1', mood: 'good' }, more: {} });
    await leg.next('responseStarted');
    expect(leg.of('ended')).toEqual([]);
  });

  const place = '"response_id":"r","item_id":"i","content_index":0';
  test.each([
    ['no JSON', '{', 1008],
    ['no object', '[]', 1008],
    ['null', 'null', 1008],
    ['no type', '{}', 1008],
    ['another shape', '{"type":"response.created","response":{}}', 1008],
    [
      'a part that is none',
      '{"type":"response.output_audio.delta","response_id":"r","item_id":"i","content_index":-1,"delta":""}',
      1008,
    ],
    ['no base64', `{"type":"response.output_audio.delta",${place},"delta":"~~~~"}`, 1008],
    ['half a byte', `{"type":"response.output_audio.delta",${place},"delta":"AAAAA"}`, 1008],
    [
      'a call without a name',
      '{"type":"response.output_item.done","response_id":"r","item":{"type":"function_call","call_id":"c","arguments":""}}',
      1008,
    ],
    ['binary', Buffer.from('{"type":"session.updated"}'), 1003],
    ['too much', `{"type":"x","text":"${'x'.repeat(1_048_576)}"}`, 1009],
  ])('is closed with a code when it sends %s', async (_name, message, code) => {
    const { leg, wild } = await joinWild();
    wild.sockets.at(-1)?.send(message);
    const ended = await leg.next('ended');
    expect(ended.code).toBe('bad_message');
    await until(() => wild.closeCode !== undefined);
    expect(wild.closeCode).toBe(code);
    wild.send({ type: 'response.created', response: { id: 'late' } });
    expect(leg.events.at(-1)).toBe(ended);
  });

  test('is closed when audio of 16 bits has half a sample', async () => {
    const { leg, wild } = await joinWild({ format: { encoding: 'pcm16', sampleRateHz: 24_000 } });
    wild.send({
      type: 'response.output_audio.delta',
      response_id: 'r',
      item_id: 'i',
      content_index: 0,
      delta: 'AAAA',
    });
    expect((await leg.next('ended')).code).toBe('bad_message');
  });

  test('does not get the key back in a message, nor does it say too much', async () => {
    const { leg, wild } = await joinWild({ apiKey: 'sk-very-secret' });
    wild.send({ type: 'error', error: { code: 'odd', message: `sk-very-secret ${'x'.repeat(5000)}` } });
    const warned = await leg.next('warned');
    expect(warned.message).toMatch(/^… x+$/u);
    expect(warned.message.length).toBeLessThanOrEqual(300);
    wild.send({
      type: 'error',
      error: { code: 'invalid_api_key', message: 'Incorrect API key provided: sk-very-secret.' },
    });
    expect(await leg.next('ended')).toMatchObject({
      code: 'unauthorized',
      message: expect.not.stringContaining('secret'),
    });
  });
});

describe('what is left', () => {
  test('is nothing: no socket, no listener, no timer', async () => {
    const before = process
      .getActiveResourcesInfo()
      .filter((name) => name.startsWith('TCPSocket') || name === 'Timeout');
    for (let count = 0; count < 20; count += 1) {
      const { leg, wild } = await joinWild();
      if (count % 2 === 0) leg.leg.close();
      else for (const socket of wild.sockets) socket.terminate();
      await until(() => wild.closeCode !== undefined);
      await wild.close();
    }
    await until(() => {
      const now = process
        .getActiveResourcesInfo()
        .filter((name) => name.startsWith('TCPSocket') || name === 'Timeout');
      return now.length <= before.length + 1;
    });
  });
});
