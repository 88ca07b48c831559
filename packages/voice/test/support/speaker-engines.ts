import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { AudioFormat } from '@spillway/core/audio';
import { openElevenLabsSpeech, openFlite, openOpenAiSpeech, type Speaker } from '@spillway/voice';
import { serveSimulatedSpeakers, type SimulatedSpeakerServer } from '@spillway/voice/simulate/speaker';
import type { SpeakerEngine } from '@spillway/voice/testing/speaker-rules';
import { WebSocketServer } from 'ws';
import { soundOf } from '../../src/simulate/cascade/simulated-speech.ts';

const apiKey = 'sk-of-a-test-1234';
const texts = ['We are open from nine to six.', 'On Sunday the library is closed.'] as const;
const impatient = { firstAudioTimeoutMs: 1000, stallTimeoutMs: 500 };
/** A port on which nothing listens. */
const nowhere = '127.0.0.1:9';

export const linear: AudioFormat = { encoding: 'pcm16', sampleRateHz: 24_000 };

function engineOf(
  server: SimulatedSpeakerServer,
  format: AudioFormat,
): Omit<SpeakerEngine, 'hasTimes' | 'open'> {
  const set = (faults: SimulatedSpeakerServer['faults']) => () => {
    server.faults = faults;
  };
  return {
    texts,
    secret: apiKey,
    soundOf: (text) => soundOf(text, format, [], 65).audio,
    progress: () => (server.asked.at(-1)?.sentMs ?? 0) / (server.asked.at(-1)?.audioMs ?? 1),
    activeCount: () => server.asked.filter(({ state }) => state === 'open').length,
    stall: set({ stallAfter: 1 }),
    cut: set({ cutAfter: 2 }),
    limit: set({ rateLimitedS: 1 }),
    heal: set({}),
    openCount: () => server.openCount,
    remove: () => server.close(),
  };
}

export async function openAiEngine(): Promise<SpeakerEngine> {
  const server = await serveSimulatedSpeakers({ apiKey });
  const removing: (() => void)[] = [];
  const serve = async (answer: RequestListener): Promise<Speaker> => {
    const wild = createServer(answer);
    removing.push(() => {
      wild.closeAllConnections();
      wild.close();
    });
    await new Promise<void>((resolve) => wild.listen(0, '127.0.0.1', resolve));
    const { port } = wild.address() as AddressInfo;
    return openOpenAiSpeech({ url: `http://127.0.0.1:${port}`, apiKey });
  };
  return {
    ...engineOf(server, linear),
    hasTimes: false,
    open: ({ isImpatient = false } = {}) =>
      openOpenAiSpeech({ url: server.openAiUrl, apiKey, ...(isImpatient ? impatient : {}) }),
    openUnreachable: () => openOpenAiSpeech({ url: `http://${nowhere}`, apiKey, ...impatient }),
    openWild: (says) =>
      serve((_request, response) => {
        response.end(says);
      }),
    openEndless: () =>
      serve((_request, response) => {
        const write = (): void => {
          while (!response.destroyed && response.write(new Uint8Array(65_536)));
        };
        response.on('drain', write);
        write();
      }),
    remove: async () => {
      for (const remove of removing) remove();
      await server.close();
    },
  };
}

export async function elevenLabsEngine(format: AudioFormat): Promise<SpeakerEngine> {
  const server = await serveSimulatedSpeakers({ apiKey });
  const removing: (() => void)[] = [];
  const options = { voice: 'voice-of-a-test', apiKey, format };
  const engine = engineOf(server, format);
  // 260 s of it are 2 MB: an operating system holds that.
  const { progress: _progress, ...quietEngine } = engine;
  const serve = async (
    says: (text: Readonly<Record<string, unknown>>) => Iterable<Uint8Array | string>,
    timeouts = {},
  ): Promise<Speaker> => {
    const wild = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    removing.push(() => {
      for (const socket of wild.clients) socket.terminate();
      wild.close();
    });
    wild.on('connection', (socket) => {
      socket.on('error', () => undefined);
      socket.on('message', (data) => {
        const message = JSON.parse((data as Buffer).toString()) as Readonly<Record<string, unknown>>;
        if (message['flush'] === true)
          for (const one of says(message))
            if (socket.bufferedAmount < 50_000_000) socket.send(one.toString());
      });
    });
    if (wild.address() === null) await new Promise((resolve) => wild.once('listening', resolve));
    const { port } = wild.address() as AddressInfo;
    return openElevenLabsSpeech({ ...options, url: `ws://127.0.0.1:${port}`, ...timeouts });
  };
  return {
    ...(format.encoding === 'mulaw' ? quietEngine : engine),
    hasTimes: true,
    open: ({ isImpatient = false } = {}) =>
      openElevenLabsSpeech({ ...options, url: server.elevenLabsUrl, ...(isImpatient ? impatient : {}) }),
    openUnreachable: () => openElevenLabsSpeech({ ...options, url: `ws://${nowhere}`, ...impatient }),
    openWild: (says) => serve(() => [says], impatient),
    openEndless: () =>
      serve(function* endless({ context_id: contextId }) {
        const audio = Buffer.alloc(48_000).toString('base64');
        for (let count = 0; count < 500; count += 1) yield JSON.stringify({ audio, contextId });
      }),
    remove: async () => {
      for (const remove of removing) remove();
      await server.close();
    },
  };
}

export function fliteEngine(): SpeakerEngine {
  return { texts, hasTimes: false, open: () => openFlite() };
}
