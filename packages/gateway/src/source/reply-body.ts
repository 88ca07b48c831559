/** Receives a reply's body. Either `complete` or `fail` is called, once, and nothing after it. */
export interface BodyHandler {
  /**
   * The next bytes: `bytes[start, end)`, valid only until this returns: the next read overwrites them. After
   * `pause`, `data` is not called until `resume`.
   */
  data(bytes: Buffer, start: number, end: number): void;
  complete(): void;
  fail(error: Error): void;
}

/** The body of a reply, as its handler controls it. */
export interface ReplyBody {
  /** Starts reading the body into `handler`. */
  consume(handler: BodyHandler): void;
  pause(): void;
  resume(): void;
  /** Closes the provider's connection. The handler's `fail` is called, unless the body had ended. */
  cancel(reason: Error): void;
}
