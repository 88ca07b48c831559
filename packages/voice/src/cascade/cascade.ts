import { type AudioFormat, type SpokenPart, telephoneAudio } from '@spillway/core/audio';
import { type Clock, systemClock, type Timer } from '@spillway/core/clock';
import type { ModelEvent, ModelLeg, ModelUsage, ResponseState } from '../model/model-leg.ts';
import { type CascadeOptions, checkCascadeOptions } from './cascade-options.ts';
import { EarAppetite } from './ear-appetite.ts';
import { Memory } from './memory.ts';
import type { AskedTool } from './reasoner.ts';
import type { RecogniserEvent } from './recogniser.ts';
import { SentenceSplitter } from './sentences/sentence-splitter.ts';
import { SpeakableText } from './speakable/speakable.ts';
import type { Pace } from './sentence-voice.ts';
import { SpokenAnswer } from './spoken-answer.ts';
import type { StageFigures } from './stage-figures.ts';
import { StageGauge } from './stage-gauge.ts';
import { Utterances, type UtteranceWords } from './utterances.ts';

/** How long a character takes to be spoken, where nothing is known of the speaker yet: 15 of them a second. */
const usualMsPerCharacter = 65;
/** How long the recogniser may take to be ready: less than a call waits for its model, so that it is known who was late. */
const maxReadyMs = 9000;
/** What a model of text is told of words that nobody has understood. */
const notUnderstood = '(The caller said something that was not understood.)';
/** The most calls of tools that are open. */
const maxOpenCalls = 64;

/** An answer that was asked for. `instructions`: for this one alone. */
interface Wish {
  readonly instructions: string | undefined;
}

class Cascade implements ModelLeg {
  readonly api = 'cascade';
  readonly input: AudioFormat;
  readonly output: AudioFormat;
  readonly answersItself: boolean;
  /** All that comes is heard at once; what waits for the recogniser is in `stages`. */
  readonly bufferedMs = 0;
  readonly unconfirmedMs = 0;
  readonly #options: CascadeOptions;
  readonly #clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly #utterances: Utterances;
  readonly #memory: Memory;
  readonly #appetite: EarAppetite;
  readonly #gauges: Readonly<Record<'reason' | 'recognise' | 'speak', StageGauge>>;
  readonly #pace: Pace = { msPerCharacter: usualMsPerCharacter };
  readonly #openCalls = new Set<string>();
  #listener: ((event: ModelEvent) => void) | undefined;
  #isOver = false;
  #isReady = false;
  #answer: SpokenAnswer | undefined;
  #answers = 0;
  #readyTimer: Timer | undefined;
  /** Whether the recogniser has failed to understand the utterance whose words come next. */
  #hasFailed = false;
  #heardCount = 0;
  /** What is to be made as soon as nobody speaks, all words are there, and no other answer is made. */
  #wish: Wish | undefined;
  /** What the human has said and has no answer yet, in milliseconds. */
  #unansweredMs = 0;

  constructor(options: CascadeOptions) {
    checkCascadeOptions(options);
    const { clock = systemClock, format = telephoneAudio, reasoner, recogniser, speaker } = options;
    this.#options = options;
    this.#clock = clock;
    this.input = format;
    this.output = format;
    this.answersItself = options.answersItself ?? true;
    this.#memory = new Memory(options.past ?? []);
    this.#appetite = new EarAppetite(options.unheardMs ?? 800);
    this.#gauges = {
      recognise: new StageGauge('recognise', recogniser.api),
      reason: new StageGauge('reason', reasoner.api),
      speak: new StageGauge('speak', speaker.api),
    };
    this.#utterances = new Utterances({
      recogniser,
      format,
      clock,
      gauge: this.#gauges.recognise,
      silenceMs: options.silenceMs ?? 500,
      maxUtteranceMs: options.maxUtteranceMs ?? 30_000,
      timeoutMs: options.recogniseTimeoutMs ?? 10_000,
      onStarted: (atMs) => this.#emit({ kind: 'speechStarted', atMs }),
      onStopped: (atMs) => this.#stopped(atMs),
      onWords: (words) => this.#heard(words),
      onGap: (gap) => this.#emit({ kind: 'gap', ...gap }),
      onLate: (timeoutMs) => this.#fail('late', `The recogniser had no words after ${timeoutMs} ms.`),
    });
  }

  get stages(): readonly StageFigures[] {
    const { reason, recognise, speak } = this.#gauges;
    return [
      recognise.figures(this.#utterances.depthMs),
      reason.figures(this.#unansweredMs),
      speak.figures(this.#answer?.waitingMs ?? 0),
    ];
  }

  listen(listener: (event: ModelEvent) => void): void {
    this.#listener = listener;
    this.#readyTimer = this.#clock.after(maxReadyMs, () =>
      this.#fail('late', `The recogniser was not ready after ${maxReadyMs} ms.`),
    );
    this.#options.recogniser.listen((event) => this.#recogniserSays(event));
  }

  send(audio: Uint8Array): void {
    if (!this.#isOver && this.#isReady) this.#utterances.hear(audio);
  }

  cancel(): void {
    this.#wish = undefined;
    this.#answer?.stop();
  }

  truncate({ itemId }: SpokenPart, heardMs: number): void {
    this.#memory.cut(itemId, heardMs);
  }

  remove(itemId: string): void {
    this.#memory.cut(itemId, 0);
  }

  respond(instructions?: string): void {
    if (this.#isOver || !this.#isReady) return;
    this.#wish = { instructions: instructions ?? this.#wish?.instructions };
    this.#grant();
  }

  tell(text: string): void {
    this.#memory.heard(text);
  }

  giveResult(callId: string, output: string): void {
    this.#memory.result(callId, output);
    this.#openCalls.delete(callId);
    // An answer may ask for several tools: the next one is to know all results.
    if (this.#openCalls.size === 0) this.respond();
  }

  unheard(ms: number): void {
    this.#appetite.unheard(ms);
  }

  close(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#readyTimer?.stop();
    this.#answer?.stop();
    this.#utterances.close();
    this.#options.recogniser.close();
    this.#options.speaker.close();
  }

  #recogniserSays(event: RecogniserEvent): void {
    if (this.#isOver) return;
    switch (event.kind) {
      case 'ready':
        if (this.#isReady) break;
        this.#isReady = true;
        this.#readyTimer?.stop();
        this.#emit(event);
        break;
      case 'partial':
        // Words that may change are nobody's business but a screen's.
        break;
      case 'final':
        this.#utterances.words(event.text, this.#hasFailed);
        this.#hasFailed = false;
        break;
      case 'drained':
        this.#utterances.drain();
        break;
      case 'warned':
        this.#hasFailed = true;
        this.#gauges.recognise.errors += 1;
        this.#emit({ kind: 'stageFailed', stage: 'recognise', code: event.code });
        this.#emit(event);
        break;
      case 'ended':
        this.#fail(event.code, event.message.replace(/^It /, 'The recogniser '));
        break;
    }
  }

  #stopped(atMs: number): void {
    if (this.answersItself) this.#wish ??= { instructions: undefined };
    this.#emit({ kind: 'speechStopped', atMs });
  }

  #heard({ isLost, ms, text, waitedMs }: UtteranceWords): void {
    if (isLost) {
      // Somebody waits for an answer: the model asks again.
      this.#memory.heard(notUnderstood);
    } else this.#emit({ kind: 'stageResult', stage: 'recognise', waitedMs });
    if (text !== '') {
      this.#unansweredMs += ms;
      this.#memory.heard(text);
      this.#emit({ kind: 'heard', itemId: `heard-${(this.#heardCount += 1)}`, text, isWhole: true });
    }
    if (this.#utterances.isAwaited || this.#utterances.isOpen) return;
    // A noise, into an answer or into silence: there is nothing to answer.
    if (text === '' && !this.#memory.isOwed && this.#wish?.instructions === undefined) {
      this.#wish = undefined;
      this.#emit({ kind: 'nothingHeard' });
    } else this.#grant();
  }

  /** Begins the answer that is wished for, if nothing stands in front of it. */
  #grant(): void {
    const wish = this.#wish;
    if (wish === undefined || this.#answer !== undefined || this.#isOver) return;
    if (this.#utterances.isOpen || this.#utterances.isAwaited) return;
    this.#wish = undefined;
    this.#begin(wish);
  }

  #begin({ instructions }: Wish): void {
    const id = `answer-${(this.#answers += 1)}`;
    const { language = 'en', reasoner, speaker, tools = [] } = this.#options;
    const system = [this.#options.instructions, instructions].flatMap((text) =>
      text === undefined ? [] : [{ role: 'system', text } as const],
    );
    this.#answer = new SpokenAnswer({
      id,
      messages: [...system.slice(0, 1), ...this.#memory.messages, ...system.slice(1)],
      tools,
      reasoner,
      speaker,
      format: this.output,
      sentences: new SentenceSplitter({ language }),
      speakable: new SpeakableText({ language, level: this.#options.speakable ?? 'markdown' }),
      maxSentenceMs: this.#options.maxSentenceMs ?? 2000,
      reasonTimeoutMs: this.#options.reasonTimeoutMs ?? 10_000,
      speakTimeoutMs: this.#options.speakTimeoutMs ?? 5000,
      clock: this.#clock,
      memory: this.#memory,
      gauges: this.#gauges,
      pace: this.#pace,
      appetite: this.#appetite,
      onEvent: (event) => {
        if (event.kind === 'audio') this.#unansweredMs = 0;
        this.#emit(event);
      },
      onTool: (tool) => this.#asks(id, tool),
      onEnd: (state, usage) => this.#ended(id, state, usage),
      onFinal: ({ code, message }) => this.#end(code, message),
    });
    this.#emit({ kind: 'responseStarted', responseId: id });
    void this.#answer.run();
  }

  #asks(responseId: string, tool: AskedTool): void {
    if (this.#openCalls.size < maxOpenCalls) this.#openCalls.add(tool.callId);
    this.#memory.asks(responseId, tool);
    this.#emit({ kind: 'toolCalled', responseId, ...tool });
  }

  #ended(responseId: string, state: ResponseState, usage: ModelUsage | undefined): void {
    this.#answer = undefined;
    this.#emit({ kind: 'responseEnded', responseId, state, usage });
    this.#grant();
  }

  /** The recogniser does not go on. */
  #fail(code: string, message: string): void {
    if (this.#isOver) return;
    this.#gauges.recognise.errors += 1;
    this.#emit({ kind: 'stageFailed', stage: 'recognise', code });
    this.#end(code, message);
  }

  #end(code: string, message: string): void {
    if (this.#isOver) return;
    this.close();
    this.#listener?.({ kind: 'ended', code, message });
  }

  #emit(event: ModelEvent): void {
    if (!this.#isOver) this.#listener?.(event);
  }
}

/**
 * A model made of three: one that makes words of what the human says, one that answers in text, and one that speaks. What it makes is
 * bounded by the ear: the first sentence is spoken at once, and each other one when less than `unheardMs` is left to play, as the call
 * says by `unheard`. So an interruption throws away at most one sentence and `unheardMs` of speech. The model of text is told what was
 * heard of its answers: to the word where the speaker tells when each word is spoken.
 *
 * Speech is found in the audio by its level, with 300 ms in front of it; the recogniser gets nothing else. When the human speaks again
 * before the words of the last utterance are there, both are answered together: what was said long ago has no answer of its own.
 *
 * `ended` has the code of what the recogniser ended with, or `late`; or of a model of text or a speaker that will not work however often it
 * is asked: `unauthorized`, `refused` (it is not there) or `rate_limited` (no money is left). Another failure of these ends the response
 * as `failed`, with `warned` before it; a speaker that made nothing of a sentence is asked once more. When a recogniser has failed to
 * understand an utterance, the model is told so, and asks again. An answer with nothing to be spoken is `warned` with `empty_answer`.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const model = openCascade({
 *   recogniser: openOpenAiTranscription({ model: 'gpt-4o-mini-transcribe', apiKey }),
 *   reasoner: openOpenAiChat({ model: 'gpt-5-mini', apiKey }),
 *   speaker: openOpenAiSpeech({ model: 'gpt-4o-mini-tts', voice: 'marin', apiKey }),
 *   instructions: 'You answer the telephone of a library. Be short.',
 * });
 * const call = openCall({ carrier, model, greeting: 'Greet the caller.' });
 * ```
 */
export function openCascade(options: CascadeOptions): ModelLeg {
  return new Cascade(options);
}
