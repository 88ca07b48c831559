import type { IncomingHttpHeaders } from 'node:http';
import type { Caller } from './caller.ts';

/** The sender of a request, and where the request comes from. */
export interface Asker {
  readonly headers: IncomingHttpHeaders;
  readonly caller: Caller;
  /** The id of the request; `undefined`: its server gives none. */
  readonly requestId?: string | undefined;
  /** The key in the query, for an API that has it there. */
  readonly queryKey?: string | undefined;
  /** IP address. */
  readonly address: string | undefined;
  /** The connection's User-Agent header, for a request that has none. */
  readonly agent?: string | undefined;
}
