import type { Format } from '@spillway/core/format/format';
import type { IncomingHttpHeaders } from 'node:http';
import type { Asker } from '../access/asker.ts';
import type { GatewayStream } from '../stream/stream.ts';

/** The first line and the headers of a request. */
export interface SessionRequestHead {
  readonly method: 'POST';
  /** The path with its query. */
  readonly path: string;
  /** Header names are in lower case. */
  readonly headers: IncomingHttpHeaders;
}

/** A request that a client sends over a session. */
export interface SessionRequest {
  /** The format in which the client gets errors. */
  readonly errors: Format;
  /** The key in the path's query. */
  readonly queryKey: string | undefined;
  /**
   * Opens the request's stream. Attach a reader to the stream in the same turn.
   *
   * @throws {GatewayError} if the provider was not asked, and will not be.
   */
  open(body: string, asker: Asker): GatewayStream;
}

/** Opens streams for requests. In a gateway: its providers. */
export interface SessionRequests {
  read(head: SessionRequestHead): SessionRequest;
}
