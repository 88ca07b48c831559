/** Why a stage failed. The code never changes its meaning; the message is for people, and has no key and no words of the call. */
export type StageErrorCode =
  /** It sent what is not understood. */
  | 'bad_message'
  /** Its connection ended in the middle. */
  | 'lost'
  /** Nothing came of it in time. */
  | 'late'
  /** It is asked for too much now. */
  | 'rate_limited'
  /** It refuses the request, the model or the settings. */
  | 'refused'
  /** It does not take the key. */
  | 'unauthorized'
  /** No connection came about, or a program is not there. */
  | 'unreachable';

/** A stage of a cascade failed. */
export class StageError extends Error {
  override readonly name = 'StageError';
  readonly code: StageErrorCode;
  /** How long the other side wants to be left alone, in milliseconds; `undefined`: it did not say. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: StageErrorCode,
    message: string,
    options: ErrorOptions & { readonly retryAfterMs?: number } = {},
  ) {
    super(message, options);
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
  }
}
