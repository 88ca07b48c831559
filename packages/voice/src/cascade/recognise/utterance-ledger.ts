import { type AudioFormat, msOfBytes } from '@spillway/core/audio';
import type { HeardWord, RecogniserEvent } from '../recogniser.ts';

/** The most utterances that may have no final. Their audio is bounded elsewhere; this bounds the list. */
const maxOwed = 256;
/** The longest text of an utterance, in characters, and the most words: a minute of the fastest speech has 400. */
const maxTextLength = 16_384;
const maxWords = 4096;

/** What became of an utterance. */
export interface Outcome {
  readonly text: string;
  readonly words: readonly HeardWord[];
  /** Told before its final: something of it was lost. */
  readonly warning?: { readonly code: string; readonly message: string };
}

/** An utterance that has no final. */
export interface Utterance {
  /** Where it begins in all audio that was sent to the other side, in bytes. */
  readonly fromBytes: number;
  /** What was sent of it to the other side. */
  bytes: number;
  /** What came before the recogniser was ready, in bytes. It is in front of what was sent. */
  leftOutBytes: number;
  isFinished: boolean;
  outcome: Outcome | undefined;
}

/** Nothing was heard. */
export const nothingHeard: Outcome = { text: '', words: [] };

/**
 * What every recogniser owes: a final for each utterance that is finished, in their order, and nothing before `ready` or
 * after the end. Whoever finishes an utterance is never called back within that.
 */
export class UtteranceLedger {
  readonly #input: AudioFormat;
  readonly #onBroken: (code: string, message: string) => void;
  /** In order; the last one may be open. */
  readonly #owed: Utterance[] = [];
  #sentBytes = 0;
  #listener: ((event: RecogniserEvent) => void) | undefined;
  #isReady = false;
  #isTold = false;
  #isOver = false;
  #hasFlush = false;
  /** How it ended before anybody listened. */
  #early: RecogniserEvent | undefined;

  /** `onBroken`: more is owed, or came of an utterance, than may be. The recogniser has to end then. */
  constructor(input: AudioFormat, onBroken: (code: string, message: string) => void) {
    this.#input = input;
    this.#onBroken = onBroken;
  }

  /** All audio that was sent to the other side, in bytes. */
  get sentBytes(): number {
    return this.#sentBytes;
  }

  /** The oldest utterance that has no final. */
  get oldest(): Utterance | undefined {
    return this.#owed[0];
  }

  /** The oldest utterance of which it is not known what became of it. */
  get oldestUnsettled(): Utterance | undefined {
    return this.#owed.find(({ outcome }) => outcome === undefined);
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  listen(listener: (event: RecogniserEvent) => void): void {
    this.#listener = listener;
    // Whoever listens is first done with that.
    queueMicrotask(() => {
      if (this.#early !== undefined) this.#listener?.(this.#early);
      else this.#tellReady();
    });
  }

  /** The recogniser takes audio. */
  ready(): void {
    this.#isReady = true;
    this.#tellReady();
  }

  /** Takes audio of the utterance that is open, or opens one. `undefined`: it is left out. */
  take(audio: Uint8Array): Utterance | undefined {
    if (this.#isOver || audio.byteLength === 0) return undefined;
    const open = this.#open();
    if (this.#isTold) {
      open.bytes += audio.byteLength;
      this.#sentBytes += audio.byteLength;
      return open;
    }
    open.leftOutBytes += audio.byteLength;
    return undefined;
  }

  /** The open utterance is over. Returns it if there is audio of it to be understood. */
  finish(): Utterance | undefined {
    if (this.#isOver) return undefined;
    const open = this.#open();
    open.isFinished = true;
    if (this.#owed.length > maxOwed) {
      this.#onBroken(
        'late',
        `It owes the words of ${this.#owed.length} utterances; the limit is ${maxOwed}.`,
      );
      return undefined;
    }
    if (open.bytes > 0) return open;
    const warning = { code: 'audio_lost', message: 'It was not ready when the utterance came.' };
    this.settle(open, open.leftOutBytes === 0 ? nothingHeard : { ...nothingHeard, warning });
    return undefined;
  }

  /** Words of an utterance so far. Only those of the oldest are told. `wordCount`: the words that are held of it. */
  partial(utterance: Utterance, text: string, wordCount = 0): void {
    // What is known of earlier ones comes first.
    this.#flush();
    if (text.length > maxTextLength || wordCount > maxWords) this.#tooLong();
    else if (text !== '' && utterance === this.oldest && utterance.outcome === undefined)
      this.emit({ kind: 'partial', text });
  }

  /** What became of an utterance that is finished. Its final comes when all before it have theirs. */
  settle(utterance: Utterance, outcome: Outcome): void {
    if (utterance.outcome !== undefined) return;
    if (outcome.text.length > maxTextLength || outcome.words.length > maxWords) {
      this.#tooLong();
      return;
    }
    utterance.outcome = outcome;
    this.#flushLater();
  }

  /** A word's place in its utterance. `fromMs` and `toMs`: since the first sample that was sent to the other side. */
  placed(utterance: Utterance, text: string, fromMs: number, toMs: number): HeardWord {
    const beforeMs = msOfBytes(this.#input, utterance.leftOutBytes);
    const lastMs = beforeMs + msOfBytes(this.#input, utterance.bytes);
    const inside = (ms: number): number => Math.min(lastMs, Math.max(beforeMs, beforeMs + ms));
    return { text, fromMs: inside(fromMs), toMs: inside(Math.max(fromMs, toMs)) };
  }

  emit(event: RecogniserEvent): void {
    if (!this.#isOver && this.#isTold) this.#listener?.(event);
  }

  /** It does not go on. */
  end(code: string, message: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#owed.length = 0;
    const ended = { kind: 'ended', code, message } as const;
    if (this.#listener === undefined) this.#early = ended;
    else this.#listener(ended);
  }

  close(): void {
    this.#isOver = true;
    this.#owed.length = 0;
    this.#early = undefined;
    this.#listener = undefined;
  }

  #open(): Utterance {
    const last = this.#owed.at(-1);
    if (last !== undefined && !last.isFinished) return last;
    const open: Utterance = {
      fromBytes: this.#sentBytes,
      bytes: 0,
      leftOutBytes: 0,
      isFinished: false,
      outcome: undefined,
    };
    this.#owed.push(open);
    return open;
  }

  #tellReady(): void {
    if (this.#isTold || !this.#isReady || this.#isOver || this.#listener === undefined) return;
    this.#isTold = true;
    this.#listener({ kind: 'ready' });
    this.#flushLater();
  }

  #flushLater(): void {
    if (this.#hasFlush) return;
    this.#hasFlush = true;
    queueMicrotask(() => {
      this.#hasFlush = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (!this.#isTold) return;
    for (let [oldest] = this.#owed; oldest?.outcome !== undefined; [oldest] = this.#owed) {
      this.#owed.shift();
      const { text, warning, words } = oldest.outcome;
      if (warning !== undefined) this.emit({ kind: 'warned', ...warning });
      this.emit({ kind: 'final', text, words });
    }
  }

  #tooLong(): void {
    this.#onBroken(
      'bad_message',
      `It made more than ${maxTextLength} characters, or ${maxWords} words, of one utterance.`,
    );
  }
}
