import { type IncomingHttpHeaders, validateHeaderName, validateHeaderValue } from 'node:http';
import type { HeldBody } from '../memory/held-body.ts';
import type { Exchange, ReplyPool, Request, Sending } from './exchange.ts';
import { PeekedBody } from './peeked-body.ts';
import type { BodyHandler, ReplyBody } from './reply-body.ts';
import type { ResponseHead } from './response-reader.ts';

/** The methods that are handed on. */
export const methods = ['DELETE', 'GET', 'PATCH', 'POST', 'PUT'] as const;
export type Method = (typeof methods)[number];

/** A request to a provider, complete. */
export interface ProviderRequest {
  readonly method: Method;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: HeldBody | null;
}

/**
 * A provider's reply whose head has come. Its body waits in the provider's socket until somebody
 * consumes it.
 */
export class Reply {
  readonly status: number;
  /** The words behind the status. */
  readonly reason: string;
  /** Whether its body says where it ends: see {@link ResponseHead}. */
  readonly isDelimited: boolean;
  #isDecoded = false;
  #headers: IncomingHttpHeaders;
  readonly #exchange: ReplyExchange;
  #body: ReplyBody;
  /** Its start, once somebody has asked for it. */
  #start: { readonly body: PeekedBody; readonly bytes: Promise<Buffer> } | undefined;

  constructor({ headers, isDelimited, reason, status }: ResponseHead, exchange: ReplyExchange) {
    this.status = status;
    // A piece of a string keeps all of it in memory, here the whole head for as long as a stream lives.
    this.reason = Buffer.from(reason, 'latin1').toString('latin1');
    this.isDelimited = isDelimited;
    this.#headers = headers;
    this.#exchange = exchange;
    this.#body = exchange;
  }

  /** Until somebody consumes the body: a stream may live long. */
  get headers(): IncomingHttpHeaders {
    return this.#headers;
  }

  /** A header's value; where it came twice, the first. */
  header(name: string): string | undefined {
    const value = this.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  /** Stops everything that is done for it, also when its body has come to its end. */
  get signal(): AbortSignal {
    return this.#exchange.signal;
  }

  /** Whether its body has not the length that its head says any more. */
  get isDecoded(): boolean {
    return this.#isDecoded;
  }

  /** Tells whoever asked not to ask again. */
  forbidRetry(): void {
    this.#headers['x-should-retry'] = 'false';
  }

  /** Starts the body. */
  consume(body: BodyHandler): void {
    this.#headers = {};
    this.#body.consume(body);
  }

  /** Looks at the first bytes of its body, before somebody consumes it: see {@link PeekedBody}. */
  first<T>(tell: (bytes: Buffer) => T | undefined, otherwise: T): Promise<T> {
    const peeked = new PeekedBody(this.#body);
    this.#body = peeked;
    return peeked.first(tell, () => otherwise);
  }

  /**
   * Reads the start of the body: all of it, or `maxBytes` and what came together with the last of them, or what comes within
   * `timeoutMs`. Whoever consumes the body gets it all the same. May be called again, for the same, until it is decoded.
   */
  peek(maxBytes: number, timeoutMs: number): Promise<Buffer> {
    if (this.#start === undefined) {
      const body = new PeekedBody(this.#body);
      this.#body = body;
      const tell = (start: Buffer): Buffer | undefined => (start.length >= maxBytes ? start : undefined);
      this.#start = { body, bytes: body.first(tell, (start) => start, timeoutMs) };
    }
    return this.#start.bytes;
  }

  /** Whether the body, whose start was read, has come to its end, as HTTP says it. */
  get isWhole(): boolean {
    return this.#start?.body.isWhole === true;
  }

  /** Puts what undoes codings between its body and whoever will consume it. `header` is what is then left of `Content-Encoding`. */
  async decode(undo: (body: ReplyBody) => Promise<ReplyBody>, header: string): Promise<void> {
    this.#body = await undo(this.#body);
    this.#start = undefined;
    this.#isDecoded = true;
    if (header === '') delete this.#headers['content-encoding'];
    else this.#headers['content-encoding'] = header;
  }

  /** Calls back when the request, whose reply has begun, has left this process. */
  whenSent(callback: () => void): void {
    this.#exchange.whenSent(callback);
  }

  pause(): void {
    this.#body.pause();
  }

  resume(): void {
    this.#body.resume();
  }

  /** Closes the provider's connection, because nobody wants this reply or what is left of it. */
  discard(): void {
    this.abort(new Error('the reply is not wanted'));
  }

  /** Closes the provider's connection; the body handler hears `fail`, unless the body had ended. */
  abort(reason: Error): void {
    this.#body.abort(reason);
  }
}

/**
 * Sends a request and waits for the head of the reply.
 *
 * @throws the signal's reason as soon as it is aborted, and then the connection is closed, in every
 *   phase; the connection's error when there is no reply.
 */
export function sendRequest(pool: ReplyPool, request: ProviderRequest, signal: AbortSignal): Promise<Reply> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const sent = checked(request);
    const exchange = new ReplyExchange(resolve, reject, signal);
    exchange.sending = pool.send(sent, exchange);
  });
}

/** Nothing in it could be two requests, or another's. */
function checked({ body, headers, method, path }: ProviderRequest): Request {
  // With two slashes, or without any, some would read a host in it.
  if (!/^\/(?!\/)[\x21-\x7e]*$/.test(path))
    throw new Error('a path is none, or has a character that no URL has');
  for (const [name, value] of Object.entries(headers)) {
    validateHeaderName(name);
    validateHeaderValue(name, value);
  }
  const parts = body?.parts ?? [];
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const hasLength = length > 0 || method === 'PATCH' || method === 'POST' || method === 'PUT';
  return {
    method,
    path,
    headers: hasLength ? { ...headers, 'content-length': String(length) } : headers,
    body: parts,
  };
}

class ReplyExchange implements Exchange, ReplyBody {
  /** While it is under way. */
  sending: Sending | undefined;
  readonly signal: AbortSignal;
  readonly #resolve: (reply: Reply) => void;
  readonly #reject: (error: Error) => void;
  readonly #onAbort: () => void;
  #handler: BodyHandler | undefined;
  #isSent = false;
  #whenSent: (() => void) | undefined;
  /** How it ended, if that was before anybody consumed it. */
  #early: { readonly error: Error | undefined } | undefined;

  constructor(resolve: (reply: Reply) => void, reject: (error: Error) => void, signal: AbortSignal) {
    this.#resolve = resolve;
    this.#reject = reject;
    this.signal = signal;
    this.#onAbort = () => {
      this.sending?.destroy(signal.reason as Error);
    };
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  consume(handler: BodyHandler): void {
    this.#handler = handler;
    if (this.#early === undefined) this.sending?.resume();
    else if (this.#early.error === undefined) handler.end();
    else handler.fail(this.#early.error);
  }

  pause(): void {
    this.sending?.pause();
  }

  resume(): void {
    this.sending?.resume();
  }

  abort(reason: Error): void {
    this.sending?.destroy(reason);
  }

  whenSent(callback: () => void): void {
    if (this.#isSent) callback();
    else this.#whenSent = callback;
  }

  onSent(): void {
    this.#isSent = true;
    this.#whenSent?.();
    this.#whenSent = undefined;
  }

  onHead(head: ResponseHead): void {
    this.#resolve(new Reply(head, this));
  }

  onBody(bytes: Buffer, start: number, end: number): void {
    this.#handler?.data(bytes, start, end);
  }

  onEnd(): void {
    this.#over();
    if (this.#handler === undefined) this.#early = { error: undefined };
    else this.#handler.end();
  }

  onError(error: Error): void {
    this.#over();
    this.#reject(error);
    if (this.#handler === undefined) this.#early = { error };
    else this.#handler.fail(error);
  }

  #over(): void {
    this.sending = undefined;
    this.signal.removeEventListener('abort', this.#onAbort);
  }
}
