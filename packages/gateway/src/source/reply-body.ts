/** Who takes a reply's body. Of `end` and `fail` one is called, once, and nothing after it. */
export interface BodyHandler {
  /**
   * The next bytes: `bytes[start, end)`, only until this returns, because the next read takes their place. After
   * `pause` no more comes.
   */
  data(bytes: Buffer, start: number, end: number): void;
  end(): void;
  fail(error: Error): void;
}

/** What a reply's body comes out of. */
export interface ReplyBody {
  /** Starts it. */
  consume(handler: BodyHandler): void;
  pause(): void;
  resume(): void;
  /** Closes the provider's connection; the handler hears `fail`, unless the body had ended. */
  abort(reason: Error): void;
}
