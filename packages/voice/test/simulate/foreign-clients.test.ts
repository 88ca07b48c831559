import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession, tool } from '@openai/agents-realtime';
import { msOfBytes, telephoneAudio } from '@spillway/core/audio';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import type { RealtimeServerEvent } from 'openai/resources/realtime/realtime';
import { z } from 'zod';
import { until } from '../../../core/test/support/until.ts';
import { type Certificates, makeCertificates } from '../../../gateway/test/support/certificates.ts';
import {
  serveSimulatedModels,
  type SimulatedModel,
  type SimulatedModelServerOptions,
} from '../../src/simulate/model/index.ts';
import { speech } from '../../src/simulate/speech.ts';
import { quiet } from '../support/realtime-client.ts';

let certificates: Certificates;
beforeAll(() => {
  certificates = makeCertificates();
});
afterAll(() => certificates.remove());

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).toReversed()) await close();
});

async function serve(options: SimulatedModelServerOptions): Promise<{
  readonly url: string;
  readonly model: Promise<SimulatedModel>;
}> {
  const opened = Promise.withResolvers<SimulatedModel>();
  const server = await serveSimulatedModels({
    apiKey: 'sk-test',
    thinkMs: 0,
    onSession: opened.resolve,
    ...options,
  });
  closing.push(() => server.close());
  return { url: server.url, model: opened.promise };
}

const words = Buffer.concat([quiet(300), speech('caller-hello').audio, quiet(800)]);

describe("OpenAI's client", () => {
  async function connect(options: SimulatedModelServerOptions): Promise<{
    readonly client: OpenAIRealtimeWS;
    readonly events: RealtimeServerEvent[];
    readonly model: SimulatedModel;
    readonly next: <Type extends RealtimeServerEvent['type']>(
      type: Type,
    ) => Promise<Extract<RealtimeServerEvent, { type: Type }>>;
  }> {
    const { key, cert } = certificates.server;
    const { model, url } = await serve({ tls: { key, cert }, ...options });
    const api = new OpenAI({
      apiKey: 'sk-test',
      baseURL: url.replace('wss:', 'https:').replace('/realtime', ''),
    });
    const client = new OpenAIRealtimeWS(
      { model: 'gpt-realtime-2', options: { ca: certificates.authority.cert } },
      api,
    );
    closing.push(() => client.close());
    const events: RealtimeServerEvent[] = [];
    client.on('event', (event) => events.push(event));
    // Without a listener of its own, an error of the API is thrown.
    client.on('error', () => undefined);
    const next = async <Type extends RealtimeServerEvent['type']>(
      type: Type,
    ): Promise<Extract<RealtimeServerEvent, { type: Type }>> => {
      const find = (): RealtimeServerEvent | undefined => events.find((event) => event.type === type);
      await until(
        () => find() !== undefined,
        () => `${type}: got ${events.map((one) => one.type).join(', ')}`,
      );
      return find() as Extract<RealtimeServerEvent, { type: Type }>;
    };
    await next('session.created');
    return { client, events, model: await model, next };
  }

  test('speaks and is answered, interrupts, and says what it heard', async () => {
    const { client, events, model, next } = await connect({
      speed: 10,
      script: [{ heard: 'Hello?', says: speech('model-events') }],
    });
    client.send({
      type: 'session.update',
      session: {
        type: 'realtime',
        output_modalities: ['audio'],
        audio: {
          input: { format: { type: 'audio/pcmu' }, transcription: { model: 'gpt-transcribe' } },
          output: { format: { type: 'audio/pcmu' }, voice: 'marin' },
        },
      },
    });
    await next('session.updated');
    for (let at = 0; at < words.byteLength; at += 800)
      client.send({
        type: 'input_audio_buffer.append',
        audio: words.subarray(at, at + 800).toString('base64'),
      });
    const heard = await next('conversation.item.input_audio_transcription.completed');
    expect(heard.transcript).toBe('Hello?');
    const { item_id, response_id } = await next('response.output_audio.delta');
    await until(() => events.filter(({ type }) => type === 'response.output_audio.delta').length >= 10);
    client.send({ type: 'response.cancel', response_id });
    client.send({ type: 'conversation.item.truncate', item_id, content_index: 0, audio_end_ms: 800 });
    const { response } = await next('response.done');
    expect(response).toMatchObject({ status: 'cancelled', status_details: { reason: 'client_cancelled' } });
    await next('conversation.item.truncated');
    client.send({ type: 'conversation.item.delete', item_id });
    await next('conversation.item.deleted');
    expect(model.truth).toMatchObject({
      refusals: [],
      receivedMs: words.byteLength / 8,
      truncations: [{ itemId: item_id, audioEndMs: 800 }],
      said: [],
    });
  });

  test('is refused in the shape that it knows', async () => {
    const { client, next } = await connect({});
    client.send({ type: 'response.cancel', event_id: 'mine' });
    const { error } = await next('error');
    expect(error).toEqual({
      type: 'invalid_request_error',
      code: 'response_cancel_not_active',
      message: 'Cancellation failed: no active response found',
      param: null,
      event_id: 'mine',
    });
  });
});

describe("the client of OpenAI's agents", () => {
  test('speaks, uses a tool and is answered; nothing that it sends is refused', async () => {
    const calls = { name: 'find_book', input: { title: 'Momo' } };
    const { model, url } = await serve({
      speed: 50,
      script: [{ heard: 'Do you have Momo?', calls, says: speech('model-book') }],
    });
    const asked: string[] = [];
    const findBook = tool({
      name: 'find_book',
      description: 'Finds a book.',
      parameters: z.object({ title: z.string() }),
      execute: async ({ title }) => {
        asked.push(title);
        return 'on the second floor';
      },
    });
    const transport = new OpenAIRealtimeWebSocket({
      url: `${url}?model=gpt-realtime-2`,
      useInsecureApiKey: true,
    });
    const agent = new RealtimeAgent({
      name: 'library',
      instructions: 'You answer for a library.',
      tools: [findBook],
    });
    const session = new RealtimeSession(agent, {
      transport,
      model: 'gpt-realtime-2',
      tracingDisabled: true,
      config: {
        outputModalities: ['audio'],
        audio: {
          input: { format: { type: 'audio/pcmu' }, transcription: { model: 'gpt-transcribe' } },
          output: { format: { type: 'audio/pcmu' } },
        },
      },
    });
    closing.push(() => session.close());
    const errors: unknown[] = [];
    session.on('error', (error) => errors.push(error));
    let audioBytes = 0;
    session.on('audio', ({ data }) => {
      audioBytes += data.byteLength;
    });
    let isDone = false;
    session.on('transport_event', ({ type }) => {
      if (type === 'response.output_audio.done') isDone = true;
    });
    await session.connect({ apiKey: 'sk-test' });
    for (let at = 0; at < words.byteLength; at += 800)
      session.sendAudio(new Uint8Array(words.subarray(at, at + 800)).buffer);
    await until(() => isDone);
    const { truth } = await model;
    expect(truth.refusals).toEqual([]);
    expect(errors).toEqual([]);
    expect(asked).toEqual(['Momo']);
    expect(truth.results).toMatchObject([{ output: 'on the second floor' }]);
    expect(msOfBytes(telephoneAudio, audioBytes)).toBe(
      msOfBytes(telephoneAudio, speech('model-book').audio.byteLength),
    );
    expect(truth.settings.instructions).toBe('You answer for a library.');
  });

  test('interrupts while an answer is made, and truncates it', async () => {
    const { model, url } = await serve({ speed: 4, greeting: speech('model-events') });
    const transport = new OpenAIRealtimeWebSocket({
      url: `${url}?model=gpt-realtime-2`,
      useInsecureApiKey: true,
    });
    closing.push(() => transport.close());
    const errors: unknown[] = [];
    transport.on('error', (error) => errors.push(error));
    let pieces = 0;
    transport.on('audio', () => {
      pieces += 1;
    });
    await transport.connect({ apiKey: 'sk-test', model: 'gpt-realtime-2', initialSessionConfig: {} });
    transport.requestResponse?.();
    await until(() => pieces >= 5);
    transport.interrupt();
    const session = await model;
    await until(() => session.truth.truncations.length === 1);
    expect(session.truth).toMatchObject({ refusals: [], cancellations: 1 });
    expect(errors).toEqual([]);
  });
});
