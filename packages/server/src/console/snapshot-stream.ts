import { openChannel } from '@spillway/core';
import { openaiChat } from '@spillway/core/format/openai-chat';
import type { EventRun } from '@spillway/core/format/sse';
import { frameOverheadBytes } from '@spillway/core/session';
import type { Defects } from '../defects.ts';
import type { GatewayError } from '../errors.ts';
import { Meter } from '../stream/meter.ts';
import { GatewayStream } from '../stream/stream.ts';
import type { StreamTokens } from '../stream/stream-token.ts';
import type { ServerClock } from '../time/server-clock.ts';
import type { StreamDeadlines } from '../stream/stream-body.ts';

/** Only one snapshot waits at a time: a late reader gets the latest. */
const maxItems = 1;

/**
 * A stream of snapshots for the console, read like any other stream: over sessions, with credit. A snapshot is made
 * only when a reader can take it. A reader with a waiting snapshot, such as a sleeping tab, gets no more.
 */
export class SnapshotStream {
  readonly stream: GatewayStream;
  readonly #channel = openChannel<EventRun>({
    maxItems,
    // The size that a session's credit is spent on.
    weigh: ({ byteLength }) => byteLength + frameOverheadBytes,
  });
  readonly #clock: ServerClock;
  readonly #make: () => object;
  readonly #graceMs: number;
  #watchedMs: number;

  constructor(
    deadlines: StreamDeadlines,
    make: () => object,
    defects: Pick<Defects, 'caught'>,
    clock: ServerClock,
    tokens: StreamTokens,
  ) {
    this.#clock = clock;
    this.#watchedMs = clock.nowMs();
    const client = { address: '', agent: '', caller: '', tenant: '' };
    const owner = {
      origin: { name: 'console', api: '' },
      // Only the admin listener finds this stream.
      mayRead: () => true,
      errors: openaiChat,
      owner: '',
      holder: '',
      detach: 'finish',
      model: undefined,
      client,
    } as const;
    this.#make = make;
    this.#graceMs = deadlines.detachGraceMs;
    // The counts of this stream are not kept, because no model made it.
    const host = {
      clock,
      tokens,
      meter: new Meter(),
      began: () => undefined,
      readerEnded: () => undefined,
      delivered: () => undefined,
      tapEnded: () => undefined,
      openPause: () => undefined,
      defect: (where: string, error: unknown) => defects.caught(where, error),
    };
    this.stream = new GatewayStream(owner, deadlines, host);
    this.stream.start(
      {
        log: this.#channel,
        format: undefined,
        isEvents: true,
        status: 200,
        reason: '',
        headers: {},
        maxWaitingBytes: deadlines.windowBytes,
      },
      clock.nowMs(),
    );
  }

  get isWatched(): boolean {
    return this.stream.audience.readers.size > 0;
  }

  /** How long nobody has watched, as far as `refresh` has looked. */
  get unwatchedMs(): number {
    return this.#clock.nowMs() - this.#watchedMs;
  }

  /** Ends readers that do not come back. */
  tick(nowMs: number): void {
    for (const reader of this.stream.audience.readers) reader.tick(nowMs, this.#graceMs);
  }

  /** Makes a snapshot, if a reader can take it. */
  refresh(): void {
    if (this.isWatched) this.#watchedMs = this.#clock.nowMs();
    let isWanted = false;
    for (const { isLost, waitingItems } of this.stream.audience.readers)
      isWanted ||= !isLost && waitingItems === 0;
    if (!isWanted) return;
    const bytes = Buffer.from(JSON.stringify(this.#make()));
    this.#channel.offer({ bytes, byteLength: bytes.length, events: 1 });
  }

  /** Ends the stream because a snapshot cannot be made. */
  fail(error: GatewayError): void {
    this.stream.cancel(error);
    this.#channel.fail(error);
    this.stream.ended({ state: 'failed', error }, this.#clock.nowMs());
  }

  /** Ends the stream because the stream that it shows is over. */
  complete(): void {
    this.#channel.complete();
    this.stream.ended({ state: 'completed', error: undefined }, this.#clock.nowMs());
  }
}
