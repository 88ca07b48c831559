import { openChannel } from '@spillway/core';
import { openaiChat } from '@spillway/core/format/openai-chat';
import type { EventRun } from '@spillway/core/format/sse';
import { frameOverheadBytes } from '@spillway/core/session';
import type { Defects } from '../defects.ts';
import type { GatewayError } from '../errors.ts';
import { Meter } from '../stream/meter.ts';
import { GatewayStream } from '../stream/stream.ts';
import type { StreamDeadlines } from '../stream/stream-body.ts';

/** A snapshot more than the one that waits is never kept: whoever is late gets the latest. */
const maxItems = 1;

/**
 * A stream of snapshots for the console, read as any other: by sessions, with credit. Made only when somebody takes
 * them: a reader that still has one waiting, such as a tab that sleeps, gets no more.
 */
export class SnapshotStream {
  readonly stream: GatewayStream;
  readonly #channel = openChannel<EventRun>({
    maxItems,
    // What a session's credit is spent on.
    weigh: ({ byteLength }) => byteLength + frameOverheadBytes,
  });
  readonly #make: () => object;
  readonly #graceMs: number;

  constructor(deadlines: StreamDeadlines, make: () => object, defects: Pick<Defects, 'caught'>) {
    const client = { address: '', agent: '', caller: '', tenant: '' };
    const owner = {
      origin: { name: 'console', api: '' },
      // Only the admin listener finds it.
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
    // What it costs is not counted: it is no model's.
    const host = {
      meter: new Meter(),
      began: () => undefined,
      readerEnded: () => undefined,
      delivered: () => undefined,
      openPause: () => undefined,
      defect: (where: string, error: unknown) => defects.caught(where, error),
    };
    this.stream = new GatewayStream(owner, deadlines, host, performance.now());
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
      performance.now(),
    );
  }

  get isWatched(): boolean {
    return this.stream.audience.readers.size > 0;
  }

  /** Lets go of watchers that do not come back. */
  tick(nowMs: number): void {
    for (const reader of this.stream.audience.readers) reader.tick(nowMs, this.#graceMs);
  }

  /** Makes a snapshot, if somebody takes it. */
  refresh(): void {
    let isWanted = false;
    for (const { isLost, waitingItems } of this.stream.audience.readers)
      isWanted ||= !isLost && waitingItems === 0;
    if (!isWanted) return;
    const bytes = Buffer.from(JSON.stringify(this.#make()));
    this.#channel.offer({ bytes, byteLength: bytes.length, events: 1 });
  }

  /** It cannot be made. */
  fail(error: GatewayError): void {
    this.stream.stop(error);
    this.#channel.fail(error);
    this.stream.finish({ state: 'failed', error }, performance.now());
  }

  /** What it shows is over. */
  complete(): void {
    this.#channel.complete();
    this.stream.finish({ state: 'completed', error: undefined }, performance.now());
  }
}
