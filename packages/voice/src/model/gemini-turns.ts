import type { SpokenPart } from '@spillway/core/audio';
import type { Clock, Timer } from '@spillway/core/clock';
import type { CallerSound } from './caller-sound.ts';
import type { GeminiContent } from './gemini-live-messages.ts';
import type { ModelEvent, ResponseState } from './model-leg.ts';

/** An answer that was interrupted is over after so long at the latest, should the API not say so. */
const maxStoppingMs = 2000;
/** Somebody who was not to be heard for so long has not interrupted anything. */
const phantomMs = 3000;
/** Who has said something has stopped after so much silence. */
const pauseMs = 500;
/** The most text of one utterance, in characters. */
const maxTextLength = 32_768;

/**
 * `idle`: no turn of the model is open. `making`: it makes one. `playing`: it has made one, and waits until it would have been heard.
 * `stopping`: it was interrupted, and has not ended its turn.
 */
type State = 'idle' | 'making' | 'playing' | 'stopping';

/** Who is told, and of what. */
export interface GeminiTurnsOptions {
  readonly clock: Pick<Clock, 'after'>;
  readonly sound: CallerSound;
  readonly emit: (event: ModelEvent) => void;
  /** A turn of the model is over, and none is open. */
  readonly onIdle: () => void;
}

/**
 * The turns of a session. The API numbers nothing: a response is what comes until the model has made it, and gets its id here. It
 * says nothing of the caller's speech either but that an answer was interrupted, and, late, the words. So who speaks when no
 * answer is being made is known by the words, and that somebody has stopped by words and silence.
 */
export class GeminiTurns {
  readonly #options: GeminiTurnsOptions;
  #state: State = 'idle';
  #count = 0;
  #isCancelled = false;
  /** Whether the end of the response was told, although its turn goes on: it waits for tools. */
  #isTold = false;
  #hasSpoken = false;
  #said = '';
  #heard = '';
  #heardCount = 0;
  #stopping: Timer | undefined;
  /** Of the caller's present turn: what was told of it, and whether there were words. */
  #caller = { isStarted: false, isStopped: false, hasWords: false };
  /** Whether a text was sent, which interrupts as a voice does. */
  #hasTexted = false;

  constructor(options: GeminiTurnsOptions) {
    this.#options = options;
  }

  /** Whether a turn of the model is open. */
  get isOpen(): boolean {
    return this.#state !== 'idle';
  }

  /** The turn that is open, or was last. */
  get responseId(): string {
    return `turn-${this.#count}`;
  }

  /** What still comes of the answer that is being made is dropped: the API cannot be told to stop. */
  cancel(): void {
    this.#isCancelled ||= this.#state === 'making';
  }

  /** Notes that audio of the caller was sent. */
  heard(): void {
    const { hasWords, isStopped } = this.#caller;
    const { emit, sound } = this.#options;
    if (!hasWords || isStopped || sound.quietMs < pauseMs) return;
    this.#caller.isStopped = true;
    emit({ kind: 'speechStopped', atMs: sound.sentMs - sound.quietMs });
    this.#tellHeard();
  }

  /** Notes that a text was sent. */
  texted(): void {
    this.#hasTexted = true;
  }

  /** It asks for tools. */
  called(tell: (responseId: string) => void): void {
    if (this.#state === 'idle') this.#begin();
    tell(this.responseId);
    // Nothing more is due before their results, whether the turn ends here or waits for them.
    this.#tellEnd('completed');
  }

  /** It has the results of all tools: another response is due, also within the same turn. */
  answering(): void {
    if (this.#state !== 'making' || !this.#isTold) return;
    this.#made('completed');
    this.#begin();
  }

  /** It does not want the results of tools any more: the caller speaks. */
  tookBack(): void {
    this.#speechStarted();
  }

  /** Takes what a message says of the conversation. `audio`: of the model. */
  take(content: GeminiContent, audio: readonly Uint8Array[]): void {
    const { generationComplete, inputTranscription, interrupted, outputTranscription, turnComplete } =
      content;
    if (inputTranscription !== undefined) this.#hear(inputTranscription.text ?? '');
    for (const piece of audio) this.#speak(piece);
    if (outputTranscription?.text !== undefined) this.#say(outputTranscription.text);
    if (interrupted) this.#interrupted();
    if (generationComplete) this.#made('completed');
    if (turnComplete) this.#over();
  }

  /** No timer is left. */
  close(): void {
    this.#stopping?.stop();
  }

  #begin(): void {
    this.#state = 'making';
    this.#count += 1;
    this.#isCancelled = false;
    this.#isTold = false;
    this.#hasSpoken = false;
    this.#hasTexted = false;
    this.#caller = { isStarted: false, isStopped: false, hasWords: false };
    this.#tellHeard();
    this.#options.emit({ kind: 'responseStarted', responseId: this.responseId });
  }

  #hear(text: string): void {
    const { emit } = this.#options;
    if (text === '') return;
    this.#heard = (this.#heard + text).slice(0, maxTextLength);
    emit({ kind: 'heard', itemId: this.#heardId, text, isWhole: false });
    // Words of before may come late, in the middle of the answer to them.
    if (this.#state === 'making' || this.#state === 'playing') return;
    this.#caller.hasWords = true;
    this.#caller.isStopped = false;
    if (!this.#caller.isStarted) this.#speechStarted();
  }

  #speechStarted(): void {
    const { emit, sound } = this.#options;
    this.#caller.isStarted = true;
    emit({ kind: 'speechStarted', atMs: sound.sentMs });
  }

  #speak(audio: Uint8Array): void {
    if (this.#state === 'idle') this.#begin();
    // What comes behind an answer's end is not of the next one.
    if (this.#state !== 'making' || this.#isCancelled) return;
    this.#hasSpoken = true;
    this.#options.emit({ kind: 'audio', responseId: this.responseId, part: this.#part, audio });
  }

  #say(text: string): void {
    // Words alone begin no answer: they may be late, and of the last one.
    this.#said = (this.#said + text).slice(0, maxTextLength);
    if (this.#state !== 'making' || this.#isCancelled) return;
    this.#options.emit({ kind: 'said', responseId: this.responseId, part: this.#part, text, isWhole: false });
  }

  #interrupted(): void {
    const { emit, sound } = this.#options;
    const isPhantom = sound.quietMs > phantomMs && !this.#hasTexted;
    this.#hasTexted = false;
    if (isPhantom)
      emit({
        kind: 'warned',
        code: 'phantom_interruption',
        message: 'The model was interrupted, although nobody spoke.',
      });
    else this.#speechStarted();
    if (this.#state === 'making') this.#made(isPhantom ? 'incomplete' : 'cancelled');
    if (this.#state === 'idle') return;
    this.#state = 'stopping';
    this.#stopping?.stop();
    this.#stopping = this.#options.clock.after(maxStoppingMs, () => this.#over());
  }

  /** No more is made. The turn itself ends when it would have been heard, which may be a minute later. */
  #made(state: ResponseState): void {
    if (this.#state !== 'making') return;
    const { responseId } = this;
    if (this.#hasSpoken) this.#options.emit({ kind: 'audioEnded', responseId, part: this.#part });
    this.#state = 'playing';
    this.#tellEnd(state);
  }

  #tellEnd(state: ResponseState): void {
    if (this.#isTold) return;
    this.#isTold = true;
    const { responseId } = this;
    this.#options.emit({
      kind: 'responseEnded',
      responseId,
      state: this.#isCancelled ? 'cancelled' : state,
      usage: undefined,
    });
  }

  #over(): void {
    this.#stopping?.stop();
    this.#made('completed');
    this.#state = 'idle';
    this.#tellHeard();
    if (this.#said !== '') {
      const { responseId } = this;
      this.#options.emit({
        kind: 'said',
        responseId,
        part: this.#part,
        text: this.#said.trim(),
        isWhole: true,
      });
    }
    this.#said = '';
    this.#options.onIdle();
  }

  #tellHeard(): void {
    const text = this.#heard.trim();
    this.#heard = '';
    if (text === '') return;
    this.#options.emit({ kind: 'heard', itemId: this.#heardId, text, isWhole: true });
    this.#heardCount += 1;
  }

  get #heardId(): string {
    return `heard-${this.#heardCount}`;
  }

  get #part(): SpokenPart {
    return { itemId: `said-${this.#count}`, contentIndex: 0 };
  }
}
