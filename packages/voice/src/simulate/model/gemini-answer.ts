import { type AudioFormat, msOfBytes } from '@spillway/core/audio';
import type { Clock, Timer } from '@spillway/core/clock';
import type { Speech } from '../speech.ts';
import type { GeminiAnswer } from './gemini-truth.ts';
import type { SimulatedGeminiFaults } from './simulated-gemini-options.ts';
import { SpokenResponse } from './spoken-response.ts';

/** What Gemini makes. */
const geminiAudio: AudioFormat = { encoding: 'pcm16', sampleRateHz: 24_000 };

/** What an answer is made with. */
export interface GeminiAnswerOptions {
  readonly speech: Speech;
  readonly speed: number;
  readonly deltaMs: number;
  readonly thinkMs: number;
  /** Those that this answer has. */
  readonly faults: SimulatedGeminiFaults;
  /** Whether the words are told, too. */
  readonly isTranscribed: boolean;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  /** Sends a `serverContent`. */
  readonly send: (content: Readonly<Record<string, unknown>>) => void;
  readonly mayMake: () => boolean;
  readonly onCut: () => void;
  readonly onPhantom: () => void;
  /** Its audio was made, and would have been played by now. */
  readonly onEnd: () => void;
}

/** One turn of the model: it thinks, speaks faster than real time, and waits until it would have been heard. */
export class GeminiSpokenAnswer {
  readonly #options: GeminiAnswerOptions;
  #timer: Timer | undefined;
  #spoken: SpokenResponse | undefined;
  #bytes = 0;
  #text = '';
  #beganMs = 0;

  constructor(options: GeminiAnswerOptions) {
    this.#options = options;
  }

  /** What came of it. */
  get made(): Omit<GeminiAnswer, 'isInterrupted'> {
    return { text: this.#text, madeMs: msOfBytes(geminiAudio, this.#bytes) };
  }

  /** Begins. What comes of it comes later. */
  begin(): void {
    const { clock, faults, thinkMs } = this.#options;
    this.#timer = clock.after(thinkMs + (faults.lateMs ?? 0), () => this.#speak());
  }

  /** Makes nothing more, without a word. */
  stop(): void {
    this.#timer?.stop();
    this.#spoken?.stop();
  }

  #speak(): void {
    const { clock, deltaMs, faults, mayMake, speech, speed } = this.#options;
    this.#beganMs = clock.nowMs();
    this.#spoken = new SpokenResponse({
      speech,
      format: geminiAudio,
      speed,
      deltaMs,
      clock,
      mayMake,
      stallAtMs: faults.stallAtMs,
      onDelta: (audio, text) => this.#say(audio, text),
      onEnd: () => this.#wait(),
    });
    this.#spoken.make();
  }

  #say(audio: Uint8Array, text: string): void {
    const { clock, faults, isTranscribed, onCut, onPhantom, send } = this.#options;
    this.#bytes += audio.byteLength;
    this.#text += text;
    const inlineData = { mimeType: 'audio/pcm;rate=24000', data: Buffer.from(audio).toString('base64') };
    send({ modelTurn: { role: 'model', parts: [{ inlineData }] } });
    if (isTranscribed && text !== '') send({ outputTranscription: { text } });
    const { madeMs } = this.made;
    if (faults.cutAtMs !== undefined && madeMs >= faults.cutAtMs) onCut();
    // Not within what makes this piece, and sees to the next one.
    else if (faults.phantomAtMs !== undefined && madeMs >= faults.phantomAtMs)
      this.#timer = clock.after(0, onPhantom);
  }

  /** The real one takes it that its audio is played as it comes, and ends a turn when that is over. */
  #wait(): void {
    const { clock, onEnd, send } = this.#options;
    send({ generationComplete: true });
    const playedMs = this.#beganMs + this.made.madeMs - clock.nowMs();
    this.#timer = clock.after(Math.max(0, playedMs), onEnd);
  }
}
