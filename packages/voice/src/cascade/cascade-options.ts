import { type AudioFormat, checkAudioFormat } from '@spillway/core/audio';
import type { Clock } from '@spillway/core/clock';
import { invalid } from '@spillway/core/invalid';
import type { Utterance } from '../call/conversation.ts';
import type { ModelTool } from '../model/model-tool.ts';
import type { Reasoner } from './reasoner.ts';
import type { Recogniser } from './recogniser.ts';
import type { Speaker } from './speaker.ts';

/** What a cascade is made of. */
export interface CascadeOptions {
  /** Makes words of what the human says. The cascade's own from now on: it is closed with it. */
  readonly recogniser: Recogniser;
  /** Makes an answer to them. */
  readonly reasoner: Reasoner;
  /** Makes speech of the answer, sentence by sentence. The cascade's own from now on. */
  readonly speaker: Speaker;
  /** The format of the call. Default: `telephoneAudio`. */
  readonly format?: AudioFormat;
  /** What the model is to know and to do. Default: nothing. */
  readonly instructions?: string;
  /** What the model may ask for. Default: nothing. */
  readonly tools?: readonly ModelTool[];
  /** What was said before, in a session that is over. */
  readonly past?: readonly Utterance[];
  /** The language that is spoken, as `en` or `en-US`, by which sentences are found. Default: `en`. */
  readonly language?: string;
  /**
   * How an answer is made ready to be spoken. `markdown`: its marks, addresses and code are left out. `words`: numbers, money, dates, units
   * and abbreviations of English are words, too, for a speaker that does not read them itself, as Flite. Default: `markdown`.
   */
  readonly speakable?: 'markdown' | 'words';
  /** Whether it answers by itself when the human has stopped speaking. Default: true. */
  readonly answersItself?: boolean;
  /**
   * The next sentence is made when the ear has less than this to play, as it has confirmed: 0 to 60,000 ms. 0 waits until it has played
   * the one before. More is paid for and thrown away when the human interrupts; with less than a speaker takes for its first audio the
   * ear has pauses. Default: 800.
   */
  readonly unheardMs?: number;
  /** Silence that ends what the human says: 100 to 5,000 ms. Default: 500. */
  readonly silenceMs?: number;
  /** What the human says without a pause is given to the recogniser in pieces of this length: 1,000 to 60,000 ms. Default: 30,000. */
  readonly maxUtteranceMs?: number;
  /** How long text may wait for the end of its sentence while the ear has nothing to play: 100 to 60,000 ms. Default: 2,000. */
  readonly maxSentenceMs?: number;
  /** How long the words of what the human said may take: 100 to 600,000 ms. Default: 10,000. */
  readonly recogniseTimeoutMs?: number;
  /** How long nothing may come of the model of text, while it is read: 100 to 600,000 ms. Default: 10,000. */
  readonly reasonTimeoutMs?: number;
  /** How long nothing may come of a sentence that is to be spoken: 100 to 600,000 ms. Default: 5,000. */
  readonly speakTimeoutMs?: number;
  /** Time; default: the system's. */
  readonly clock?: Pick<Clock, 'after' | 'nowMs'>;
}

const ranges = [
  ['unheardMs', 0, 60_000],
  ['silenceMs', 100, 5000],
  ['maxUtteranceMs', 1000, 60_000],
  ['maxSentenceMs', 100, 60_000],
  ['recogniseTimeoutMs', 100, 600_000],
  ['reasonTimeoutMs', 100, 600_000],
  ['speakTimeoutMs', 100, 600_000],
] as const;

/** @throws {SpillwayError} `invalid_option` */
export function checkCascadeOptions(options: CascadeOptions): void {
  if (options.format !== undefined) checkAudioFormat(options.format);
  for (const [name, min, max] of ranges) {
    const value = options[name];
    if (value === undefined || (value >= min && value <= max)) continue;
    const bounds = [min, max].map((each) => each.toLocaleString('en')).join(' to ');
    throw invalid(`${name}: expected ${bounds} milliseconds, got ${value}.`);
  }
}
