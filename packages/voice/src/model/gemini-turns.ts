import type { SpokenPart } from '@spillway/core/audio';
import type { Clock, Timer } from '@spillway/core/clock';
import type { CallerSound } from './caller-sound.ts';
import type { GeminiContent } from './gemini-live-messages.ts';
import type { ModelEvent, ResponseState } from './model-leg.ts';
import { SentTexts } from './sent-texts.ts';

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
  readonly #texts: SentTexts;
  /** Whether an answer was asked for that has not begun. */
  #isDue = false;
  /** Whether that one is dropped when it comes. */
  #isDueCancelled = false;

  constructor(options: GeminiTurnsOptions) {
    this.#options = options;
    this.#texts = new SentTexts(options.sound);
  }

  /** Whether a turn of the model is open. */
  get isOpen(): boolean {
    return this.#state !== 'idle';
  }

  /** The turn that is open, or was last. */
  get responseId(): string {
    return `turn-${this.#count}`;
  }

  /** What still comes of the answer that is being made, or is due, is dropped: the API cannot be told to stop. */
  cancel(): void {
    this.#isCancelled ||= this.#state === 'making';
    this.#isDueCancelled ||= this.#isDue;
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
    this.#texts.sent();
    this.#isDue = true;
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
    this.#isDue = true;
    if (this.#state !== 'making' || !this.#isTold) return;
    this.#made('completed');
    this.#tellSaid();
    this.#begin();
  }

  /** It does not want the results of tools any more: the caller speaks. */
  tookBack(): void {
    this.#forgetDue();
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

  /** The session has ended: what was said and heard until then is told whole. */
  end(): void {
    this.close();
    this.#tellHeard();
    this.#tellSaid();
  }

  /** No timer is left. */
  close(): void {
    this.#stopping?.stop();
  }

  #begin(): void {
    this.#state = 'making';
    this.#count += 1;
    this.#isCancelled = this.#isDueCancelled;
    this.#forgetDue();
    this.#isTold = false;
    this.#hasSpoken = false;
    this.#texts.answered();
    this.#caller = { isStarted: false, isStopped: false, hasWords: false };
    this.#tellHeard();
    this.#options.emit({ kind: 'responseStarted', responseId: this.responseId });
    // Words that came before the first audio.
    if (this.#said !== '') this.#emitSaid(this.#said, false);
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
    // The next answer may be to these words.
    this.#forgetDue();
    if (!this.#caller.isStarted) this.#speechStarted();
  }

  #forgetDue(): void {
    this.#isDue = false;
    this.#isDueCancelled = false;
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
    // The ear has nothing of what these words belong to.
    if (this.#isCancelled && this.#state !== 'idle') return;
    const kept = text.slice(0, maxTextLength - this.#said.length);
    if (kept === '') return;
    this.#said += kept;
    // Words alone begin no answer: they may be late, and of the last one.
    if (this.#state !== 'idle') this.#emitSaid(kept, false);
  }

  #interrupted(): void {
    const { emit, sound } = this.#options;
    const isOfText = this.#texts.interrupted();
    const isPhantom = sound.quietMs > phantomMs && !isOfText;
    // What was due is not made. Who is told of this may cancel, and does not mean the answer to it.
    this.#forgetDue();
    if (isPhantom)
      emit({
        kind: 'warned',
        code: 'phantom_interruption',
        message: 'The model was interrupted, although nobody spoke.',
      });
    else this.#speechStarted();
    this.#isDue = isOfText;
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
    this.#tellSaid();
    this.#options.onIdle();
  }

  #tellSaid(): void {
    const text = this.#said.trim();
    this.#said = '';
    if (text !== '') this.#emitSaid(text, true);
  }

  #emitSaid(text: string, isWhole: boolean): void {
    this.#options.emit({ kind: 'said', responseId: this.responseId, part: this.#part, text, isWhole });
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
