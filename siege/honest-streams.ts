import { setTimeout as sleep } from 'node:timers/promises';
import { quantile } from '../bench/programs.ts';
import { replyText } from '../packages/gateway/src/simulate/tokens.ts';
import { closeReaders, type ReaderKind, readers } from './honest-readers.ts';
import { keys } from './small-gateway.ts';
import { Watch, WrongTextError } from './watch.ts';

/** So many streams at all times. */
const streams = 20;
const tokensPerSecond = 20;
/**
 * From one second to fifteen. A stream with a second reader lasts longer than that reader waits when it is refused: a stream
 * is kept for a second after its end, and is rightly gone then.
 */
const [leastTokens, mostTokens] = [20, 300];
const leastTokensOfTwo = 220;
const retryMs = 100;
/** After so long without a first token, nobody waits any more. */
const giveUpMs = 10_000;
const maxProblems = 20;

/** Of milliseconds. */
export interface Spread {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** What honest readers got. */
export interface HonestReport {
  /** Streams that were read to their end. */
  readonly completed: number;
  readonly characters: number;
  /** Requests that were refused before their first token, and sent again. Their wait counts. */
  readonly refused: number;
  /** Streams in which a byte was missing, wrong or doubled, or that failed or never began. */
  readonly broken: number;
  /** What broke the first of them. */
  readonly problems: readonly string[];
  readonly firstTokenMs: Spread;
  readonly longestGapMs: Spread;
}

/** Twenty honest streams of every kind, each followed by the next when it ends. */
export class HonestStreams {
  readonly #url: string;
  readonly #stopping = new AbortController();
  readonly #firstMs: number[] = [];
  readonly #gapMs: number[] = [];
  readonly #problems: string[] = [];
  readonly #slots: readonly Promise<void>[];
  #opened = 0;
  #completed = 0;
  #characters = 0;
  #refused = 0;
  #broken = 0;

  constructor(url: string) {
    this.#url = url;
    const kinds = Object.keys(readers) as ReaderKind[];
    this.#slots = Array.from({ length: streams }, (_, index) => {
      const kind = kinds[index % kinds.length] ?? 'fetch';
      return this.#fill(kind, keys.honest[index % keys.honest.length] ?? '');
    });
  }

  /** Lets all streams go, and says what they got. What they got so far has to be right as well. */
  async stop(): Promise<HonestReport> {
    this.#stopping.abort();
    await Promise.all(this.#slots);
    await closeReaders();
    return {
      completed: this.#completed,
      characters: this.#characters,
      refused: this.#refused,
      broken: this.#broken,
      problems: this.#problems,
      firstTokenMs: spreadOf(this.#firstMs),
      longestGapMs: spreadOf(this.#gapMs),
    };
  }

  async #fill(kind: ReaderKind, key: string): Promise<void> {
    while (!this.#stopping.signal.aborted) await this.#read(kind, key);
  }

  async #read(kind: ReaderKind, key: string): Promise<void> {
    this.#opened += 1;
    const least = kind === 'url' ? leastTokensOfTwo : leastTokens;
    const tokens = least + ((this.#opened * 137) % (mostTokens - least));
    const model = `sim:tps=${tokensPerSecond},ttft=0,tokens=${tokens}`;
    const watches: Watch[] = [];
    const insist = async (read: (watch: Watch) => Promise<void>): Promise<void> => {
      const watch = new Watch(replyText(tokens, 0));
      watches.push(watch);
      await this.#insist(watch, read);
    };
    const { signal } = this.#stopping;
    try {
      await insist((watch) => readers[kind]({ url: this.#url, key, model, signal, watch, beside: insist }));
      this.#completed += 1;
    } catch (error) {
      if (error instanceof WrongTextError || !signal.aborted) this.#break(kind, error);
    }
    for (const one of watches) {
      one.pause();
      // Who had only just asked when it was stopped has not waited for anything yet.
      this.#firstMs.push(one.firstMs);
      this.#gapMs.push(one.longestGapMs);
      this.#characters += one.characters;
    }
  }

  /** Asks again for what was refused before its first token. */
  async #insist(watch: Watch, read: (watch: Watch) => Promise<void>): Promise<void> {
    const { signal } = this.#stopping;
    for (;;) {
      try {
        await read(watch);
        return;
      } catch (error) {
        const isOver = watch.hasBegun || watch.waitedMs >= giveUpMs || signal.aborted;
        if (isOver || error instanceof WrongTextError) throw error;
        this.#refused += 1;
        await sleep(retryMs, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  #break(kind: ReaderKind, error: unknown): void {
    this.#broken += 1;
    if (this.#problems.length < maxProblems) this.#problems.push(`${kind}: ${messageOf(error)}`);
  }
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return error.message.slice(0, 200) + cause;
}

function spreadOf(values: readonly number[]): Spread {
  const [p50 = 0, p99 = 0, max = 0] = [0.5, 0.99, 1].map((q) => Math.round(quantile(values, q) * 10) / 10);
  return { p50, p99, max };
}
