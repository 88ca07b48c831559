import type { IncomingHttpHeaders } from 'node:http';
import type { GatewayError } from '../errors.ts';
import type { Caller } from './caller.ts';

/** A request that was answered with an error of the server's own instead of a stream. */
export interface Refusal {
  /** The id of the request. */
  readonly requestId: string | undefined;
  /** The client's IP address. */
  readonly address: string;
  /** The caller; `undefined`: not known, because no accepted key came. */
  readonly caller: Caller | undefined;
  readonly headers: IncomingHttpHeaders;
  /** The method, or of a session's frame its type; empty: the request could not be read. */
  readonly method: string;
  /** The path. It may contain secrets. */
  readonly path: string;
  readonly error: GatewayError;
}
