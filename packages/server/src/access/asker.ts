import type { IncomingHttpHeaders } from 'node:http';
import type { Caller } from './caller.ts';

/** Who sends a request, and from where. */
export interface Asker {
  readonly headers: IncomingHttpHeaders;
  readonly caller: Caller;
  /** The key in the query, where the API has it there. */
  readonly queryKey?: string | undefined;
  /** IP address. */
  readonly address: string | undefined;
  /** The User-Agent of its connection, where the request itself has none. */
  readonly agent?: string | undefined;
}
