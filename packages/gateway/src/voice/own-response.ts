import type { Format } from '@spillway/core/format/format';
import type { EventRun } from '@spillway/core/format/sse';
import { asFormatError, type GatewayError } from '@spillway/server/errors';
import type { LargeRun } from '@spillway/server/memory/large-run';
import { holdable } from '@spillway/server/memory/run-memory';
import { Pause } from '@spillway/server/sink/pause';
import type { ReaderProgress, ReaderResponse } from '@spillway/server/sink/reader-response';
import type { ServerClock } from '@spillway/server/time/server-clock';

/** When so many bytes wait here for whoever reads the body, nothing more is taken: with the last write, 36 KiB and an event at most. */
const maxHeldBytes = 4096;
/**
 * How long the end of a stream may take when its body is wanted no more. Who has read the last event of an answer wants no more, and
 * the provider's end comes a moment later: such an answer is whole, and not stopped.
 */
const endWithinMs = 1000;
/** Statuses that have no body. */
const withoutBody = new Set([204, 205, 304]);

export interface OwnResponseOptions {
  readonly clock: Pick<ServerClock, 'soon'>;
  /** The format of errors. */
  readonly errors: Format;
  /** Called when nobody reads any more before all was read. */
  readonly onLeave: () => void;
}

/**
 * The answer to a request that this process asks itself, without a connection: a `Response` as `fetch` gives it. Its body is
 * taken from the stream as it is read, so that who does not read holds the provider back.
 */
export class OwnResponse implements ReaderResponse {
  /** What `fetch` gives. Rejects if there is no answer. */
  readonly answer: Promise<Response>;
  readonly settled: Promise<void>;
  readonly #options: OwnResponseOptions;
  readonly #answered = Promise.withResolvers<Response>();
  readonly #settled = Promise.withResolvers<void>();
  readonly #pause: Pause;
  readonly #pieces: Uint8Array[] = [];
  /** Large events among the pieces. */
  #large: LargeRun[] = [];
  #heldBytes = 0;
  #takenBytes = 0;
  /** Wakes whoever waits for the next piece of the body. */
  #onPiece: (() => void) | undefined;
  #isEventStream = false;
  /** Whether nobody reads any more: what comes is left out. */
  #isLeft = false;
  #isEnded = false;
  #isSettled = false;
  #error: GatewayError | undefined;
  headersSent = false;

  constructor(options: OwnResponseOptions) {
    this.#options = options;
    this.#pause = new Pause(options.clock);
    this.answer = this.#answered.promise;
    // Who has left does not ask what came of it.
    this.answer.catch(() => undefined);
    this.settled = this.#settled.promise;
  }

  get isSettled(): boolean {
    return this.#isSettled;
  }

  get keptBytes(): number {
    return this.#heldBytes;
  }

  get isDelivered(): boolean {
    return this.#isSettled;
  }

  readonly undoesCodings = false;

  get isClosed(): boolean {
    return this.#isSettled || this.#isEnded;
  }

  get isBlocked(): boolean {
    return !this.#isSettled && this.#heldBytes >= maxHeldBytes;
  }

  get isHeldBack(): boolean {
    return this.isBlocked || this.#pause.isTimed;
  }

  readonly acknowledgedTokens = undefined;
  readonly acknowledgedOffset = undefined;

  startEventStream(headers: Readonly<Record<string, string>>): void {
    if (this.headersSent) return;
    this.#isEventStream = true;
    this.start(200, { ...headers, 'content-type': 'text/event-stream; charset=utf-8' });
  }

  start(status: number, headers: Readonly<Record<string, string>>): void {
    if (this.isClosed || this.headersSent) return;
    this.headersSent = true;
    const body = new ReadableStream<Uint8Array>(
      { pull: (controller) => this.#pull(controller), cancel: () => this.#leave() },
      { highWaterMark: 0 },
    );
    this.#answered.resolve(new Response(withoutBody.has(status) ? null : body, { status, headers }));
  }

  write({ bytes }: EventRun): boolean {
    if (!this.isClosed) this.#put(holdable(bytes));
    return !this.isBlocked;
  }

  hold(run: LargeRun): void {
    if (this.#isSettled || this.#isLeft) return;
    run.hold();
    this.#large.push(run);
  }

  flush(): boolean {
    return !this.isBlocked;
  }

  delayMs(): number {
    return 0;
  }

  drained(): Promise<void> {
    return this.isClosed || !this.isBlocked ? Promise.resolve() : this.#pause.wait();
  }

  rest(delayMs: number): Promise<void> {
    return this.isClosed ? Promise.resolve() : this.#pause.wait(delayMs);
  }

  /** Nothing is on the way that could grow tired of silence. */
  ping(): void {}

  complete(): void {
    if (this.isClosed) return;
    this.#isEnded = true;
    this.#onPiece?.();
    if (this.#isLeft) this.#settle();
  }

  fail(error: GatewayError): void {
    if (this.isClosed) return;
    const { errors } = this.#options;
    if (!this.headersSent) {
      const { body, headers } = error.answer(errors);
      this.start(error.status, headers);
      this.#put(body);
    } else if (this.#isEventStream && error.code !== 'upstream_reported') {
      this.#put(Buffer.from(errors.errorEvent(asFormatError(error, undefined))));
    } else if (!this.#isEventStream) {
      // Half of a body was given: only an error shows that the rest is missing.
      this.close(error);
      return;
    }
    this.complete();
  }

  close(error: GatewayError): void {
    if (this.#isSettled) return;
    this.#error = error;
    this.#answered.reject(error);
    this.#settle();
    this.#onPiece?.();
  }

  progress(): ReaderProgress {
    // A caller listens for as long as the answer is: what waits meanwhile is no sign of a reader that is lost.
    return { bytes: this.#takenBytes, isOwed: this.#heldBytes > 0, holdsCredit: true };
  }

  #put(bytes: Uint8Array): void {
    if (this.#isLeft) return;
    this.#pieces.push(bytes);
    this.#heldBytes += bytes.byteLength;
    this.#onPiece?.();
  }

  async #pull(controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> {
    while (this.#pieces.length === 0 && !this.#isEnded && !this.#isSettled) {
      await new Promise<void>((resolve) => (this.#onPiece = resolve));
      this.#onPiece = undefined;
    }
    const piece = this.#pieces.shift();
    if (this.#error !== undefined) controller.error(this.#error);
    else if (piece === undefined) {
      controller.close();
      this.#settle();
    } else {
      this.#heldBytes -= piece.byteLength;
      this.#takenBytes += piece.byteLength;
      controller.enqueue(piece);
      if (this.#pieces.length === 0) this.#releaseLarge();
      if (!this.isBlocked) this.#pause.end();
    }
  }

  #leave(): void {
    if (this.#isSettled) return;
    this.#isLeft = true;
    this.#drop();
    if (this.#isEnded) this.#settle();
    else
      this.#options.clock.soon(endWithinMs, () => {
        if (this.#isSettled) return;
        this.#settle();
        this.#options.onLeave();
      });
  }

  #settle(): void {
    this.#isSettled = true;
    this.#drop();
    this.#settled.resolve();
  }

  #drop(): void {
    this.#pieces.length = 0;
    this.#heldBytes = 0;
    this.#releaseLarge();
    this.#pause.end();
  }

  #releaseLarge(): void {
    for (const run of this.#large) run.release();
    this.#large = [];
  }
}
