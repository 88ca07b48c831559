import { afterEach, describe, expect, test } from 'vitest';
import { msOfBytes, telephoneAudio } from '@spillway/core/audio';
import { until } from '../../../core/test/support/until.ts';
import {
  serveSimulatedModels,
  type SimulatedModel,
  type SimulatedModelServerOptions,
} from '../../src/simulate/model/index.ts';
import { speech } from '../../src/simulate/speech.ts';
import { quiet, RealtimeClient } from '../support/realtime-client.ts';

const closing: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

interface Opened {
  readonly client: RealtimeClient;
  readonly model: SimulatedModel;
}

async function open(options: SimulatedModelServerOptions = {}): Promise<Opened> {
  const opened = Promise.withResolvers<SimulatedModel>();
  const server = await serveSimulatedModels({
    thinkMs: 0,
    speed: 200,
    onSession: opened.resolve,
    ...options,
  });
  closing.push(() => server.close());
  const client = new RealtimeClient(`${server.url}?model=gpt-realtime-2`);
  const model = await opened.promise;
  await client.next('session.created');
  return { client, model };
}

const telephone = {
  type: 'realtime',
  audio: {
    input: {
      format: { type: 'audio/pcmu' },
      transcription: { model: 'gpt-transcribe' },
      turn_detection: { type: 'server_vad', create_response: true, interrupt_response: false },
    },
    output: { format: { type: 'audio/pcmu' } },
  },
};

/** A session by telephone. */
async function openTelephone(options: SimulatedModelServerOptions = {}): Promise<Opened> {
  const opened = await open(options);
  opened.client.send({ type: 'session.update', session: telephone });
  await opened.client.next('session.updated');
  return opened;
}

/** The audio that came, in milliseconds. */
function audioMs(client: RealtimeClient): number {
  return client
    .of('response.output_audio.delta')
    .reduce(
      (sum, { delta }) => sum + msOfBytes(telephoneAudio, Buffer.from(String(delta), 'base64').byteLength),
      0,
    );
}

describe('settings', () => {
  test('begin as those of the API, and change in what an update names', async () => {
    const { client } = await open();
    const [created] = client.of('session.created');
    expect(created).toMatchObject({
      session: {
        object: 'realtime.session',
        type: 'realtime',
        model: 'gpt-realtime-2',
        audio: {
          input: {
            format: { type: 'audio/pcm', rate: 24_000 },
            turn_detection: { type: 'server_vad', create_response: true, interrupt_response: true },
          },
          output: { format: { type: 'audio/pcm', rate: 24_000 } },
        },
      },
    });
    client.send({ type: 'session.update', session: { type: 'realtime', instructions: 'Be short.' } });
    await client.next('session.updated');
    client.send({
      type: 'session.update',
      session: { type: 'realtime', audio: { input: { turn_detection: null } } },
    });
    expect(await client.next('session.updated', 2)).toMatchObject({
      session: {
        instructions: 'Be short.',
        audio: { input: { turn_detection: null, format: { rate: 24_000 } } },
      },
    });
  });

  test.each([
    [
      'a rate on pcmu',
      { audio: { input: { format: { type: 'audio/pcmu', rate: 8000 } } } },
      'unknown_parameter',
      'session.audio.input.format.rate',
    ],
    [
      'another rate on pcm',
      { audio: { output: { format: { type: 'audio/pcm', rate: 16_000 } } } },
      'invalid_value',
      'session.audio.output.format.rate',
    ],
    [
      "the beta's format",
      { audio: { input: { format: { type: 'g711_ulaw' } } } },
      'invalid_value',
      'session.audio.input.format.type',
    ],
    [
      "the beta's field",
      { input_audio_format: 'g711_ulaw' },
      'unknown_parameter',
      'session.input_audio_format',
    ],
    ['no type', { type: undefined }, 'missing_required_parameter', 'session.type'],
    [
      'words for a number',
      { audio: { output: { speed: 'fast' } } },
      'invalid_type',
      'session.audio.output.speed',
    ],
    [
      'an unknown detection',
      { audio: { input: { turn_detection: { type: 'magic' } } } },
      'invalid_value',
      'session.audio.input.turn_detection.type',
    ],
    ['another model', { model: 'gpt-other' }, 'invalid_value', 'session.model'],
    [
      'a tool without a name',
      { tools: [{ type: 'function' }] },
      'missing_required_parameter',
      'session.tools[0].name',
    ],
  ])('are refused with %s', async (_name, session, code, param) => {
    const { client, model } = await open();
    const error = await client.refused({
      type: 'session.update',
      event_id: 'mine',
      session: { type: 'realtime', ...session },
    });
    expect(error).toEqual({
      type: 'invalid_request_error',
      code,
      param,
      message: expect.stringContaining(code === 'unknown_parameter' ? `Unknown parameter: '${param}'.` : ''),
      event_id: 'mine',
    });
    expect(client.of('session.updated')).toEqual([]);
    expect(model.truth.refusals).toHaveLength(1);
  });

  test('keep the voice once it was heard', async () => {
    const { client } = await openTelephone();
    client.send({ type: 'response.create' });
    await client.next('response.done');
    const error = await client.refused({
      type: 'session.update',
      session: { type: 'realtime', audio: { output: { voice: 'cedar' } } },
    });
    expect(error).toMatchObject({ code: 'cannot_update_voice' });
  });
});

describe('what a client sends', () => {
  test('is refused when it is no event, and the session goes on', async () => {
    const { client } = await open();
    expect(await client.refused({ type: 'response.make', event_id: 'e' })).toMatchObject({
      code: 'invalid_value',
      param: 'type',
      event_id: 'e',
      message: expect.stringContaining(
        "Invalid value: 'response.make'. Supported values are: 'session.update'",
      ),
    });
    expect(await client.refused({})).toMatchObject({ code: 'missing_required_parameter', param: 'type' });
    expect(await client.refused({ type: 'response.cancel', why: 'x' })).toMatchObject({
      code: 'unknown_parameter',
      param: 'why',
    });
    client.socket.send('{');
    await client.next('error', 4);
    client.socket.send(Buffer.from('{}'));
    await client.next('error', 5);
    client.socket.send('[]');
    await client.next('error', 6);
    client.socket.send('null');
    await client.next('error', 7);
    client.send({ type: 'session.update', session: { type: 'realtime' } });
    await client.next('session.updated');
  });

  test('is refused when it is no audio', async () => {
    const { client, model } = await open();
    for (const audio of ['no base64!', 'AAAAA', 'A', Buffer.alloc(3).toString('base64')])
      expect(await client.refused({ type: 'input_audio_buffer.append', audio })).toMatchObject({
        param: 'audio',
      });
    const tooMuch = Buffer.alloc(15_728_642).toString('base64');
    expect(await client.refused({ type: 'input_audio_buffer.append', audio: tooMuch })).toMatchObject({
      code: 'string_above_max_length',
    });
    expect(model.truth.receivedMs).toBe(0);
    expect(await client.refused({ type: 'input_audio_buffer.commit' })).toMatchObject({
      code: 'input_audio_buffer_commit_empty',
      message: expect.stringContaining('buffer only has 0.00ms of audio'),
    });
  });

  test('is refused when it is about an item or a tool that is not there', async () => {
    const { client } = await open();
    expect(await client.refused({ type: 'conversation.item.delete', item_id: 'x' })).toMatchObject({
      code: 'item_delete_invalid_item_id',
    });
    expect(await client.refused({ type: 'conversation.item.retrieve', item_id: 'x' })).toMatchObject({
      code: 'item_retrieve_invalid_item_id',
    });
    const item = { type: 'function_call_output', call_id: 'x', output: '' };
    expect(await client.refused({ type: 'conversation.item.create', item })).toMatchObject({
      code: 'invalid_tool_call_id',
    });
  });
});

describe('speech of the human', () => {
  test('is detected on the time of its audio, written down, and answered', async () => {
    const { client, model } = await openTelephone({
      script: [{ heard: 'When are you open?', says: speech('model-hours') }],
    });
    const hello = speech('caller-hello').audio;
    client.speak(quiet(1000));
    client.speak(hello);
    client.speak(quiet(800));
    const done = await client.next('response.done');
    const types = client.events.map(({ type }) => type).filter((type, at, all) => all.indexOf(type) === at);
    expect(types.filter((type) => !/rate_limits|session/.test(type))).toEqual([
      'input_audio_buffer.speech_started',
      'input_audio_buffer.speech_stopped',
      'input_audio_buffer.committed',
      'conversation.item.added',
      'conversation.item.done',
      'conversation.item.input_audio_transcription.delta',
      'conversation.item.input_audio_transcription.completed',
      'response.created',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_audio.delta',
      'response.output_audio_transcript.delta',
      'response.output_audio.done',
      'response.output_audio_transcript.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.done',
    ]);
    const [started] = client.of('input_audio_buffer.speech_started');
    const [stopped] = client.of('input_audio_buffer.speech_stopped');
    const endMs = 1000 + hello.byteLength / 8;
    // The prefix of 300 ms lies before it, the silence of 500 ms behind it.
    expect(Number(started?.['audio_start_ms'])).toBeGreaterThanOrEqual(700);
    expect(Number(started?.['audio_start_ms'])).toBeLessThan(850);
    expect(Number(stopped?.['audio_end_ms'])).toBeGreaterThan(endMs + 300);
    expect(Number(stopped?.['audio_end_ms'])).toBeLessThan(endMs + 560);
    expect(done).toMatchObject({
      response: { status: 'completed', usage: { output_tokens: expect.any(Number) } },
    });
    const said = client.of('response.output_audio_transcript.delta').map(({ delta }) => delta);
    expect(said.length).toBeGreaterThan(10);
    expect(said.join('')).toBe(speech('model-hours').text);
    expect(audioMs(client)).toBe(msOfBytes(telephoneAudio, speech('model-hours').audio.byteLength));
    expect(model.truth).toMatchObject({
      receivedMs: endMs + 800,
      turns: [{ heard: 'When are you open?' }],
      said: [speech('model-hours').text],
    });
  });

  test('is the same however it is cut up', async () => {
    const found: unknown[] = [];
    for (const step of [160, 7, 1601]) {
      const { client } = await openTelephone();
      const audio = Buffer.concat([quiet(500), speech('caller-question').audio, quiet(700)]);
      for (let at = 0; at < audio.byteLength; at += step)
        client.send({
          type: 'input_audio_buffer.append',
          audio: audio.subarray(at, at + step).toString('base64'),
        });
      const started = await client.next('input_audio_buffer.speech_started');
      const stopped = await client.next('input_audio_buffer.speech_stopped');
      found.push([started['audio_start_ms'], stopped['audio_end_ms']]);
    }
    expect(found[1]).toEqual(found[0]);
    expect(found[2]).toEqual(found[0]);
  });

  test('is no click, and no noise of a line', async () => {
    const { client, model } = await openTelephone();
    const click = new Uint8Array(320).fill(0x00);
    for (let count = 0; count < 20; count += 1) {
      client.speak(click);
      client.speak(quiet(100));
      // µ-law 0xF0 is a level of about 0.004.
      client.speak(new Uint8Array(800).fill(0xf0));
    }
    client.send({ type: 'session.update', session: { type: 'realtime' } });
    await client.next('session.updated', 2);
    expect(model.truth.turns).toEqual([]);
    expect(client.of('input_audio_buffer.speech_started')).toEqual([]);
  });

  test('stops the answer when the session says so, and not otherwise', async () => {
    for (const interrupt of [true, false]) {
      const { client } = await openTelephone({ speed: 10, script: [{ says: speech('model-events') }] });
      client.send({
        type: 'session.update',
        session: {
          type: 'realtime',
          audio: {
            input: {
              turn_detection: { type: 'server_vad', interrupt_response: interrupt, create_response: false },
            },
          },
        },
      });
      client.send({ type: 'response.create' });
      await client.next('response.output_audio.delta', 2);
      client.speak(speech('caller-interruption').audio);
      client.speak(quiet(800));
      await client.next('input_audio_buffer.committed');
      const done = await client.next('response.done');
      expect(done).toMatchObject({
        response: interrupt
          ? { status: 'cancelled', status_details: { type: 'cancelled', reason: 'turn_detected' } }
          : { status: 'completed' },
      });
      expect(client.of('response.created')).toHaveLength(1);
    }
  });

  test('does not begin a second answer beside one', async () => {
    const { client } = await openTelephone({ speed: 2, script: [{ says: speech('model-events') }] });
    client.send({ type: 'response.create' });
    await client.next('response.output_audio.delta');
    client.speak(speech('caller-interruption').audio);
    client.speak(quiet(800));
    expect(await client.next('error')).toMatchObject({
      error: { code: 'conversation_already_has_active_response', event_id: null },
    });
  });
});

describe('responses', () => {
  test('are one at a time', async () => {
    const { client } = await openTelephone({ speed: 5 });
    client.send({ type: 'response.create' });
    const created = await client.next('response.created');
    const { id } = created['response'] as { id: string };
    expect(await client.refused({ type: 'response.create', event_id: 'second' })).toEqual({
      type: 'invalid_request_error',
      code: 'conversation_already_has_active_response',
      message: `Conversation already has an active response in progress: ${id}. Wait until the response is finished before creating a new one.`,
      param: null,
      event_id: 'second',
    });
  });

  test('are cancelled when they are being made, and only then', async () => {
    const { client, model } = await openTelephone({ speed: 5 });
    expect(await client.refused({ type: 'response.cancel' })).toMatchObject({
      code: 'response_cancel_not_active',
    });
    client.send({ type: 'response.create' });
    await client.next('response.output_audio.delta', 2);
    expect(await client.refused({ type: 'response.cancel', response_id: 'resp_other' })).toMatchObject({
      code: 'response_cancel_not_active',
    });
    client.send({ type: 'response.cancel' });
    expect(await client.next('response.done')).toMatchObject({
      response: { status: 'cancelled', status_details: { reason: 'client_cancelled' } },
    });
    expect(client.of('response.output_item.done')).toMatchObject([{ item: { status: 'incomplete' } }]);
    expect(await client.refused({ type: 'response.cancel' })).toMatchObject({
      code: 'response_cancel_not_active',
    });
    const count = client.of('response.output_audio.delta').length;
    client.send({ type: 'response.create' });
    await client.next('response.output_audio.delta', count + 1);
    expect(model.truth).toMatchObject({ cancellations: 1, responses: [{ state: 'cancelled' }] });
  });

  test('come faster than real time, by as much as was asked for', async () => {
    const { client } = await openTelephone({ speed: 10 });
    const lengthMs = msOfBytes(telephoneAudio, speech('model-greeting').audio.byteLength);
    const begin = performance.now();
    client.send({ type: 'response.create' });
    await client.next('response.output_audio.done');
    const tookMs = performance.now() - begin;
    // The last piece comes when all before it has its time; timers are late, and never early.
    expect(tookMs).toBeGreaterThan((lengthMs - 200) / 10 - 5);
    expect(tookMs).toBeLessThan(lengthMs / 2);
  });

  test('ask for a tool that the session has, and answer when they have its result', async () => {
    const calls = { name: 'find_book', input: { title: 'Momo' } };
    const { client, model } = await openTelephone({ script: [{ calls, says: speech('model-book') }] });
    const tools = [{ type: 'function', name: 'find_book', description: 'Finds a book.', parameters: {} }];
    client.send({ type: 'session.update', session: { type: 'realtime', tools } });
    client.speak(speech('caller-question').audio);
    client.speak(quiet(800));
    const done = await client.next('response.function_call_arguments.done');
    expect(done).toMatchObject({ name: 'find_book', arguments: '{"title":"Momo"}' });
    expect(await client.next('response.output_item.done')).toMatchObject({
      item: {
        type: 'function_call',
        status: 'completed',
        call_id: done['call_id'],
        arguments: '{"title":"Momo"}',
      },
    });
    const item = { type: 'function_call_output', call_id: done['call_id'], output: 'on the shelf' };
    client.send({ type: 'conversation.item.create', item });
    client.send({ type: 'response.create' });
    await client.next('response.done', 2);
    expect(model.truth).toMatchObject({
      results: [{ callId: done['call_id'], output: 'on the shelf' }],
      said: [speech('model-book').text],
    });
  });

  test('are in the format of the session', async () => {
    for (const [type, bytesPerMs] of [
      ['audio/pcm', 48],
      ['audio/pcma', 8],
    ] as const) {
      const { client } = await open({ speed: 1000 });
      client.send({
        type: 'session.update',
        session: { type: 'realtime', audio: { output: { format: { type } } } },
      });
      client.send({ type: 'response.create' });
      await client.next('response.done');
      const bytes = client
        .of('response.output_audio.delta')
        .reduce((sum, { delta }) => sum + Buffer.from(String(delta), 'base64').byteLength, 0);
      expect(bytes / bytesPerMs).toBe(speech('model-greeting').audio.byteLength / 8);
    }
  });

  test('are not made while the connection takes nothing', async () => {
    // 300 s of 16 bits are 19 MB as messages: more than the operating system takes.
    const long = { text: 'la '.repeat(100).trim(), audio: new Uint8Array(8000 * 300).fill(0x90) };
    const { client, model } = await open({ speed: 1000, deltaMs: 1000, greeting: long });
    client.socket.pause();
    client.send({ type: 'response.create' });
    await until(() => model.waitingBytes > 1_048_576);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(model.waitingBytes).toBeLessThan(1_200_000);
    client.socket.resume();
    await client.next('response.done');
    expect(model.truth.responses).toMatchObject([{ madeMs: 300_000 }]);
  });
});

describe('what a model is told of what was heard', () => {
  async function spoken(): Promise<Opened & { readonly itemId: string; readonly madeMs: number }> {
    const opened = await openTelephone();
    opened.client.send({ type: 'response.create' });
    const { item } = await opened.client.next('response.output_item.done');
    await opened.client.next('response.done');
    const madeMs = msOfBytes(telephoneAudio, speech('model-greeting').audio.byteLength);
    return { ...opened, itemId: (item as { id: string }).id, madeMs };
  }

  test('is kept of an item, and the words of the rest are forgotten', async () => {
    const { client, itemId, madeMs, model } = await spoken();
    const half = Math.floor(madeMs / 2);
    client.send({
      type: 'conversation.item.truncate',
      item_id: itemId,
      content_index: 0,
      audio_end_ms: half,
    });
    expect(await client.next('conversation.item.truncated')).toMatchObject({
      item_id: itemId,
      content_index: 0,
      audio_end_ms: half,
    });
    expect(model.truth.truncations).toEqual([{ itemId, audioEndMs: half, madeMs }]);
    const [said] = model.truth.said;
    expect(speech('model-greeting').text.startsWith(said ?? '-')).toBe(true);
    expect(said?.split(' ')).toHaveLength(5);
    client.send({ type: 'conversation.item.delete', item_id: itemId });
    await client.next('conversation.item.deleted');
    expect(model.truth).toMatchObject({ said: [], deletions: [itemId] });
  });

  test('is never more than there is, nor nothing, nor of somebody else', async () => {
    const { client, itemId, madeMs, model } = await spoken();
    const cut = { type: 'conversation.item.truncate', item_id: itemId, content_index: 0 };
    const tooFar = Math.floor(madeMs) + 60;
    expect(await client.refused({ ...cut, audio_end_ms: tooFar, event_id: 'e' })).toEqual({
      type: 'invalid_request_error',
      code: 'invalid_value',
      message: `Audio content of ${Math.floor(madeMs)}ms is already shorter than ${tooFar}ms`,
      param: 'audio_end_ms',
      event_id: 'e',
    });
    expect(await client.refused({ ...cut, audio_end_ms: 0 })).toMatchObject({
      code: 'unsupported_content_type',
      message: 'Only model output audio messages can be truncated.',
    });
    expect(await client.refused({ ...cut, audio_end_ms: 10.5 })).toMatchObject({
      code: 'invalid_type',
      message: "Invalid type for 'audio_end_ms': expected integer, but got a decimal number instead.",
    });
    expect(await client.refused({ ...cut, audio_end_ms: -1 })).toMatchObject({ param: 'audio_end_ms' });
    expect(await client.refused({ ...cut, audio_end_ms: 100, content_index: 1 })).toMatchObject({
      param: 'content_index',
    });
    expect(await client.refused({ ...cut, audio_end_ms: 100, item_id: 'item_x' })).toMatchObject({
      code: 'item_truncate_invalid_item_id',
    });
    client.send({
      type: 'conversation.item.create',
      item: { id: 'mine', type: 'message', role: 'user', content: [{ type: 'input_text', text: 'a' }] },
    });
    expect(await client.refused({ ...cut, audio_end_ms: 100, item_id: 'mine' })).toMatchObject({
      code: 'unsupported_content_type',
    });
    // A second cut lies before the first.
    client.send({ ...cut, audio_end_ms: 1000 });
    await client.next('conversation.item.truncated');
    expect(await client.refused({ ...cut, audio_end_ms: 1100 })).toMatchObject({
      message: 'Audio content of 1000ms is already shorter than 1100ms',
    });
    expect(model.truth.truncations).toHaveLength(1);
  });

  test('is nothing of an item whose audio has not begun', async () => {
    const { client } = await openTelephone({ faults: { stallAtMs: 0 } });
    client.send({ type: 'response.create' });
    const { item } = await client.next('response.output_item.added');
    const error = await client.refused({
      type: 'conversation.item.truncate',
      item_id: (item as { id: string }).id,
      content_index: 0,
      audio_end_ms: 10,
    });
    expect(error).toMatchObject({ code: 'unsupported_content_type' });
  });
});

describe('faults', () => {
  test('a response that stalls ends when it is cancelled', async () => {
    const { client } = await openTelephone({ faults: { stallAtMs: 600 } });
    client.send({ type: 'response.create' });
    await client.next('response.output_audio.delta', 3);
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(audioMs(client)).toBe(600);
    client.send({ type: 'response.cancel' });
    expect(await client.next('response.done')).toMatchObject({ response: { status: 'cancelled' } });
  });

  test('a connection is cut in the middle of an answer', async () => {
    const { client, model } = await openTelephone({ faults: { cutAtMs: 600 } });
    client.send({ type: 'response.create' });
    await model.closed;
    await until(() => client.closeCode !== undefined);
    expect(client.closeCode).toBe(1006);
  });

  test('a response fails because there were too many, for some by seed', async () => {
    const states: unknown[][] = [];
    for (const seed of [3, 3, 4]) {
      const { client } = await openTelephone({
        speed: 1000,
        seed,
        faults: { isRateLimited: true, share: 0.5 },
      });
      for (let count = 1; count <= 8; count += 1) {
        client.send({ type: 'response.create' });
        await client.next('response.done', count);
      }
      const responses = client.of('response.done').map(({ response }) => response as Record<string, unknown>);
      states.push(responses.map(({ status }) => status));
      const failed = responses.find(({ status }) => status === 'failed');
      expect(failed).toMatchObject({
        status_details: { type: 'failed', error: { code: 'rate_limit_exceeded' } },
      });
    }
    expect(states[1]).toEqual(states[0]);
    expect(states[2]).not.toEqual(states[0]);
    expect(new Set(states[0])).toEqual(new Set(['completed', 'failed']));
  });

  test('the first audio is late', async () => {
    const { client } = await openTelephone({ faults: { lateMs: 300 } });
    client.send({ type: 'response.create' });
    await client.next('response.created');
    const begin = performance.now();
    await client.next('response.output_audio.delta');
    expect(performance.now() - begin).toBeGreaterThan(280);
  });

  test('a session gets too old', async () => {
    const { client, model } = await open({ maxAgeMs: 50 });
    expect(await client.next('error')).toMatchObject({ error: { code: 'session_expired' } });
    await model.closed;
    await until(() => client.closeCode === 1001);
  });
});

describe('the server', () => {
  test('wants the key, the path and a model', async () => {
    const server = await serveSimulatedModels({ apiKey: 'sk-right' });
    closing.push(() => server.close());
    const attempt = async (
      url: string,
      key: string | undefined,
      protocols: string[] = [],
    ): Promise<string> => {
      const headers: Record<string, string> = key === undefined ? {} : { authorization: `Bearer ${key}` };
      const { socket } = new RealtimeClient(url, { headers }, protocols);
      return new Promise((resolve) => {
        socket.once('open', () => resolve(`open ${socket.protocol}`));
        socket.once('error', ({ message }) => resolve(message));
      });
    };
    expect(await attempt(`${server.url}?model=m`, 'sk-right')).toBe('open ');
    expect(
      await attempt(`${server.url}?model=m`, undefined, ['realtime', 'openai-insecure-api-key.sk-right']),
    ).toBe('open realtime');
    expect(await attempt(`${server.url}?model=m`, 'sk-wrong')).toContain('401');
    expect(await attempt(`${server.url}?model=m`, undefined)).toContain('401');
    expect(await attempt(server.url, 'sk-right')).toContain('400');
    expect(await attempt(`${server.url}/other?model=m`, 'sk-right')).toContain('404');
    expect((await fetch(server.url.replace('ws:', 'http:'))).status).toBe(426);
  });

  test('is refused options that are out of range', async () => {
    await expect(serveSimulatedModels({ speed: 0 })).rejects.toMatchObject({ code: 'invalid_option' });
    await expect(serveSimulatedModels({ faults: { share: 2 } })).rejects.toMatchObject({
      code: 'invalid_option',
    });
    await expect(serveSimulatedModels({ script: [] })).rejects.toMatchObject({ code: 'invalid_option' });
  });
});
