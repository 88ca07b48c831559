import type { ServerResponse } from 'node:http';
import type { EventRun } from '@spillway/core/format/sse';
import type { GatewayError } from '../errors.ts';
import { ClientResponse, type ClientResponseOptions } from '../sink/client-response.ts';
import type { ServerClock } from '../time/server-clock.ts';
import { nextCursor } from './cursor.ts';
import { withoutEvents } from './event-ids.ts';
import { dataEvent } from './data-event.ts';
import { toldState } from './told-state.ts';
import { type Position, writeOffset } from './position.ts';
import type { StreamLog } from '../stream/stream-log.ts';

/**
 * A live read of Durable Streams by server-sent events. Each chunk is the text of a `data` event. A `control` event
 * after it gives the reader's offset.
 */
export class DurableResponse extends ClientResponse {
  readonly #log: StreamLog;
  readonly #from: Position;
  readonly #clock: ServerClock;
  #cursor: string | undefined;
  /** The offset after the last sent chunk; before the first, where the reader began. */
  #offset: number;
  #isEndTold = false;

  constructor(
    response: ServerResponse,
    options: ClientResponseOptions,
    log: StreamLog,
    from: Position,
    cursor: string | undefined,
  ) {
    super(response, options);
    this.#log = log;
    this.#from = from;
    this.#clock = options.clock;
    this.#offset = from.offset;
    this.#cursor = cursor;
  }

  /** The provider's own headers describe its events and not these, so they are left out. */
  override startEventStream(): void {
    if (this.headersSent || this.isClosed) return;
    super.startEventStream({});
    const { end, nextOffset } = this.#log;
    if (end === undefined && this.#offset === nextOffset) this.send(Buffer.from(this.#control()));
  }

  override write(run: EventRun, from: number, to: number): boolean {
    const { chunks, offset, skippedEvents } = this.#from;
    const isFirst = from === offset && skippedEvents > 0;
    if (isFirst && to - from !== chunks) {
      this.close();
      return true;
    }
    this.#offset = to;
    const bytes = isFirst ? withoutEvents(run, skippedEvents) : run.bytes;
    return this.sendPieces(dataEvent(bytes, () => this.#control()));
  }

  override complete(): void {
    const { end, nextOffset } = this.#log;
    const isAtEnd = end?.state === 'cancelled' || (end !== undefined && this.#offset === nextOffset);
    if (isAtEnd && !this.#isEndTold) {
      this.#offset = nextOffset;
      this.send(Buffer.from(this.#control()));
    }
    super.complete();
  }

  /** The last `control` event says how the stream ended. A reader that fell behind comes back at its offset. */
  override fail(error: GatewayError): void {
    if (this.headersSent) this.complete();
    else super.fail(error);
  }

  #control(): string {
    const { end, nextOffset } = this.#log;
    const isUpToDate = this.#offset === nextOffset;
    this.#isEndTold = isUpToDate && end !== undefined;
    if (!this.#isEndTold) this.#cursor = nextCursor(this.#cursor, this.#clock.dateMs());
    const { reason, state } = toldState(this.#log);
    const control = {
      streamNextOffset: writeOffset(this.#offset),
      ...(this.#isEndTold ? {} : { streamCursor: this.#cursor }),
      ...(isUpToDate ? { upToDate: true } : {}),
      ...(this.#isEndTold ? { streamClosed: true, streamState: state, streamStateReason: reason } : {}),
    };
    return `event: control\ndata: ${JSON.stringify(control)}\n\n`;
  }
}
