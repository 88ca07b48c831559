import type { Feed } from '../feed.ts';
import { readChatEvents } from './chat-events.ts';
import { Pace } from './pace.ts';
import { modelOf, type Plan } from './plan.ts';
import { maxTail, type ReaderState } from './run-reader.ts';

const askEveryMs = 400;

/** What the pipe's process says of itself. */
interface PipeReport {
  readonly takenBytes: number;
  readonly bufferedBytes: number;
  readonly isEnded: boolean;
}

/** The same kind of stream, read at the same speed, through a pipe without backpressure. */
export class PipeReader {
  readonly pace: Pace;
  state: ReaderState = 'reading';
  code = '';
  tokens = 0;
  bytes = 0;
  tail = '';
  /** What waits in the pipe's process. */
  bufferedBytes = 0;
  /** What waits anywhere between the model and this reader. */
  waitingBytes = 0;
  peakBytes = 0;
  readonly waited: number[] = [];
  firstAtMs = 0;
  lastAtMs = 0;
  #takenBytes = 0;
  readonly #leave = new AbortController();

  constructor(eventsPerSecond: number) {
    this.pace = new Pace(eventsPerSecond);
  }

  stop(): void {
    this.#leave.abort();
    this.#over('stopped');
  }

  async read(feed: Feed, plan: Plan): Promise<void> {
    const { signal } = this.#leave;
    try {
      const query = new URLSearchParams({ model: modelOf(plan) });
      const response = await feed.fetch(`playground/pipe?${query.toString()}`, { method: 'POST', signal });
      if (!response.ok || response.body === null) throw new Error(`the pipe answers ${response.status}`);
      const watching = this.#watch(feed, response.headers.get('x-pipe') ?? '');
      await this.#take(response.body);
      this.#over('whole');
      await watching;
    } catch {
      this.#over('failed', 'cut');
    }
  }

  async #take(body: ReadableStream<Uint8Array>): Promise<void> {
    const { signal } = this.#leave;
    const decoder = new TextDecoder();
    const encoder = new TextEncoder();
    let rest = '';
    for await (const bytes of body) {
      rest += decoder.decode(bytes, { stream: true });
      for (let end = rest.indexOf('\n\n'); end >= 0; end = rest.indexOf('\n\n')) {
        const event = rest.slice(0, end + 2);
        rest = rest.slice(end + 2);
        const { events, text, tokens } = readChatEvents(event);
        await this.pace.read(events, signal);
        if (signal.aborted) return;
        this.bytes += encoder.encode(event).length;
        if (tokens > 0) {
          this.lastAtMs = performance.now();
          if (this.tokens === 0) this.firstAtMs = this.lastAtMs;
          this.tokens += tokens;
          this.tail = (this.tail + text).slice(-maxTail);
        }
        this.#weigh();
      }
    }
  }

  async #watch(feed: Feed, id: string): Promise<void> {
    const { signal } = this.#leave;
    while (this.state === 'reading') {
      const response = await feed.fetch(`playground/pipe/${id}`, { signal }).catch(() => undefined);
      if (response?.ok === true) {
        const report = (await response.json()) as PipeReport;
        this.#takenBytes = report.takenBytes;
        this.bufferedBytes = report.bufferedBytes;
        this.#weigh();
      }
      await new Promise((resolve) => setTimeout(resolve, askEveryMs));
    }
  }

  #weigh(): void {
    this.waitingBytes = Math.max(0, this.#takenBytes - this.bytes);
    this.peakBytes = Math.max(this.peakBytes, this.waitingBytes);
  }

  #over(state: ReaderState, code = ''): void {
    if (this.state !== 'reading') return;
    this.state = state;
    this.code = code;
    if (state === 'whole') this.waitingBytes = 0;
    this.bufferedBytes = 0;
  }
}
