/**
 * The frames of a session, which client and gateway exchange over one WebSocket. PROTOCOL.md has the rules; this file
 * has the shapes, and the encoding of data frames.
 */

import { SpillwayError } from '../errors.ts';

/** The WebSocket subprotocol. A change that old clients or gateways do not understand needs a new name. */
export const subprotocol = 'spillway.v1';

/** The bytes of a window that a data frame takes beside its chunk, because a held frame takes memory. */
export const frameOverheadBytes = 256;

/** The close codes with which a gateway ends a session. A code never changes its meaning. */
export const closeCodes = {
  bad_frame: 4400,
  bad_ack: 4401,
  timeout: 4408,
  taken_over: 4409,
  too_many_streams: 4429,
  shutting_down: 1012,
  overloaded: 1013,
} as const;

/** Why the gateway ends a session; each has its close code. */
export type CloseReason = keyof typeof closeCodes;

/** The overflow policy of one more reader of a stream. */
export type SessionOverflow = 'block' | 'coalesce' | 'disconnect' | 'drop-newest' | 'drop-oldest' | 'latest';

/** How a stream ended. */
export type SessionStreamState = 'cancelled' | 'completed' | 'failed';

/**
 * What ended an answer in its midst, as a whole message all the same: a limit of the gateway, or its store of limits, which
 * was away when nothing more was reserved.
 */
export type CutReason = 'limit' | 'limits_unavailable';

/** A frame from a client. `stream` is the number that the client gave; offsets count chunks. */
export type ClientFrame =
  | { readonly type: 'open'; readonly windowBytes: number }
  | {
      readonly type: 'request';
      readonly stream: number;
      readonly reader: string;
      readonly windowBytes: number;
      /**
       * The window in time: the milliseconds that may be sent before they are acknowledged. Only for a gateway whose
       * `open` says `ms`.
       */
      readonly windowMs?: number | undefined;
      readonly method: 'POST';
      /** The path with its query. */
      readonly path: string;
      readonly headers: Readonly<Record<string, string>>;
      readonly body: string;
    }
  | {
      readonly type: 'read';
      readonly stream: number;
      readonly reader: string;
      readonly windowBytes: number;
      /** The window in time, as for a request. */
      readonly windowMs?: number | undefined;
      readonly url: string;
      readonly headers: Readonly<Record<string, string>>;
      readonly from: number | 'now' | 'start';
      readonly overflow: SessionOverflow;
      /** The bytes that may wait for this reader in the gateway. Default: as many as the gateway allows. */
      readonly maxBytes?: number | undefined;
      /** Whether chunks that wait for this reader may be merged before its policy is carried out. Default: true. */
      readonly merges?: boolean | undefined;
    }
  | {
      readonly type: 'resume';
      readonly stream: number;
      readonly reader: string;
      readonly headers: Readonly<Record<string, string>>;
      /** The offset after the last chunk that was received. */
      readonly offset: number;
      /** The offset before which every chunk was consumed. */
      readonly acked: number;
      /**
       * For a request without an answer: the gateway's name of the session that carried the request, and the request's
       * number there.
       */
      readonly session?: string | undefined;
      readonly request?: number | undefined;
      /**
       * Whether another frame follows at once. The gateway sends nothing new over the session until a frame comes
       * without this field.
       */
      readonly more?: true | undefined;
    }
  | { readonly type: 'ack'; readonly stream: number; readonly offset: number }
  | { readonly type: 'cancel' | 'detach'; readonly stream: number }
  | { readonly type: 'ping' };

/** A frame from a gateway, except data. */
export type GatewayFrame =
  | {
      readonly type: 'open';
      readonly maxStreams: number;
      readonly maxMessageBytes: number;
      /** The name of this session, for a `resume` over a later one. */
      readonly session?: string | undefined;
      /** Whether the gateway knows `windowMs`. Older gateways do not, and end a session for that field. */
      readonly ms?: boolean | undefined;
    }
  | {
      readonly type: 'response';
      readonly stream: number;
      /** The stream's URL; empty if the answer cannot be read again. */
      readonly url: string;
      readonly status: number;
      readonly headers: Readonly<Record<string, string>>;
    }
  | {
      readonly type: 'gap';
      readonly stream: number;
      readonly from: number;
      readonly to: number;
      readonly bytes: number;
      readonly reason: string;
    }
  | { readonly type: 'lag'; readonly stream: number; readonly items: number; readonly bytes: number }
  | {
      readonly type: 'end';
      readonly stream: number;
      readonly state: SessionStreamState;
      /** Of a `cancelled` stream whose chunks make a whole message all the same: what ended it. */
      readonly reason?: CutReason | undefined;
    }
  | {
      readonly type: 'error';
      readonly stream: number;
      readonly code: string;
      readonly message: string;
      /** The offset where the reader would go on. */
      readonly offset: number;
      /** The id that the gateway gave to the frame which it refuses; `undefined`: the error ends a running reader. */
      readonly request?: string | undefined;
    }
  | { readonly type: 'pong' };

/** A chunk of a stream, or with an empty range the gateway's own bytes, such as an error. */
export interface DataFrame {
  /** The number that the client gave to the stream. */
  readonly stream: number;
  /** The offset of the first chunk in the frame. */
  readonly from: number;
  /** The offset after the last chunk in the frame. */
  readonly to: number;
  /** The bytes of the chunk. */
  readonly bytes: Uint8Array;
}

/**
 * ```text
 *  0        4              10             16
 *  | stream |     from     |      to      | chunk …
 * ```
 * All numbers are unsigned and big-endian.
 */
export const dataHeaderBytes = 16;

/**
 * Encodes the head of a data frame; the chunk follows.
 *
 * @throws {SpillwayError} `invalid_option` for a stream from 2^32 on or an offset from 2^48 on, which do not fit. A
 *   stream of a million chunks a second gets there after nine years.
 */
export function encodeDataHeader(stream: number, from: number, to: number): Uint8Array<ArrayBuffer> {
  if (!(isUint(stream, 0x1_0000_0000) && isUint(from, maxOffset) && isUint(to, maxOffset))) {
    throw new SpillwayError(
      'invalid_option',
      `A data frame: expected a stream below 2^32 and offsets below 2^48, got stream ${stream}, from ${from} to ${to}.`,
    );
  }
  const header = new Uint8Array(dataHeaderBytes);
  const view = new DataView(header.buffer);
  view.setUint32(0, stream);
  setUint48(view, 4, from);
  setUint48(view, 10, to);
  return header;
}

/** Decodes a data frame; `undefined` if the message is none. The chunk is a view on the message. */
export function decodeData(message: ArrayBuffer): DataFrame | undefined {
  if (message.byteLength < dataHeaderBytes) return undefined;
  const view = new DataView(message);
  const from = getUint48(view, 4);
  const to = getUint48(view, 10);
  if (to < from) return undefined;
  return { stream: view.getUint32(0), from, to, bytes: new Uint8Array(message, dataHeaderBytes) };
}

const maxOffset = 2 ** 48;

function isUint(value: number, end: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < end;
}

function setUint48(view: DataView, at: number, value: number): void {
  view.setUint16(at, Math.floor(value / 0x1_0000_0000));
  view.setUint32(at + 2, value % 0x1_0000_0000);
}

function getUint48(view: DataView, at: number): number {
  return view.getUint16(at) * 0x1_0000_0000 + view.getUint32(at + 2);
}
