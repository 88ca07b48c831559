import { SpillwayError } from '@spillway/core';

/**
 * The stable codes of the errors that a client raises. A code never changes its meaning; the message may.
 *
 * - `invalid_option`: an option is missing, of the wrong type or out of its range.
 * - `no_session`: the gateway cannot be reached by WebSocket, does not speak the protocol there, or had no room for the
 *   request there. Only below `fetch`, which goes by plain HTTP then.
 * - `connection_lost`: the connection was lost and did not come back within `giveUpAfterMs`, or came back and was lost each time
 *   before anything of the stream had come. A request without an answer may have run.
 * - `arrival_unknown`: the connection was lost before the answer, and the gateway does not know whether the request arrived (it was
 *   started again, or the request has run and is over). It may have run, and is not sent again: that is for the caller to decide.
 * - `history_gone`: the connection came back too late, and what follows is not kept by the gateway any more.
 * - `protocol_error`: the gateway said something that breaks the protocol, such as a hole in the offsets or more
 *   than the window allows. Nothing of it was handed on.
 * - `message_too_large`: the request is larger than the gateway takes over a WebSocket. Only below `fetch`.
 * - `too_many_streams`: the gateway takes no more streams on one connection. Only below `fetch`, or when a
 *   connection comes back to a gateway that takes fewer.
 * - `read_pending`: the next chunk was asked for while an earlier call still waits.
 * - `bad_ack`: an offset was acknowledged that was not handed over yet.
 * - `bad_frame`: the gateway did not understand this client.
 * - `closed`: the client was closed.
 * - `reader_stalled`: the gateway let a reader go that took nothing for too long, and it could not go on where it was; `offset` and the
 *   message say where and why.
 * - `reader_disconnected`: the gateway let a reader go that fell behind by more than its window.
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
  // Whatever a gateway says, without losing the names above in an editor.
  | (string & Record<never, never>);

/**
 * What a stream over a session fails with. Decide by `code`; the message is for people.
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
  /** Where a reader of the stream's URL would go on, in chunks; `undefined` if nothing of it came. */
  readonly offset: number | undefined;

  constructor(code: ClientErrorCode, message: string, offset?: number, options?: ErrorOptions) {
    super(code, message, options);
    this.offset = offset;
  }
}

/** A request was sent, and nobody can say whether it came to anybody. */
export function arrivalUnknown(): ClientError {
  return new ClientError(
    'arrival_unknown',
    'The connection was lost before the answer, and the gateway does not know whether the request arrived. It may have run, and is not sent again.',
  );
}
