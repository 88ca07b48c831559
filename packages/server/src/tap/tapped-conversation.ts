import type { Channel } from '@spillway/core';
import { conversation, type ConversationEvent, conversationRun } from '@spillway/core/format/conversation';
import type { EventRun } from '@spillway/core/format/sse';
import type { Defects } from '../defects.ts';
import { asGatewayError, GatewayError } from '../errors.ts';
import { RunMemory } from '../memory/run-memory.ts';
import { openRunChannel } from '../stream/run-channel.ts';
import type { StreamOutcome } from '../stream/stream-body.ts';
import { tapUnavailable } from '../stream/tap-gates.ts';
import { TapReader } from '../stream/tap-reader.ts';
import type { StreamTap, Tap, TapGate, TappedStream } from '../stream/tap.ts';
import type { EndedReader } from '../stream/ended-reader.ts';
import type { ServerClock } from '../time/server-clock.ts';

/** A conversation, and who reads it beside those who have it. */
export interface TappedConversationOptions {
  readonly taps: Iterable<Tap>;
  readonly stream: TappedStream;
  /** The bytes that may wait for each tap. */
  readonly windowBytes: number;
  readonly clock: ServerClock;
  readonly defects: Pick<Defects, 'caught'>;
  /** A tap that is required cannot keep it: the conversation has to end. Called at most once. */
  readonly onFailed: (error: GatewayError) => void;
}

/** One tap's part. Each has a channel of its own: not every one gets the sound. */
interface Part {
  readonly reader: TapReader;
  readonly tap: StreamTap;
  readonly channel: Channel<EventRun>;
  /** What the channel had no room for, in order. */
  pending: Promise<void> | undefined;
}

/**
 * A spoken conversation as a stream for taps. Its two ends are no readers of it: they have their own sockets, so what waits
 * here waits for taps alone. A tap that must lose nothing says so by {@link isBehind}, and whoever relays stops reading.
 */
export class TappedConversation {
  readonly #options: TappedConversationOptions;
  readonly #parts: readonly Part[];
  #count = 0;
  #hasFailed = false;
  #isOver = false;

  /** @throws {GatewayError} `tap_unavailable` if a tap that is required cannot keep it. */
  constructor(options: TappedConversationOptions) {
    this.#options = options;
    const { taps, stream } = options;
    const parts: Part[] = [];
    this.#parts = parts;
    try {
      for (const tap of taps) {
        const opened = this.#open(tap, stream);
        if (opened !== undefined) parts.push(this.#part(tap, opened));
      }
    } catch (error) {
      this.ended({ state: 'failed', error: asGatewayError(error) }, undefined);
      throw error;
    }
  }

  /** Whether any tap reads it. */
  get isRead(): boolean {
    return this.#parts.length > 0;
  }

  /** Whether some tap wants the sound, too. */
  get wantsAudio(): boolean {
    return this.#parts.some(({ tap }) => tap.wantsAudio === true);
  }

  /** Whether a tap that must lose nothing has no room. */
  get isBehind(): boolean {
    return this.#parts.some(({ pending }) => pending !== undefined);
  }

  /** Whether some tap holds back what it has not kept. */
  get isGated(): boolean {
    return this.#parts.some(({ tap }) => tap.gate !== undefined);
  }

  /** The number of events so far. */
  get nextOffset(): number {
    return this.#count;
  }

  /** The provider is about to be asked. */
  asked(): void {
    for (const { reader } of this.#parts) reader.asked();
  }

  /** The conversation begins. Resolves when its beginning is kept, where that is asked for. Rejects if it cannot be. */
  async begin(): Promise<void> {
    for (const { channel, reader } of this.#parts) {
      reader.begin({
        log: channel,
        format: conversation,
        isEvents: true,
        status: 101,
        reason: '',
        headers: {},
        maxWaitingBytes: this.#options.windowBytes,
      });
    }
    await Promise.all(this.#gates.map(({ gate }) => gate.head));
  }

  /** Something happens in it. Sound goes to those who want it. */
  add(event: ConversationEvent): void {
    if (this.#isOver) return;
    const run = conversationRun(event, this.#count);
    this.#count += 1;
    for (const part of this.#parts)
      if (event.type !== 'audio' || part.tap.wantsAudio === true) this.#write(part, run);
  }

  /**
   * Whether all that was added until now is kept, where that is asked for: ask again after `onKept`. `undefined`: it is, or
   * nobody asks for it.
   */
  whenKept(): (() => boolean) | undefined {
    const places = this.#gates
      .map(({ channel, gate }) => ({ chunks: gate.chunks, place: channel.nextOffset }))
      .filter(({ chunks, place }) => chunks.openTo < place);
    if (places.length === 0) return undefined;
    return () => places.every(({ chunks, place }) => chunks.openTo >= place);
  }

  /** Calls back when more is kept. Returns a function that ends it. */
  onKept(listener: () => void): () => void {
    const ends = this.#gates.map(({ gate }) => gate.chunks.onOpen(listener));
    return () => {
      for (const end of ends) end();
    };
  }

  /** It is over. `reader`: what became of the one who had it. */
  ended(outcome: StreamOutcome, reader: EndedReader | undefined): void {
    if (this.#isOver) return;
    this.#isOver = true;
    for (const part of this.#parts) {
      const end = (): void => {
        part.channel.complete();
        part.reader.ended(outcome);
        if (reader !== undefined) part.reader.readerEnded(reader);
        part.reader.forgotten();
      };
      // What still waits for room comes before the end.
      if (part.pending === undefined) end();
      else void part.pending.then(end);
    }
  }

  get #gates(): readonly { readonly channel: Channel<EventRun>; readonly gate: TapGate }[] {
    return this.#parts.flatMap(({ channel, tap: { gate } }) =>
      gate === undefined ? [] : [{ channel, gate }],
    );
  }

  #open(tap: Tap, stream: TappedStream): StreamTap | undefined {
    try {
      return tap.open(stream);
    } catch (error) {
      if (error instanceof GatewayError) throw error;
      this.#options.defects.caught(`tap ${tap.name}`, error);
      if (tap.isRequired === true) throw tapUnavailable(tap.name);
      return undefined;
    }
  }

  #part(tap: Tap, opened: StreamTap): Part {
    const { clock, defects, windowBytes } = this.#options;
    const channel = openRunChannel(windowBytes, new RunMemory(), conversation, clock);
    const host = {
      tapDone: () => {
        // A gate that is not open to all will not open any more.
        if (opened.gate !== undefined && opened.gate.chunks.openTo < Infinity) this.#fail(tap.name);
      },
      tapFailed: () => this.#fail(tap.name),
      defect: (where: string, error: unknown) => defects.caught(where, error),
    };
    return { reader: new TapReader(host, tap, opened), tap: opened, channel, pending: undefined };
  }

  #write(part: Part, run: EventRun): void {
    if (part.pending === undefined && part.channel.offer(run) !== 'full') return;
    const written = writeAfter(part, run).finally(() => {
      if (part.pending === written) part.pending = undefined;
    });
    part.pending = written;
  }

  #fail(name: string): void {
    if (this.#hasFailed) return;
    this.#hasFailed = true;
    this.#options.onFailed(tapUnavailable(name));
  }
}

/** Writes a run behind those that wait. Never rejects: a tap that has ended has told why. */
async function writeAfter({ channel, pending }: Part, run: EventRun): Promise<void> {
  await pending;
  try {
    await channel.write(run);
  } catch {
    // Its reader is gone, and nobody wants the run.
  }
}
