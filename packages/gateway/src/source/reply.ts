import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';

/** The methods that are handed on. */
export const methods = ['DELETE', 'GET', 'PATCH', 'POST', 'PUT'] as const;
export type Method = (typeof methods)[number];

/** A request to a provider, complete. */
export interface ProviderRequest {
  readonly method: Method;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | null;
}

/** Who takes a reply's body. Of `end` and `fail` one is called, once, and nothing after it. */
export interface BodyHandler {
  /** The next bytes. After `pause` a little more may come: what the socket had already read. */
  data(bytes: Buffer): void;
  end(): void;
  fail(error: Error): void;
}

/**
 * A provider's reply whose head has come. Its body waits in the provider's socket until somebody
 * consumes it.
 *
 * This is undici's dispatch interface and not its `request`, because that one puts a stream with
 * buffers of its own between the socket and the channel.
 */
export class Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly #handler: ReplyHandler;

  constructor(status: number, headers: IncomingHttpHeaders, handler: ReplyHandler) {
    this.status = status;
    this.headers = headers;
    this.#handler = handler;
  }

  /** A header's value; where it came twice, the first. */
  header(name: string): string | undefined {
    const value = this.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  /** Starts the body. */
  consume(body: BodyHandler): void {
    this.#handler.start(body);
  }

  pause(): void {
    this.#handler.controller?.pause();
  }

  resume(): void {
    this.#handler.controller?.resume();
  }

  /** Closes the provider's connection, because nobody wants this reply or what is left of it. */
  discard(): void {
    this.abort(new Error('the reply is not wanted'));
  }

  /** Closes the provider's connection; the body handler hears `fail`, unless the body had ended. */
  abort(reason: Error): void {
    this.#handler.controller?.abort(reason);
  }
}

/**
 * Sends a request and waits for the head of the reply.
 *
 * @throws the signal's reason as soon as it is aborted, and then the connection is closed, in every
 *   phase; undici's error when there is no reply.
 */
export function sendRequest(
  dispatcher: Dispatcher,
  request: ProviderRequest,
  signal: AbortSignal,
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const handler = new ReplyHandler(resolve, reject, signal);
    dispatcher.dispatch(request, handler);
  });
}

class ReplyHandler implements Dispatcher.DispatchHandler {
  controller: Dispatcher.DispatchController | undefined;
  readonly #resolve: (reply: Reply) => void;
  readonly #reject: (error: Error) => void;
  readonly #signal: AbortSignal;
  readonly #onAbort: () => void;
  #body: BodyHandler | undefined;
  /** What came before anybody consumed: a provider that closes flushes past a pause. */
  readonly #early: ((body: BodyHandler) => void)[] = [];

  constructor(resolve: (reply: Reply) => void, reject: (error: Error) => void, signal: AbortSignal) {
    this.#resolve = resolve;
    this.#reject = reject;
    this.#signal = signal;
    this.#onAbort = () => {
      // Rejected here too: while it still connects, there is no controller to abort.
      this.#reject(signal.reason as Error);
      this.controller?.abort(signal.reason as Error);
    };
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  start(body: BodyHandler): void {
    this.#body = body;
    for (const deliver of this.#early.splice(0)) deliver(body);
    this.controller?.resume();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.controller = controller;
    if (this.#signal.aborted) controller.abort(this.#signal.reason as Error);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    if (status < 200) return;
    controller.pause();
    this.#resolve(new Reply(status, headers, this));
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#body === undefined) this.#early.push((body) => body.data(chunk));
    else this.#body.data(chunk);
  }

  onResponseEnd(): void {
    this.#release();
    if (this.#body === undefined) this.#early.push((body) => body.end());
    else this.#body.end();
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#release();
    this.#reject(error);
    if (this.#body === undefined) this.#early.push((body) => body.fail(error));
    else this.#body.fail(error);
  }

  #release(): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
  }
}
