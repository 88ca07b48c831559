import type { BodyHandler, ReplyBody } from './reply-body.ts';

/** A body whose first bytes are looked at before somebody takes it, and then get to whoever does. */
export class PeekedBody implements ReplyBody, BodyHandler {
  readonly #body: ReplyBody;
  #first: Buffer = Buffer.alloc(0);
  /** Something came, or the end. */
  #onFirst: (() => void) | undefined;
  #handler: BodyHandler | undefined;
  #isPaused = false;
  /** How it ended, if that was before anybody took it. */
  #early: { readonly error: Error | undefined } | undefined;

  constructor(body: ReplyBody) {
    this.#body = body;
  }

  /**
   * Reads until `tell` says something of what has come so far, and no further; `otherwise`, if the body ends before. To be
   * called once, before `consume`. `tell` must say something of a few bytes: they are held.
   */
  first<T>(tell: (bytes: Buffer) => T | undefined, otherwise: T): Promise<T> {
    return new Promise((resolve) => {
      this.#onFirst = () => {
        const told = tell(this.#first) ?? (this.#early === undefined ? undefined : otherwise);
        if (told === undefined) return;
        this.#onFirst = undefined;
        this.#body.pause();
        resolve(told);
      };
      this.#body.consume(this);
    });
  }

  consume(handler: BodyHandler): void {
    const first = this.#first;
    this.#first = Buffer.alloc(0);
    this.#handler = handler;
    if (first.length > 0) handler.data(first, 0, first.length);
    if (this.#early === undefined) {
      if (!this.#isPaused) this.#body.resume();
    } else if (this.#early.error === undefined) {
      handler.end();
    } else {
      handler.fail(this.#early.error);
    }
  }

  pause(): void {
    this.#isPaused = true;
    this.#body.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#body.resume();
  }

  abort(reason: Error): void {
    this.#body.abort(reason);
  }

  data(bytes: Buffer, start: number, end: number): void {
    if (this.#handler !== undefined) {
      this.#handler.data(bytes, start, end);
      return;
    }
    this.#first = Buffer.concat([this.#first, bytes.subarray(start, end)]);
    this.#onFirst?.();
  }

  end(): void {
    if (this.#handler === undefined) this.#endEarly(undefined);
    else this.#handler.end();
  }

  fail(error: Error): void {
    if (this.#handler === undefined) this.#endEarly(error);
    else this.#handler.fail(error);
  }

  #endEarly(error: Error | undefined): void {
    this.#early = { error };
    this.#onFirst?.();
  }
}
