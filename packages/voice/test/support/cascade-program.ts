// A bridge with a cascade. Arguments: the URLs of its three stages; then the stages that are not asked, but answer at once here, and
// `greeting`, if the model is to speak first, and `watch`: then it prints the most that was in each place of a call when that ends, as a
// line of JSON.
import type { AddressInfo } from 'node:net';
import {
  acceptTwilio,
  carrierSocketOptions,
  openCall,
  openCascade,
  openOpenAiChat,
  openOpenAiSpeech,
  openOpenAiTranscription,
  type Reasoner,
  type Recogniser,
  type RecogniserEvent,
  type Speaker,
} from '../../src/index.ts';
import { type WebSocket, WebSocketServer } from 'ws';

const [recogniserUrl = '', chatUrl = '', speakerUrl = '', ...more] = process.argv.slice(2);
const apiKey = 'sk-test';
const words = 'What events do you have this month?';
const said = 'There are three of them this month. The first one is a reading for children, at four.';
/** Half a second of a tone, 24,000 samples a second. */
const tone = new Uint8Array(new Int16Array(12_000).map((_, at) => 8000 * Math.sin(at / 10)).buffer);

const server = new WebSocketServer({ ...carrierSocketOptions, host: '127.0.0.1', port: 0 });
server.on('connection', (socket) => {
  answer(socket).catch((error: unknown) => process.stderr.write(`${String(error)}\n`));
});
server.on('listening', () => {
  process.stdout.write(`listening on ws://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
});

async function answer(socket: WebSocket): Promise<void> {
  const call = openCall({
    carrier: await acceptTwilio(socket),
    model: openCascade({
      recogniser: more.includes('recognise')
        ? new PlainRecogniser()
        : openOpenAiTranscription({ url: recogniserUrl, apiKey }),
      reasoner: more.includes('reason')
        ? plainReasoner
        : openOpenAiChat({ url: chatUrl, apiKey, model: 'gpt-5-mini' }),
      speaker: more.includes('speak') ? plainSpeaker : openOpenAiSpeech({ url: speakerUrl, apiKey }),
    }),
    ...(more.includes('greeting') ? { greeting: 'Say hello.' } : {}),
  });
  if (!more.includes('watch')) return;
  const most: Record<string, number> = {};
  const timer = setInterval(() => {
    const { stages, ...figures } = call.figures;
    for (const [name, value] of Object.entries(figures)) most[name] = Math.max(most[name] ?? 0, value);
    for (const { depthMs, stage } of stages) most[stage] = Math.max(most[stage] ?? 0, depthMs);
  }, 20);
  await call.ended;
  clearInterval(timer);
  process.stdout.write(`${JSON.stringify(most)}\n`);
}

class PlainRecogniser implements Recogniser {
  readonly api = 'plain';
  readonly input = { encoding: 'pcm16', sampleRateHz: 16_000 } as const;
  readonly bufferedMs = 0;
  readonly unconfirmedMs = 0;
  #listener: ((event: RecogniserEvent) => void) | undefined;

  listen(listener: (event: RecogniserEvent) => void): void {
    this.#listener = listener;
    queueMicrotask(() => listener({ kind: 'ready' }));
  }

  send(): void {}

  finish(): void {
    setImmediate(() => this.#listener?.({ kind: 'final', text: words, words: [] }));
  }

  close(): void {
    this.#listener = undefined;
  }
}

const plainReasoner: Reasoner = {
  api: 'plain',
  async *answer() {
    yield { kind: 'text', text: said };
  },
};

const plainSpeaker: Speaker = {
  api: 'plain',
  output: { encoding: 'pcm16', sampleRateHz: 24_000 },
  async *speak(text) {
    for (let ms = 0; ms < text.length * 65; ms += 500) yield { kind: 'audio', audio: tone };
  },
  close: () => undefined,
};
