/**
 * Events of a client beside its streams, for logs and for a sign on the page.
 *
 * - `connected`: a connection is there, the first or a later one.
 * - `disconnected`: the connection is gone, with the close code of its WebSocket; 1006 when it was lost.
 * - `fallback`: a streaming request goes by plain HTTP, because of the error with this code: `no_session`,
 *   `message_too_large` or `too_many_streams`.
 */
export type ClientEvent =
  | { readonly type: 'connected' }
  | { readonly type: 'disconnected'; readonly code: number; readonly reason: string }
  | { readonly type: 'fallback'; readonly code: string };
