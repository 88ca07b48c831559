import type { IncomingHttpHeaders } from 'node:http';

/** Who sends a request. */
export interface Asker {
  readonly headers: IncomingHttpHeaders;
  /** IP address. */
  readonly address: string | undefined;
  /** The User-Agent of its connection, where the request itself has none. */
  readonly agent?: string | undefined;
  /** Whose the stream will be; see `ownerOf`. */
  readonly owner: string;
}
