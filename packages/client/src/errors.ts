import { SpillwayError } from '@spillway/core';

/**
 * The stable codes of the errors that a client raises. A code never changes its meaning; the message may.
 *
 * - `invalid_option`: an option is missing, of the wrong type or out of its range.
 * - `no_session`: the gateway cannot be reached by WebSocket, does not speak the protocol there, or had no room for the
 *   request there. A client's `request` and `read` fail with it; `fetch` goes by plain HTTP then.
 * - `connection_lost`: the connection was lost and did not come back within `giveUpAfterMs`, or came back and was lost
 *   each time before anything new of the stream came. A request without an answer may have run.
 * - `arrival_unknown`: the connection was lost before the answer, and the gateway does not know whether the request
 *   arrived. (The gateway was started again, or the request has run and is over.) The request may have run, so it is
 *   not sent again: the caller has to decide.
 * - `history_gone`: the connection came back too late, and the gateway does not keep the rest any more.
 * - `protocol_error`: the gateway broke the protocol, such as with a hole in the offsets or with more than the window
 *   allows. The consumer got nothing of it.
 * - `message_too_large`: the request is larger than the gateway takes over a WebSocket. `fetch` sends such a request by
 *   plain HTTP.
 * - `too_many_streams`: the gateway takes no more streams on one connection. `fetch` goes by plain HTTP then, except
 *   when a connection comes back to a gateway that takes fewer streams.
 * - `read_pending`: the next chunk was asked for while an earlier call still waits.
 * - `bad_ack`: an offset was acknowledged that the consumer has not received yet.
 * - `bad_frame`: the gateway did not understand this client.
 * - `closed`: the client was closed.
 * - `reader_stalled`: the gateway detached a reader that took nothing for too long, and the reader could not go on at
 *   its offset; `offset` and the message say where and why.
 * - `reader_disconnected`: the gateway detached a reader that fell behind by more than its window.
 * - any other: the gateway's own, as PROTOCOL.md lists them (`upstream_cut`, `shutting_down`, …).
 */
export type ClientErrorCode =
  | 'arrival_unknown'
  | 'bad_ack'
  | 'bad_frame'
  | 'closed'
  | 'connection_lost'
  | 'history_gone'
  | 'invalid_option'
  | 'message_too_large'
  | 'no_session'
  | 'protocol_error'
  | 'read_pending'
  | 'reader_disconnected'
  | 'reader_stalled'
  | 'too_many_streams'
  // Any other code, without losing the names above in an editor.
  | (string & Record<never, never>);

/**
 * The error of a stream over a session. Decide by `code`; the message is for people.
 *
 * @example
 * ```ts
 * try {
 *   for await (const chunk of reader) show(chunk);
 * } catch (error) {
 *   if (error instanceof ClientError && error.code === 'connection_lost') offerToRetry(error.offset);
 *   else throw error;
 * }
 * ```
 */
export class ClientError extends SpillwayError<ClientErrorCode> {
  /**
   * The offset where a reader of the stream's URL would go on, in chunks; `undefined` if nothing of the stream came.
   */
  readonly offset: number | undefined;

  constructor(code: ClientErrorCode, message: string, offset?: number, options?: ErrorOptions) {
    super(code, message, options);
    this.offset = offset;
  }
}

/** The error for a request that was sent and may or may not have arrived. */
export function arrivalUnknown(): ClientError {
  return new ClientError(
    'arrival_unknown',
    'The connection was lost before the answer, and the gateway does not know whether the request arrived. It may have run, and is not sent again.',
  );
}
