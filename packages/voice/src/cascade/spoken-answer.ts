import type { AudioFormat } from '@spillway/core/audio';
import { type Channel, openChannel, type Reader } from '@spillway/core';
import type { Clock } from '@spillway/core/clock';
import type { ModelEvent, ModelUsage, ResponseState } from '../model/model-leg.ts';
import type { ModelTool } from '../model/model-tool.ts';
import { Awaited } from './awaited.ts';
import type { Memory } from './memory.ts';
import type { AskedTool, Reasoner, ReasonMessage } from './reasoner.ts';
import { type Pace, SentenceVoice } from './sentence-voice.ts';
import type { SpeakableText } from './speakable/speakable.ts';
import type { Speaker } from './speaker.ts';
import { StageError } from './stage-error.ts';
import { isFinal } from './stage-request.ts';
import type { StageGauge } from './stage-gauge.ts';

/** Text that may wait to be spoken, in milliseconds of speech: some 200 characters. A longer sentence waits alone. */
const maxTextMs = 13_000;

/** Finds sentences in a text that comes bit by bit. */
export interface Sentences {
  /** Text that was not given, in characters. */
  readonly waiting: number;
  /** Those that are over now. */
  push(text: string): readonly string[];
  /** What has waited too long, to the end of a clause or a word. May give nothing. */
  flush(): readonly string[];
  /** The rest. */
  end(): readonly string[];
}

/** How often it is looked whether the ear has nothing any more, while a sentence has waited too long. */
const lookAgainMs = 100;

/** What the ear has to play. */
export interface Appetite {
  /** Whether that is so little that it may have another sentence. */
  readonly isHungry: boolean;
  /** Resolves when it is; rejects when it is aborted. */
  whenHungry(signal: AbortSignal): Promise<void>;
}

/** What an answer is made with. */
export interface SpokenAnswerOptions {
  readonly id: string;
  readonly messages: readonly ReasonMessage[];
  readonly tools: readonly ModelTool[];
  readonly reasoner: Reasoner;
  readonly speaker: Speaker;
  readonly format: AudioFormat;
  readonly sentences: Sentences;
  readonly speakable: SpeakableText;
  readonly appetite: Appetite;
  /** How long text that is no whole sentence waits while nothing else is to be heard. */
  readonly maxSentenceMs: number;
  /** How long nothing may come of the model. */
  readonly reasonTimeoutMs: number;
  /** How long a speaker may take until some audio comes. */
  readonly speakTimeoutMs: number;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly memory: Memory;
  readonly gauges: { readonly reason: StageGauge; readonly speak: StageGauge };
  readonly pace: Pace;
  readonly onEvent: (event: ModelEvent) => void;
  readonly onTool: (tool: AskedTool) => void;
  /** A stage has failed in a way that stays. Told before the end. */
  readonly onFinal: (error: StageError) => void;
  /** It is over, and nothing follows of it. */
  readonly onEnd: (state: ResponseState, usage: ModelUsage | undefined) => void;
}

/**
 * One answer, on its way from the model of text to the ear: sentence by sentence, the first at once, and each other one when the ear
 * is hungry. While it is not, the speaker makes nothing, and the model is read no further than `maxTextMs`.
 */
export class SpokenAnswer {
  readonly #options: SpokenAnswerOptions;
  readonly #abort = new AbortController();
  readonly #texts: Channel<string>;
  readonly #waiting: Reader<string>;
  readonly #voice: SentenceVoice;
  #usage: ModelUsage | undefined;
  #hasTools = false;

  constructor(options: SpokenAnswerOptions) {
    this.#options = options;
    const { gauges, pace } = options;
    const durationMs = (text: string): number => text.length * pace.msPerCharacter;
    this.#texts = openChannel<string>({ maxMs: maxTextMs, durationMs });
    this.#waiting = this.#texts.reader();
    this.#voice = new SentenceVoice({ ...options, gauge: gauges.speak, signal: this.#abort.signal });
  }

  /** Text that waits to be spoken, in milliseconds of speech. */
  get waitingMs(): number {
    return this.#waiting.waitingMs + this.#voice.unmadeMs;
  }

  /** Makes it. Never rejects. */
  async run(): Promise<void> {
    const { onEnd } = this.#options;
    const read = this.#read();
    try {
      await this.#speak();
      await read;
      if (!this.#voice.hasSpoken && !this.#hasTools)
        this.#options.onEvent({
          kind: 'warned',
          code: 'empty_answer',
          message: 'The model of text said nothing that can be spoken.',
        });
      onEnd('completed', this.#usage);
    } catch (error) {
      onEnd(this.#stopBecause(error), this.#usage);
    }
  }

  /** Makes no more of it. That it has ended is told later. */
  stop(): void {
    this.#abort.abort(new DOMException('The answer is not wanted.', 'AbortError'));
    this.#texts.cancel();
  }

  /** Ends both halves. Returns how the answer ended. */
  #stopBecause(error: unknown): ResponseState {
    const isCancelled = this.#abort.signal.aborted;
    const { gauges, onEvent } = this.#options;
    gauges.speak.droppedMs += this.#voice.unmadeMs;
    gauges.reason.droppedMs += this.#waiting.waitingMs;
    this.stop();
    if (isCancelled) return 'cancelled';
    const code = error instanceof StageError ? error.code : 'defect';
    onEvent({ kind: 'warned', code, message: error instanceof Error ? error.message : String(error) });
    if (error instanceof StageError && isFinal(error)) this.#options.onFinal(error);
    return 'failed';
  }

  /** Reads the model. Never rejects: what came before a failure is spoken, and then the failure is found. */
  async #read(): Promise<void> {
    try {
      await this.#reason();
      this.#texts.complete();
    } catch (error) {
      const { gauges, onEvent } = this.#options;
      if (!this.#abort.signal.aborted) {
        gauges.reason.errors += 1;
        onEvent({
          kind: 'stageFailed',
          stage: 'reason',
          code: error instanceof StageError ? error.code : 'defect',
        });
      }
      this.#texts.fail(error instanceof Error ? error : new Error(String(error)));
    }
  }

  async #reason(): Promise<void> {
    const {
      appetite,
      clock,
      gauges,
      maxSentenceMs,
      messages,
      onTool,
      reasoner,
      reasonTimeoutMs,
      sentences,
      tools,
    } = this.#options;
    const askedMs = clock.nowMs();
    const events = new Awaited(reasoner.answer(messages, { tools, signal: this.#abort.signal }), clock);
    let hasBegun = false;
    // When text that waits for the end of its sentence has waited too long.
    let dueMs = 0;
    // When it was last seen to be at work: while it is held back, it cannot show that.
    let lastMs = askedMs;
    try {
      for (;;) {
        const fromMs = clock.nowMs();
        const lateMs = lastMs + reasonTimeoutMs;
        const event = await events.next(
          Math.max(0, (sentences.waiting > 0 ? Math.min(dueMs, lateMs) : lateMs) - fromMs),
        );
        const nowMs = clock.nowMs();
        gauges.reason.busyMs += nowMs - fromMs;
        if (event === undefined) break;
        if (event === 'late' && nowMs >= lateMs)
          throw new StageError('late', `The model of text said nothing for ${reasonTimeoutMs} ms.`);
        if (event === 'late') {
          // While others are heard, a sentence has time.
          if (this.waitingMs === 0 && appetite.isHungry) await this.#write(sentences.flush());
          dueMs = nowMs + lookAgainMs;
          continue;
        }
        if (!hasBegun && event.kind !== 'used') {
          hasBegun = true;
          this.#begins(nowMs - askedMs);
        }
        if (event.kind === 'text') {
          const wasEmpty = sentences.waiting === 0;
          const whole = sentences.push(event.text);
          if (wasEmpty || whole.length > 0) dueMs = nowMs + maxSentenceMs;
          await this.#write(whole);
        } else if (event.kind === 'used') this.#usage = event.usage;
        else {
          this.#hasTools = true;
          onTool({ callId: event.callId, name: event.name, input: event.input });
        }
        lastMs = clock.nowMs();
      }
      await this.#write(sentences.end());
    } finally {
      events.close();
    }
  }

  #begins(waitedMs: number): void {
    const { gauges, onEvent } = this.#options;
    gauges.reason.waitedMs = waitedMs;
    onEvent({ kind: 'stageResult', stage: 'reason', waitedMs });
  }

  async #write(texts: readonly string[]): Promise<void> {
    const { gauges, pace } = this.#options;
    for (const text of texts) {
      if (text.trim() === '') continue;
      gauges.reason.doneMs += text.length * pace.msPerCharacter;
      await this.#texts.write(text, { signal: this.#abort.signal });
    }
  }

  async #speak(): Promise<void> {
    let isFirst = true;
    for await (const text of this.#waiting) {
      // The first sentence is for somebody who waits.
      if (!isFirst) await this.#options.appetite.whenHungry(this.#abort.signal);
      isFirst = false;
      await this.#voice.speak(text);
    }
  }
}
