import { msOfBytes, type AudioFormat, type SpokenPart } from '@spillway/core/audio';
import { setBounded } from './set-bounded.ts';

/** A response that the model makes or has made, and what came of it. */
interface Response {
  /** Its audio is dropped: the human spoke into it, or it was too long. */
  isDropped: boolean;
  isOver: boolean;
  hasAudio: boolean;
}

/** Responses and parts that are kept in mind. A model makes one response at a time, of a few parts each; a wild one has hundreds. */
const maxKept = 1024;

/**
 * Which of the model's audio is still wanted, and how much came of each part. A response that was dropped goes on for a
 * while at the model: what comes of it is dropped by its id.
 */
export class Answers {
  readonly #format: AudioFormat;
  readonly #responses = new Map<string, Response>();
  readonly #bytes = new Map<string, number>();
  /** The part that came last, if there may be more of it. */
  #openPart: SpokenPart | undefined;

  constructor(format: AudioFormat) {
    this.#format = format;
  }

  /** Whether the model is at work on a response that is wanted. */
  get isResponding(): boolean {
    return [...this.#responses.values()].some(({ isDropped, isOver }) => !isOver && !isDropped);
  }

  /** The part that came last, if its end was not told. */
  get openPart(): SpokenPart | undefined {
    return this.#openPart;
  }

  /** Whether a part came from these answers. */
  knows(part: SpokenPart): boolean {
    return this.#bytes.has(keyOf(part));
  }

  /** A response begins; also one whose id was there before. */
  started(responseId: string): void {
    const response = this.#of(responseId);
    if (response.isOver)
      setBounded(this.#responses, responseId, { isDropped: false, isOver: false, hasAudio: false }, maxKept);
  }

  /** A response has ended. Returns whether any audio came of it. */
  ended(responseId: string): boolean {
    const response = this.#of(responseId);
    response.isOver = true;
    return response.hasAudio;
  }

  /** Notes that audio came. Returns whether it is wanted. */
  came(responseId: string, part: SpokenPart, bytes: number): boolean {
    const key = keyOf(part);
    setBounded(this.#bytes, key, (this.#bytes.get(key) ?? 0) + bytes, maxKept);
    this.#openPart = part;
    const response = this.#of(responseId);
    response.hasAudio = true;
    return !response.isDropped;
  }

  /** A part has ended. */
  partEnded(): void {
    this.#openPart = undefined;
  }

  /** Whether what comes of a response is wanted. */
  isWanted(responseId: string): boolean {
    return !this.#of(responseId).isDropped;
  }

  /** What comes from now on of the responses that are not over is dropped. */
  dropAll(): void {
    for (const response of this.#responses.values()) if (!response.isOver) response.isDropped = true;
  }

  /** How much came of a part, in milliseconds. */
  cameMs(part: SpokenPart): number {
    return msOfBytes(this.#format, this.#bytes.get(keyOf(part)) ?? 0);
  }

  #of(responseId: string): Response {
    const known = this.#responses.get(responseId);
    if (known !== undefined) return known;
    const response = { isDropped: false, isOver: false, hasAudio: false };
    setBounded(this.#responses, responseId, response, maxKept);
    return response;
  }
}

function keyOf({ contentIndex, itemId }: SpokenPart): string {
  return `${contentIndex}:${itemId}`;
}
