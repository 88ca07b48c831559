// A bridge with a cascade. Arguments: the URLs of its three stages; then the stages that are not asked, but answer at once here.
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
} from '@spillway/voice';
import { type WebSocket, WebSocketServer } from 'ws';

const [recogniserUrl = '', chatUrl = '', speakerUrl = '', ...plain] = process.argv.slice(2);
const apiKey = 'sk-test';
const words = 'What events do you have this month?';
const said = 'There are three of them this month. The first one is a reading for children, at four.';
/** Half a second of a tone, 24,000 samples a second. */
const tone = new Uint8Array(new Int16Array(12_000).map((_, at) => 8000 * Math.sin(at / 10)).buffer);

const server = new WebSocketServer({ ...carrierSocketOptions, host: '127.0.0.1', port: 0 });
server.on('connection', (socket) => {
  answer(socket).catch((error: unknown) => console.error(error));
});
server.on('listening', () => {
  console.log(`listening on ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

async function answer(socket: WebSocket): Promise<void> {
  openCall({
    carrier: await acceptTwilio(socket),
    model: openCascade({
      recogniser: plain.includes('recognise')
        ? new PlainRecogniser()
        : openOpenAiTranscription({ url: recogniserUrl, apiKey }),
      reasoner: plain.includes('reason')
        ? plainReasoner
        : openOpenAiChat({ url: chatUrl, apiKey, model: 'gpt-5-mini' }),
      speaker: plain.includes('speak') ? plainSpeaker : openOpenAiSpeech({ url: speakerUrl, apiKey }),
    }),
  });
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
