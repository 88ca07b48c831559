import type { ServerResponse } from 'node:http';
import type { EventRun } from '@spillway/core/format/sse';
import { GatewayError } from '../errors.ts';
import { ClientResponse, type ClientResponseOptions } from '../sink/client-response.ts';
import { joinSmall } from '../sink/join-small.ts';
import { withId, withIds } from './event-ids.ts';
import { type Position, writePosition } from './position.ts';
import type { StreamLog } from '../stream/stream-log.ts';

/**
 * The provider's own events, each with an id. An `EventSource` comes back with the id, and gets everything once,
 * errors included.
 */
export class EventSourceResponse extends ClientResponse {
  readonly #from: Position;

  constructor(response: ServerResponse, options: ClientResponseOptions, log: StreamLog, from: Position) {
    const { format } = options;
    const errorEvent: typeof format.errorEvent = (error) => {
      const behind = { offset: log.nextOffset, skippedEvents: 1, chunks: 1 };
      return withId(format.errorEvent(error), writePosition(behind));
    };
    super(response, { ...options, format: { ...format, errorEvent } });
    this.#from = from;
  }

  override write(run: EventRun, from: number, to: number): boolean {
    const { chunks, offset, skippedEvents } = this.#from;
    const isFirst = from === offset && skippedEvents > 0;
    if (isFirst && to - from !== chunks) {
      // The chunk was merged after its position was checked. When the client comes back, it gets `history_gone`.
      this.close();
      return true;
    }
    return this.sendPieces(joinSmall(withIds(run, from, to, isFirst ? skippedEvents : 0)));
  }

  override fail(error: GatewayError): void {
    // A reader that fell behind comes back by itself.
    if (error.code === 'reader_disconnected' && this.headersSent) this.complete();
    else super.fail(error);
  }
}

/** Whether an `EventSource` that comes back at this position has seen everything, the stream's error included. */
export function hasSeenAll({ end, nextOffset }: StreamLog, position: Position): boolean {
  if (end === undefined || position.offset < nextOffset) return false;
  if (end.state === 'completed' || end.state === 'cut' || position.skippedEvents > 0) return true;
  // The provider's own error event was one of the stream's chunks.
  return 'error' in end && end.error instanceof GatewayError && end.error.code === 'upstream_reported';
}
