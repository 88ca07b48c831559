import { bytesPerSample, msOfBytes } from '@spillway/core/audio';
import { systemClock } from '@spillway/core/clock';
import type { Speaker, SpokenEvent } from '../cascade/speaker.ts';
import { StageError, type StageErrorCode } from '../cascade/stage-error.ts';
import type { SpeakerEngine } from './speaker-engine.ts';

/** How often it is looked whether something is so. */
const lookMs = 2;

/** What came of a text. */
export interface Heard {
  readonly audio: Uint8Array;
  /** The words with times, and when each is over. */
  readonly words: readonly { readonly text: string; readonly toMs: number }[];
}

/** One check: its engine, and the speakers that it has opened. What comes is held against what holds for every text. */
export class SpeakerProof {
  readonly engine: SpeakerEngine;
  readonly #deadlineMs: number;
  readonly #opened: Speaker[] = [];
  #random: number;

  constructor(engine: SpeakerEngine, seed: number, deadlineMs: number) {
    this.engine = engine;
    this.#deadlineMs = deadlineMs;
    this.#random = seed;
  }

  open(options?: { readonly isImpatient?: boolean }): Speaker {
    return this.proved(this.engine.open(options));
  }

  proved(speaker: Speaker): Speaker {
    this.#opened.push(speaker);
    return speaker;
  }

  /** Begins to speak. */
  begin(
    speaker: Speaker,
    text: string,
    signal: AbortSignal = new AbortController().signal,
  ): AsyncIterator<SpokenEvent> {
    return speaker.speak(text, { signal })[Symbol.asyncIterator]();
  }

  /** What comes next; `undefined`: it is over. */
  async next(events: AsyncIterator<SpokenEvent>): Promise<SpokenEvent | undefined> {
    const result = await this.settled('what comes of a text', events.next());
    return result.done === true ? undefined : result.value;
  }

  /** The first audio of a text. */
  async audio(events: AsyncIterator<SpokenEvent>): Promise<Uint8Array> {
    for (;;) {
      const event = await this.next(events);
      if (event === undefined) throw new Error('expected audio, got the end');
      if (event.kind === 'audio') return event.audio;
    }
  }

  /** Speaks a text to its end. */
  async hear(speaker: Speaker, text: string): Promise<Heard> {
    return this.rest(speaker, text, this.begin(speaker, text));
  }

  async rest({ output }: Speaker, text: string, events: AsyncIterator<SpokenEvent>): Promise<Heard> {
    const pieces: Uint8Array[] = [];
    const words: { text: string; toMs: number }[] = [];
    let end = 0;
    for (let event = await this.next(events); event !== undefined; event = await this.next(events)) {
      if (event.kind === 'audio') {
        const { byteLength } = event.audio;
        if (byteLength === 0 || byteLength % bytesPerSample(output) !== 0)
          throw new Error(`expected whole samples, got ${byteLength} bytes`);
        pieces.push(event.audio);
      } else
        for (const word of event.words) {
          if (!(word.end > end && word.end <= text.length && word.toMs >= (words.at(-1)?.toMs ?? 0)))
            throw new Error(`expected words in order, got one up to ${word.end} at ${word.toMs} ms`);
          words.push({ text: text.slice(end, word.end).trim(), toMs: word.toMs });
          end = word.end;
        }
    }
    const audio = joined(pieces);
    const lastMs = words.at(-1)?.toMs ?? 0;
    if (lastMs > msOfBytes(output, audio.byteLength) + 2)
      throw new Error(`expected the last word within the audio, got one at ${lastMs} ms`);
    return { audio, words };
  }

  /** Speaks a text that has to fail, and resolves with why. */
  async failure(speaker: Speaker, text: string, signal?: AbortSignal): Promise<unknown> {
    return this.failureOf(this.begin(speaker, text, signal));
  }

  async failureOf(events: AsyncIterator<SpokenEvent>): Promise<unknown> {
    try {
      while ((await this.next(events)) !== undefined);
    } catch (error) {
      return error;
    }
    throw new Error('expected an error, got the end');
  }

  /** Throws if an error is none of a stage, has another code, or tells what it may not. */
  expectStageError(error: unknown, ...codes: readonly StageErrorCode[]): void {
    if (!(error instanceof StageError) || (codes.length > 0 && !codes.includes(error.code)))
      throw new Error(`expected a StageError ${codes.join(' or ')}, got ${String(error)}`, { cause: error });
    for (const hidden of [this.engine.secret ?? '', ...this.engine.texts])
      if (hidden !== '' && error.message.includes(hidden))
        throw new Error('expected a message without the key and the words of the call, got one with them');
  }

  /** A number from 0 to less than 1. */
  random(): number {
    // A linear congruential generator with the numbers of Knuth's MMIX, on 32 bits.
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#random / 2 ** 32;
  }

  /** Resolves or rejects as the promise does. Rejects when it is late. */
  async settled<Value>(what: string, promise: Promise<Value>): Promise<Value> {
    const late = Promise.withResolvers<never>();
    const timer = systemClock.after(this.#deadlineMs, () =>
      late.reject(new Error(`expected ${what} within ${this.#deadlineMs} ms, got nothing`)),
    );
    try {
      return await Promise.race([promise, late.promise]);
    } finally {
      timer.stop();
    }
  }

  /** Resolves when something is so. */
  async until(what: string, isSo: () => Promise<boolean> | boolean): Promise<void> {
    const endMs = systemClock.nowMs() + this.#deadlineMs;
    while (!(await isSo())) {
      if (systemClock.nowMs() > endMs) throw new Error(`expected ${what} within ${this.#deadlineMs} ms`);
      await pause(lookMs);
    }
  }

  async expectNothingOpen(): Promise<void> {
    await this.until(
      'no connection, request or process',
      async () => (await this.engine.openCount?.()) === 0,
    );
  }

  /** Closes what was opened, and removes the engine. */
  async end(): Promise<void> {
    try {
      await this.engine.heal?.();
      for (const one of this.#opened) one.close();
    } finally {
      await this.engine.remove?.();
    }
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    systemClock.after(ms, resolve);
  });
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { byteLength }) => sum + byteLength, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.byteLength;
  }
  return all;
}
