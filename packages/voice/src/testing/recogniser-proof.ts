import { bytesOfMs, bytesPerSample } from '@spillway/core/audio';
import { systemClock } from '@spillway/core/clock';
import type { Recogniser, RecogniserEvent } from '../cascade/recogniser.ts';
import type { KnownUtterance, RecogniserEngine } from './recogniser-engine.ts';

type EventOf<Kind extends RecogniserEvent['kind']> = Extract<RecogniserEvent, { readonly kind: Kind }>;

/** How often it is looked whether something has come. */
const lookMs = 2;

/** A recogniser, and what came of it: whatever comes is held against what holds for every event. */
export class ProvedRecogniser {
  readonly recogniser: Recogniser;
  readonly events: RecogniserEvent[] = [];
  /** Called with each event, within the listener. */
  onEvent: ((event: RecogniserEvent) => void) | undefined;
  readonly #engine: RecogniserEngine;
  readonly #deadlineMs: number;
  #isClosed = false;
  #broken: Error | undefined;

  constructor(engine: RecogniserEngine, recogniser: Recogniser, deadlineMs: number) {
    this.#engine = engine;
    this.#deadlineMs = deadlineMs;
    this.recogniser = recogniser;
  }

  listen(): void {
    this.recogniser.listen((event) => {
      this.#look(event);
      this.events.push(event);
      this.onEvent?.(event);
    });
  }

  /** Listens, and resolves when it takes audio. */
  async ready(): Promise<this> {
    this.listen();
    await this.until(() => this.of('ready').length > 0, 'ready');
    return this;
  }

  of<Kind extends RecogniserEvent['kind']>(kind: Kind): EventOf<Kind>[] {
    return this.events.filter((event): event is EventOf<Kind> => event.kind === kind);
  }

  /** Sends audio in pieces of so many bytes; default: of 20 ms. */
  send(audio: Uint8Array, pieceBytes?: () => number): void {
    const { input } = this.recogniser;
    for (let at = 0; at < audio.byteLength;) {
      const bytes = pieceBytes?.() ?? bytesOfMs(input, 20);
      this.recogniser.send(audio.subarray(at, at + bytes));
      this.expectPressure();
      at += bytes;
    }
  }

  /** Says an utterance. */
  say({ audio }: KnownUtterance): void {
    this.send(audio);
    this.recogniser.finish();
  }

  /** Resolves with the n-th final. */
  async final(count: number): Promise<EventOf<'final'>> {
    await this.until(() => this.of('final').length >= count, `final ${count}`);
    const final = this.of('final')[count - 1];
    if (final === undefined) throw new TypeError('final');
    return final;
  }

  /** Resolves when something is so. Rejects when it is late, or when what came breaks what holds always. */
  async until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
    const endMs = systemClock.nowMs() + this.#deadlineMs;
    for (;;) {
      this.expectSound();
      if (await isSo()) return;
      if (systemClock.nowMs() > endMs)
        throw new Error(`expected ${what} within ${this.#deadlineMs} ms, got ${this.#shown()}`);
      await pause(lookMs);
    }
  }

  /** Throws if an event broke a rule. */
  expectSound(): void {
    if (this.#broken !== undefined) throw this.#broken;
  }

  expectPressure(): void {
    const { bufferedMs, unconfirmedMs } = this.recogniser;
    if (!(bufferedMs >= 0 && bufferedMs <= unconfirmedMs && Number.isFinite(unconfirmedMs)))
      this.#break(`expected 0 ≤ bufferedMs ≤ unconfirmedMs, got ${bufferedMs} and ${unconfirmedMs}`);
  }

  close(): void {
    this.#isClosed = true;
    this.recogniser.close();
  }

  /** What holds for every event. */
  #look(event: RecogniserEvent): void {
    const { kind } = event;
    this.expectPressure();
    if (this.#isClosed) this.#break(`expected nothing after close, got ${kind}`);
    if (this.of('ended').length > 0) this.#break(`expected nothing after ended, got ${kind}`);
    const isReady = this.of('ready').length > 0;
    if (isReady === (kind === 'ready') && kind !== 'ended')
      this.#break(`expected ready once and first, got ${kind}`);
    if (kind === 'final') this.#lookAtWords(event);
    if (kind === 'ended' || kind === 'warned') this.#lookAtMessage(event);
  }

  #lookAtWords({ text, words }: EventOf<'final'>): void {
    let lastMs = 0;
    for (const { fromMs, text: word, toMs } of words) {
      if (!(fromMs >= lastMs - 1 && toMs >= fromMs) || word === '')
        this.#break(`expected words in order, got one from ${fromMs} to ${toMs} ms after ${lastMs} ms`);
      lastMs = fromMs;
    }
    const joined = words.map((word) => word.text).join(' ');
    if (words.length > 0 && plain(joined) !== plain(text))
      this.#break('expected the words of a final to be its text, got others');
  }

  #lookAtMessage({ code, message }: EventOf<'ended' | 'warned'>): void {
    const { secret, utterances } = this.#engine;
    if (code === '' || message === '') this.#break('expected a code and a message, got an empty one');
    for (const hidden of [secret ?? '', ...utterances.map(({ text }) => text)])
      if (hidden !== '' && `${code} ${message}`.includes(hidden))
        this.#break('expected a message without the key and the words of the call, got one with them');
  }

  #break(message: string): void {
    this.#broken ??= new Error(message);
  }

  #shown(): string {
    return this.events
      .map((event) => ('code' in event ? `${event.kind} ${event.code}` : event.kind))
      .filter((kind) => kind !== 'drained')
      .slice(-20)
      .join(', ');
  }
}

/** One check: its engine, and the recognisers that it has opened. */
export class RecogniserProof {
  readonly engine: RecogniserEngine;
  readonly #deadlineMs: number;
  readonly #opened: ProvedRecogniser[] = [];
  #random: number;

  constructor(engine: RecogniserEngine, seed: number, deadlineMs: number) {
    this.engine = engine;
    this.#deadlineMs = deadlineMs;
    this.#random = seed;
  }

  open(options?: { readonly isImpatient?: boolean }): ProvedRecogniser {
    return this.proved(this.engine.open(options));
  }

  proved(recogniser: Recogniser): ProvedRecogniser {
    const one = new ProvedRecogniser(this.engine, recogniser, this.#deadlineMs);
    this.#opened.push(one);
    return one;
  }

  /** Sizes of pieces, of whole samples up to 60 ms. */
  pieces({ input }: Recogniser): () => number {
    const most = bytesOfMs(input, 60) / bytesPerSample(input);
    return () => (1 + Math.floor(this.random() * most)) * bytesPerSample(input);
  }

  /** A number from 0 to less than 1. */
  random(): number {
    // A linear congruential generator with the numbers of Knuth's MMIX, on 32 bits.
    this.#random = (Math.imul(this.#random, 1_664_525) + 1_013_904_223) >>> 0;
    return this.#random / 2 ** 32;
  }

  async expectNothingOpen(): Promise<void> {
    const { engine } = this;
    const endMs = systemClock.nowMs() + this.#deadlineMs;
    for (;;) {
      const count = (await engine.openCount?.()) ?? 0;
      if (count === 0) return;
      if (systemClock.nowMs() > endMs)
        throw new Error(`connections, requests and processes: expected 0, got ${count}`);
      await pause(lookMs);
    }
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

/** Words without capitals and punctuation. */
export function plain(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}' ]/gu, '')
    .trim();
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    systemClock.after(ms, resolve);
  });
}
