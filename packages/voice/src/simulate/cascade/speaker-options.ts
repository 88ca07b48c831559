import type { Clock } from '@spillway/core/clock';
import { expectWhole, invalid } from '@spillway/core/invalid';
import type { Speech } from '../speech.ts';

/** What goes wrong. Changes hold for what comes from then on. */
export interface SimulatedSpeakerFaults {
  /** Nothing comes after so many pieces of 200 ms, while this is set: 0 to 10,000. Default: never. */
  readonly stallAfter?: number;
  /** The connection is cut after so many pieces, without an end: 0 to 10,000. Default: never. */
  readonly cutAfter?: number;
  /** New requests and connections are refused with HTTP status 429, and `Retry-After` of so many seconds: 0 to 3,600. Default: none. */
  readonly rateLimitedS?: number;
  /** New requests and connections are answered with this HTTP status: 400 to 599. Default: none. */
  readonly status?: number;
}

/** How simulated speakers behave. */
export interface SimulatedSpeakerOptions {
  /** Texts that are spoken as real speech. Default: those of the clips that come with this package. Others are tones. */
  readonly speeches?: readonly Speech[];
  /** The key that clients have to have. Default: none is asked for. */
  readonly apiKey?: string;
  /** How long a character of a text without speech sounds, in milliseconds: 1 to 10,000. Default: 65. */
  readonly msPerCharacter?: number;
  /** How long it takes to the first piece, in milliseconds: 0 to 3,600,000. Default: 0. */
  readonly delayMs?: number;
  /** So many times as fast as it sounds it is made: 0.01 to 1,000. Default: as fast as it is taken. */
  readonly speed?: number;
  /** What goes wrong. Default: nothing. */
  readonly faults?: SimulatedSpeakerFaults;
  /** Time; default: the system's. */
  readonly clock?: Pick<Clock, 'after'>;
}

/** A text that a simulated speaker was asked for. Its characters are paid for, whether they were heard or not. */
export interface AskedSpeech {
  readonly api: 'elevenlabs' | 'openai-speech';
  readonly text: string;
  /** How long all of it is, in milliseconds. */
  readonly audioMs: number;
  /** How much of it was sent. */
  sentMs: number;
  /** `open`: it is being spoken. `aborted`: the client did not want the rest. `cut`: a fault ended it. */
  state: 'aborted' | 'cut' | 'open' | 'spoken';
}

/**
 * Checks what came from outside.
 *
 * @throws {SpillwayError} `invalid_option`
 */
export function checkSpeakerOptions(options: SimulatedSpeakerOptions): void {
  const { delayMs = 0, faults = {}, msPerCharacter = 65, speed = 1 } = options;
  expectWhole('delayMs', delayMs, 0, 3_600_000);
  expectWhole('msPerCharacter', msPerCharacter, 1, 10_000);
  if (!(speed >= 0.01 && speed <= 1000)) throw invalid(`speed: expected 0.01 to 1000, got ${speed}.`);
  expectWhole('faults.stallAfter', faults.stallAfter ?? 0, 0, 10_000);
  expectWhole('faults.cutAfter', faults.cutAfter ?? 0, 0, 10_000);
  expectWhole('faults.rateLimitedS', faults.rateLimitedS ?? 0, 0, 3600);
  expectWhole('faults.status', faults.status ?? 400, 400, 599);
}
