import { GrowingBytes } from './growing-bytes.ts';
import type { BodyHandler, ReplyBody } from './reply-body.ts';

/** A body whose first bytes can be read before `consume`. `consume` hands on those bytes first. */
export class PeekedBody implements ReplyBody, BodyHandler {
  readonly #body: ReplyBody;
  #first: GrowingBytes | undefined = new GrowingBytes(Infinity);
  /** Called when bytes came or the body ended. */
  #onFirst: (() => void) | undefined;
  #handler: BodyHandler | undefined;
  #isPaused = false;
  /** How the body ended, if it ended before `consume`. */
  #early: { readonly error: Error | undefined } | undefined;

  constructor(body: ReplyBody) {
    this.#body = body;
  }

  /** Whether the body ended before `consume`, whole as HTTP defines it. */
  get isWhole(): boolean {
    return this.#early !== undefined && this.#early.error === undefined;
  }

  /** Whether the body broke off before `consume`. */
  get isCut(): boolean {
    return this.#early?.error !== undefined;
  }

  /**
   * Reads until `tell` answers something for the bytes so far, and no further. Answers `otherwise` if the
   * body ends first, or after `timeoutMs`. To be called once, before `consume`. `tell` bounds the memory: all
   * bytes are kept until it answers.
   */
  first<T>(
    tell: (bytes: Buffer) => T | undefined,
    otherwise: (bytes: Buffer) => T,
    timeoutMs?: number,
  ): Promise<T> {
    return new Promise((resolve) => {
      let timer: NodeJS.Timeout | undefined;
      const settle = (told: T): void => {
        clearTimeout(timer);
        this.#onFirst = undefined;
        this.#body.pause();
        resolve(told);
      };
      const held = (): Buffer => this.#first?.bytes ?? Buffer.alloc(0);
      this.#onFirst = () => {
        const told = tell(held());
        if (told !== undefined) settle(told);
        else if (this.#early !== undefined) settle(otherwise(held()));
      };
      if (timeoutMs !== undefined) timer = setTimeout(() => settle(otherwise(held())), timeoutMs);
      this.#body.consume(this);
    });
  }

  consume(handler: BodyHandler): void {
    const first = this.#first?.bytes;
    this.#first = undefined;
    this.#handler = handler;
    if (first !== undefined && first.length > 0) handler.data(first, 0, first.length);
    if (this.#early === undefined) {
      if (!this.#isPaused) this.#body.resume();
    } else if (this.#early.error === undefined) {
      handler.complete();
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

  cancel(reason: Error): void {
    this.#body.cancel(reason);
  }

  data(bytes: Buffer, start: number, end: number): void {
    if (this.#handler !== undefined) {
      this.#handler.data(bytes, start, end);
      return;
    }
    this.#first?.add(bytes.subarray(start, end));
    this.#onFirst?.();
  }

  complete(): void {
    if (this.#handler === undefined) this.#endEarly(undefined);
    else this.#handler.complete();
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
