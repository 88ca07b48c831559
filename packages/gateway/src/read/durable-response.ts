import type { ServerResponse } from 'node:http';
import type { Channel } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { GatewayError } from '../errors.ts';
import { ClientResponse, type ClientResponseOptions } from '../sink/client-response.ts';
import { nextCursor } from './cursor.ts';
import { withoutEvents } from './event-ids.ts';
import { type Position, writeOffset } from './position.ts';

/**
 * The live reads of Durable Streams by server-sent events: each chunk is the text of a `data` event, and behind it
 * a `control` event says where the reader is.
 */
export class DurableResponse extends ClientResponse {
  readonly #channel: Channel<EventRun>;
  readonly #from: Position;
  #cursor: string | undefined;
  /** Up to here it was sent everything. */
  #offset: number;
  #isEndTold = false;

  constructor(
    response: ServerResponse,
    options: ClientResponseOptions,
    channel: Channel<EventRun>,
    from: Position,
    cursor: string | undefined,
  ) {
    super(response, options);
    this.#channel = channel;
    this.#from = from;
    this.#offset = from.offset;
    this.#cursor = cursor;
  }

  /** The provider's own headers are of its events, not of these. */
  override startEventStream(): void {
    if (this.headersSent || this.isClosed) return;
    super.startEventStream({});
    const { end, nextOffset } = this.#channel;
    if (end === undefined && this.#offset === nextOffset) this.send(this.#control());
  }

  override write({ bytes }: EventRun, from: number, to: number): boolean {
    const { chunks, offset, skippedEvents } = this.#from;
    const isFirst = from === offset && skippedEvents > 0;
    if (isFirst && to - from !== chunks) {
      this.destroy();
      return true;
    }
    this.#offset = to;
    const data = dataEvent(isFirst ? withoutEvents(bytes, skippedEvents) : bytes);
    return this.sendPieces([...data, this.#control()]);
  }

  override end(): void {
    const { end, nextOffset } = this.#channel;
    const isAtEnd = end?.state === 'cancelled' || (end !== undefined && this.#offset === nextOffset);
    if (isAtEnd && !this.#isEndTold) {
      this.#offset = nextOffset;
      this.send(this.#control());
    }
    super.end();
  }

  /** How the stream ended stands in its last event; whoever fell behind comes back where it is. */
  override fail(error: GatewayError): void {
    if (this.headersSent) this.end();
    else super.fail(error);
  }

  #control(): Uint8Array {
    const { end, nextOffset } = this.#channel;
    const isUpToDate = this.#offset === nextOffset;
    this.#isEndTold = isUpToDate && end !== undefined;
    if (!this.#isEndTold) this.#cursor = nextCursor(this.#cursor, Date.now());
    const control = {
      streamNextOffset: writeOffset(this.#offset),
      ...(this.#isEndTold ? {} : { streamCursor: this.#cursor }),
      ...(isUpToDate ? { upToDate: true } : {}),
      ...(this.#isEndTold ? { streamClosed: true, streamState: end?.state } : {}),
    };
    return Buffer.from(`event: control\ndata: ${JSON.stringify(control)}\n\n`);
  }
}

/** In pieces. Whoever reads it joins the lines with LF, whatever ended them: a CR cannot be in an event's data. */
function dataEvent(bytes: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = [eventLine];
  const addLine = (start: number, end: number): void => {
    pieces.push(field, bytes.subarray(start, end), lineEnd);
  };
  let start = BOM.every((byte, index) => bytes[index] === byte) ? BOM.length : 0;
  let cr = bytes.indexOf(CR);
  for (let lf = bytes.indexOf(LF); lf !== -1 || cr !== -1;) {
    const end = cr === -1 || (lf !== -1 && lf < cr) ? lf : cr;
    addLine(start, end);
    start = end === cr && bytes[end + 1] === LF ? end + 2 : end + 1;
    if (cr !== -1 && cr < start) cr = bytes.indexOf(CR, start);
    if (lf !== -1 && lf < start) lf = bytes.indexOf(LF, start);
  }
  addLine(start, bytes.length);
  pieces.push(lineEnd);
  return pieces;
}

const BOM = [0xef, 0xbb, 0xbf] as const;
const CR = 0x0d;
const LF = 0x0a;
const eventLine = Buffer.from('event: data\n');
const field = Buffer.from('data: ');
const lineEnd = Buffer.from('\n');
