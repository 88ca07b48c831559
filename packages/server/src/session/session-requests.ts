import type { Format } from '@spillway/core/format/format';
import type { IncomingHttpHeaders } from 'node:http';
import type { Asker } from '../access/asker.ts';
import type { GatewayStream } from '../stream/stream.ts';

/** What a request's first line and its headers say. */
export interface SessionRequestHead {
  readonly method: 'POST';
  /** With its query. */
  readonly path: string;
  /** Their names are in lower case. */
  readonly headers: IncomingHttpHeaders;
}

/** A request that a client sends over a session. */
export interface SessionRequest {
  /** The format of its errors. */
  readonly errors: Format;
  /** The key in its query. */
  readonly queryKey: string | undefined;
  /**
   * Opens its stream. A reader has to be attached in the same turn.
   *
   * @throws {GatewayError} if nothing was asked for, and nothing will be.
   */
  open(body: string, asker: Asker): GatewayStream;
}

/** Whoever has streams for requests: for a gateway, its providers. */
export interface SessionRequests {
  read(head: SessionRequestHead): SessionRequest;
}
