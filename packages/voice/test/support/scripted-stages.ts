import { type AudioFormat, telephoneAudio } from '@spillway/core/audio';
import type { VirtualClock } from '@spillway/core/testing/virtual-clock';
import type {
  Reasoner,
  ReasonEvent,
  ReasonMessage,
  Recogniser,
  RecogniserEvent,
  Speaker,
  SpokenEvent,
  SpokenWord,
  StageError,
} from '../../src/index.ts';

/** Waits on the test's clock; rejects when it is aborted. */
async function wait(clock: VirtualClock, ms: number, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const over = Promise.withResolvers<void>();
  const timer = clock.after(ms, over.resolve);
  const onAbort = (): void => over.reject(signal.reason);
  signal.addEventListener('abort', onAbort);
  try {
    await over.promise;
  } finally {
    timer.stop();
    signal.removeEventListener('abort', onAbort);
  }
}

/** A recogniser that hears what the test says it hears. */
export class ScriptedRecogniser implements Recogniser {
  readonly api = 'scripted';
  readonly input: AudioFormat = telephoneAudio;
  bufferedMs = 0;
  unconfirmedMs = 0;
  isClosed = false;
  /** How long it takes for the words of an utterance. */
  delayMs = 200;
  /** The words of the next utterances, in order. */
  readonly words: string[] = [];
  /** The audio of each utterance, in milliseconds; the last one is open. */
  readonly utterances: number[] = [0];
  readonly #clock: VirtualClock;
  tell: (event: RecogniserEvent) => void = () => undefined;

  readonly #isReady: boolean;

  constructor(clock: VirtualClock, isReady = true) {
    this.#clock = clock;
    this.#isReady = isReady;
  }

  listen(listener: (event: RecogniserEvent) => void): void {
    this.tell = listener;
    if (this.#isReady) queueMicrotask(() => listener({ kind: 'ready' }));
  }

  send(audio: Uint8Array): void {
    const open = this.utterances.pop() ?? 0;
    this.utterances.push(open + audio.byteLength / 8);
  }

  finish(): void {
    this.utterances.push(0);
    this.#clock.after(this.delayMs, () => {
      if (!this.isClosed) this.tell({ kind: 'final', text: this.words.shift() ?? '', words: [] });
    });
  }

  close(): void {
    this.isClosed = true;
  }
}

/** What a scripted model of text does: words, a pause in milliseconds, a call of a tool, or a failure. */
export type Said = string | number | StageError | ReasonEvent;

/** A model of text that says what the test wants, word by word. */
export class ScriptedReasoner implements Reasoner {
  readonly api = 'scripted';
  readonly asked: (readonly ReasonMessage[])[] = [];
  /** What is said to each request, in order. */
  readonly answers: (readonly Said[])[] = [];
  aborts = 0;
  /** Answers that are being made, and the most at once. */
  running = 0;
  mostRunning = 0;
  /** Words that were read of it, in all. */
  read = 0;
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  async *answer(
    messages: readonly ReasonMessage[],
    { signal }: { readonly signal: AbortSignal },
  ): AsyncGenerator<ReasonEvent> {
    this.asked.push(messages);
    signal.addEventListener('abort', () => (this.aborts += 1));
    this.mostRunning = Math.max(this.mostRunning, (this.running += 1));
    try {
      for (const one of this.answers.shift() ?? []) {
        if (one instanceof Error) throw one;
        if (typeof one === 'number') await wait(this.#clock, one, signal);
        else if (typeof one !== 'string') yield one;
        else
          for (const text of one.split(/(?<= )/u)) {
            this.read += 1;
            yield { kind: 'text', text };
          }
      }
      yield { kind: 'used', usage: { inputTokens: 10, outputTokens: 5 } };
    } finally {
      this.running -= 1;
    }
  }
}

/** How long a character of a scripted speaker is, in milliseconds. */
export const msPerCharacter = 50;

/** A speaker whose speech is as long as the text. */
export class ScriptedSpeaker implements Speaker {
  readonly api = 'scripted';
  readonly output: AudioFormat = telephoneAudio;
  /** The texts that it was given, in order, and when. */
  readonly spoken: { readonly text: string; readonly atMs: number }[] = [];
  /** The audio of the texts, as far as it was made, in milliseconds. */
  readonly madeMs: number[] = [];
  aborts = 0;
  /** Texts that are being spoken, and the most at once. */
  running = 0;
  mostRunning = 0;
  isClosed = false;
  /** How much faster than it is played it makes speech. */
  speed = 10;
  /** Until its first audio. */
  firstMs = 100;
  hasWords = false;
  /** It makes no audio of anything. */
  isMute = false;
  /** What becomes of the next texts: after so many milliseconds of audio a pause or a failure. */
  readonly faults: ({ readonly atMs: number; readonly fault: number | StageError } | undefined)[] = [];
  readonly #clock: VirtualClock;

  constructor(clock: VirtualClock) {
    this.#clock = clock;
  }

  async *speak(text: string, { signal }: { readonly signal: AbortSignal }): AsyncGenerator<SpokenEvent> {
    this.spoken.push({ text, atMs: this.#clock.nowMs() });
    const at = this.madeMs.push(0) - 1;
    const fault = this.faults.shift();
    let isOver = false;
    signal.addEventListener('abort', () => (this.aborts += isOver ? 0 : 1));
    const ms = this.isMute ? 0 : text.length * msPerCharacter;
    this.mostRunning = Math.max(this.mostRunning, (this.running += 1));
    try {
      await wait(this.#clock, this.firstMs, signal);
      if (this.hasWords) yield { kind: 'words', words: wordsOf(text) };
      let isFaulty = fault !== undefined;
      for (let done = 0; done < ms;) {
        if (isFaulty && fault !== undefined && done >= fault.atMs) {
          isFaulty = false;
          if (typeof fault.fault !== 'number') throw fault.fault;
          await wait(this.#clock, fault.fault, signal);
        }
        const next = Math.min(200, ms - done);
        done += next;
        this.madeMs[at] = done;
        yield { kind: 'audio', audio: new Uint8Array(next * 8).fill(0x90) };
        await wait(this.#clock, next / this.speed, signal);
      }
    } finally {
      isOver = true;
      this.running -= 1;
    }
  }

  close(): void {
    this.isClosed = true;
  }
}

/** When each word of a text is spoken: the first one slowly, so that a share of the text says nothing. */
export function wordsOf(text: string): SpokenWord[] {
  const ms = text.length * msPerCharacter;
  const slowMs = ms / 4;
  return [...text.matchAll(/\S+/gu)].map(({ 0: word, index }) => {
    const end = index + word.length;
    return { end, toMs: slowMs + (end / text.length) * (ms - slowMs) };
  });
}
