import { type Client, ClientError, type StreamReader, type StreamReadInit } from '@spillway/client';
import { readChatEvents } from './chat-events.ts';
import type { ModelTrace } from './model-trace.ts';
import { Pace } from './pace.ts';
import type { ReaderPlan } from './plan.ts';

/** Chunks that a reader got, or did not. */
export interface Stretch {
  readonly kind: 'got' | 'lost';
  readonly from: number;
  readonly to: number;
}

export type ReaderState = 'failed' | 'reading' | 'stopped' | 'whole';

// The least there is: what is not read is to wait in the gateway, and not in the page.
export const windowBytes = 1024;
/** The end of a reader's text that is shown, in characters. */
export const maxTail = 160;

/** One reader of the run's stream, which reads as fast as its slider says. */
export class RunReader {
  readonly plan: ReaderPlan;
  readonly pace: Pace;
  state: ReaderState = 'reading';
  /** The code of what it failed with. */
  code = '';
  bytes = 0;
  events = 0;
  /** The end of the text. */
  tail = '';
  /** What waits for it, in the gateway and on its way. */
  lagBytes = 0;
  peakBytes = 0;
  gaps = 0;
  /** What waited, each time that somebody looked. */
  readonly waited: number[] = [];
  lastAtMs = 0;
  endedAtMs = 0;
  readonly stretches: Stretch[] = [];
  readonly #trace: ModelTrace;
  readonly #leave = new AbortController();

  constructor(plan: ReaderPlan, trace: ModelTrace) {
    this.plan = plan;
    this.pace = new Pace(plan.eventsPerSecond);
    this.#trace = trace;
  }

  get tokens(): number {
    return this.#count('got');
  }

  get lostTokens(): number {
    return this.#count('lost');
  }

  /** How many events became part of another one. */
  get mergedEvents(): number {
    return Math.max(0, this.tokens - this.events);
  }

  /** How long ago the model made what this reader would read next; 0 when it has everything. */
  behindMs(nowMs: number): number {
    const next = Math.round(this.#trace.tokensAt(this.stretches.at(-1)?.to ?? 0));
    const madeAtMs = this.#trace.madeAtMs(next);
    return madeAtMs === undefined || this.state !== 'reading' ? 0 : nowMs - madeAtMs;
  }

  stop(): void {
    this.#leave.abort();
    this.#over('stopped');
  }

  /** Reads to the end, whatever that is. */
  async read(client: Client, url: string, maxBytes: number): Promise<void> {
    try {
      await this.#readFrom(client, url, maxBytes, 'start');
    } catch (error) {
      const code = error instanceof ClientError ? error.code : 'failed';
      if (code === 'history_gone' && this.stretches.length === 0 && this.state === 'reading') {
        // Who joins late gets what comes from now on.
        await this.#readFrom(client, url, maxBytes, 'now').catch(() => this.#over('failed', code));
      } else {
        this.#over('failed', code);
      }
    }
  }

  async #readFrom(client: Client, url: string, maxBytes: number, from: 'now' | 'start'): Promise<void> {
    const { signal } = this.#leave;
    const overflow = this.plan.policy;
    // By itself the gateway merges for all of them, and then there is little left to lose.
    const merges = overflow === 'coalesce';
    const init: StreamReadInit = { from, overflow, merges, maxBytes, windowBytes, signal };
    const reader = client.read(url, init);
    let hasFailed = false;
    reader.onEvent((event) => {
      this.#look(reader);
      if (event.type === 'end' && 'state' in event) hasFailed = event.state === 'failed';
    });
    const decoder = new TextDecoder();
    for await (const item of reader) {
      this.#look(reader);
      if (item.type === 'gap') {
        this.gaps += 1;
        this.#add('lost', item.from, item.to);
      } else {
        const { events, text } = readChatEvents(decoder.decode(item.bytes));
        await this.pace.read(events, signal);
        if (signal.aborted) return;
        this.bytes += item.bytes.length;
        this.events += events;
        this.tail = (this.tail + text).slice(-maxTail);
        if (events > 0) this.lastAtMs = performance.now();
        this.#add('got', item.from, item.to);
      }
      reader.ack(item.to);
    }
    this.#look(reader);
    if (hasFailed) this.#over('failed', 'an error event');
    else this.#over('whole');
  }

  #look({ lag }: StreamReader): void {
    this.lagBytes = lag.bytes;
    this.peakBytes = Math.max(this.peakBytes, lag.bytes);
  }

  #over(state: ReaderState, code = ''): void {
    if (this.state !== 'reading') return;
    this.state = state;
    this.code = code;
    this.lagBytes = 0;
    this.endedAtMs = performance.now();
  }

  #add(kind: Stretch['kind'], from: number, to: number): void {
    const last = this.stretches.at(-1);
    if (last?.kind === kind && last.to === from) {
      this.stretches[this.stretches.length - 1] = { kind, from: last.from, to };
    } else {
      this.stretches.push({ kind, from, to });
    }
  }

  #count(kind: Stretch['kind']): number {
    let tokens = 0;
    for (const stretch of this.stretches) {
      if (stretch.kind === kind)
        tokens += this.#trace.tokensAt(stretch.to) - this.#trace.tokensAt(stretch.from);
    }
    return Math.round(tokens);
  }
}
