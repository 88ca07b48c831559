import type { StreamReader } from '@spillway/client';
import type { Feed } from '../feed.ts';
import { readChatEvents } from './chat-events.ts';
import { ModelTrace } from './model-trace.ts';
import { PipeReader } from './pipe-reader.ts';
import { modelOf, type Plan, type ReaderPlan } from './plan.ts';
import { RunReader } from './run-reader.ts';

/** One stream of the simulated model, its readers, and the same through a plain pipe. */
export class Run {
  readonly plan: Plan;
  readonly trace = new ModelTrace();
  readonly readers: RunReader[];
  readonly pipe: PipeReader;
  readonly startedAtMs = performance.now();
  /** Where more readers read it; empty before the provider's answer. */
  url = '';
  problem = '';
  isOver = false;
  /** Somebody had enough of it before its end. */
  isStopped = false;
  readonly #feed: Feed;
  readonly #opener: StreamReader;
  readonly #reads: Promise<void>[] = [];

  constructor(feed: Feed, plan: Plan, readers: readonly ReaderPlan[], pipeSpeed: number) {
    this.plan = plan;
    this.#feed = feed;
    this.readers = readers.map((reader) => new RunReader(reader, this.trace));
    this.pipe = new PipeReader(pipeSpeed);
    this.#opener = feed.client.request('/v1/chat/completions', {
      body: JSON.stringify({ model: `simulated/${modelOf(plan)}`, stream: true, messages: [] }),
      headers: { 'content-type': 'application/json' },
    });
    void this.#go();
  }

  /** Notes what waits for each reader now, for a picture over time. */
  sample(): void {
    const { pipe, readers } = this;
    for (const reader of readers) if (reader.state === 'reading') reader.waited.push(reader.lagBytes);
    if (pipe.state === 'reading') pipe.waited.push(pipe.waitingBytes);
  }

  /** One more reader, of what is kept and what comes. */
  attach(plan: ReaderPlan): void {
    const reader = new RunReader(plan, this.trace);
    this.readers.push(reader);
    if (this.url !== '' && !this.isOver) this.#read(reader);
  }

  stop(): void {
    if (this.isOver) return;
    this.isStopped = !this.trace.isOver;
    this.#opener.cancel();
    for (const reader of this.readers) reader.stop();
    this.pipe.stop();
    this.isOver = true;
  }

  async #go(): Promise<void> {
    this.#reads.push(this.pipe.read(this.#feed, this.plan), this.#follow());
    try {
      const { status, url } = await this.#opener.response;
      if (status !== 200) throw new Error(`the gateway answers ${status}`);
      this.url = url;
      for (const reader of this.readers) this.#read(reader);
    } catch (error) {
      this.problem = error instanceof Error ? error.message : String(error);
      for (const reader of this.readers) reader.stop();
    }
    // Readers may join meanwhile.
    for (let at = 0; at < this.#reads.length; at += 1) await this.#reads[at];
    this.isOver = true;
  }

  #read(reader: RunReader): void {
    this.#reads.push(reader.read(this.#feed.client, this.url, this.plan.maxBytes));
  }

  /** The one who opened the stream takes everything at once: that is how the page knows what the model makes. */
  async #follow(): Promise<void> {
    const decoder = new TextDecoder();
    this.#opener.onEvent((event) => {
      if (event.type === 'end' && 'state' in event && event.state === 'failed') {
        this.trace.problem = 'an error, of which every reader is told';
      }
    });
    try {
      for await (const item of this.#opener) {
        if (item.type === 'chunk') {
          const { tokens } = readChatEvents(decoder.decode(item.bytes));
          if (item.to > item.from) this.trace.add(item.to, tokens, performance.now());
        }
        this.#opener.ack(item.to);
      }
    } catch (error) {
      this.trace.problem = error instanceof Error && 'code' in error ? String(error.code) : 'failed';
    }
    this.trace.isOver = true;
  }
}
