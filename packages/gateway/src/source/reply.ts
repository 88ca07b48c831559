import { type IncomingHttpHeaders, validateHeaderName, validateHeaderValue } from 'node:http';
import type { HeldBody } from '../memory/held-body.ts';
import type { Exchange, ReplyPool, Request, Sending } from './exchange.ts';
import { PeekedBody } from './peeked-body.ts';
import type { BodyHandler, ReplyBody } from './reply-body.ts';
import type { ResponseHead } from './response-reader.ts';

/** The HTTP methods that the gateway forwards to a provider. */
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
 * A provider's reply whose head has come. The body waits in the provider's socket until `consume` is called.
 */
export class Reply {
  readonly status: number;
  /** The reason phrase of the status line. */
  readonly reason: string;
  /** Whether the body says where it ends: see {@link ResponseHead}. */
  readonly isDelimited: boolean;
  #isDecoded = false;
  #headers: IncomingHttpHeaders;
  readonly #exchange: ReplyExchange;
  #body: ReplyBody;
  /** The start of the body, once `peek` was called. */
  #start: { readonly body: PeekedBody; readonly bytes: Promise<Buffer> } | undefined;

  constructor({ headers, isDelimited, reason, status }: ResponseHead, exchange: ReplyExchange) {
    this.status = status;
    // A slice of a string keeps the whole string in memory: here the whole head, for as long as the stream
    // lives.
    this.reason = Buffer.from(reason, 'latin1').toString('latin1');
    this.isDelimited = isDelimited;
    this.#headers = headers;
    this.#exchange = exchange;
    this.#body = exchange;
  }

  /** The headers, empty once `consume` was called: a stream may live long, and its headers take memory. */
  get headers(): IncomingHttpHeaders {
    return this.#headers;
  }

  /** A header's value; the first one if the header came several times. */
  header(name: string): string | undefined {
    const value = this.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  /** Aborting this signal stops all work for this reply, also after the body has ended. */
  get signal(): AbortSignal {
    return this.#exchange.signal;
  }

  /** Whether the body was decoded: its length is then no longer the one in the head. */
  get isDecoded(): boolean {
    return this.#isDecoded;
  }

  /** Tells the client's SDK, by a header, not to send the request again. */
  forbidRetry(): void {
    this.#headers['x-should-retry'] = 'false';
  }

  /** Starts reading the body into `body`. */
  consume(body: BodyHandler): void {
    this.#headers = {};
    this.#body.consume(body);
  }

  /** Calls `tell` with the first bytes of the body, before `consume`: see {@link PeekedBody}. */
  first<T>(tell: (bytes: Buffer) => T | undefined, otherwise: T): Promise<T> {
    const peeked = new PeekedBody(this.#body);
    this.#body = peeked;
    return peeked.first(tell, () => otherwise);
  }

  /**
   * Reads the start of the body: until it has `maxBytes` (the last read may bring more), until the body ends,
   * or until `timeoutMs` have passed. `consume` still hands on these bytes. May be called again until
   * `decode` is called; later calls get the bytes of the first.
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

  /** Whether the body ended, whole as HTTP defines it, while `peek` read its start. */
  get isWhole(): boolean {
    return this.#start?.body.isWhole === true;
  }

  /** Whether the body broke off while `peek` read its start. */
  get isCut(): boolean {
    return this.#start?.body.isCut === true;
  }

  /**
   * Replaces the body by the one that `undo` makes of it, decoded. `header` is the new `Content-Encoding`;
   * empty removes it.
   */
  async decode(undo: (body: ReplyBody) => Promise<ReplyBody>, header: string): Promise<void> {
    this.#body = await undo(this.#body);
    this.#start = undefined;
    this.#isDecoded = true;
    if (header === '') delete this.#headers['content-encoding'];
    else this.#headers['content-encoding'] = header;
  }

  /** Calls back when the whole request has left this process: its reply may begin earlier. */
  whenSent(callback: () => void): void {
    this.#exchange.whenSent(callback);
  }

  pause(): void {
    this.#body.pause();
  }

  resume(): void {
    this.#body.resume();
  }

  /** Closes the provider's connection: the reply, or the rest of it, is not needed. */
  discard(): void {
    this.cancel(new Error('the reply is not wanted'));
  }

  /** Closes the provider's connection. The body handler's `fail` is called, unless the body had ended. */
  cancel(reason: Error): void {
    this.#body.cancel(reason);
  }
}

/**
 * Sends a request and waits for the head of the reply.
 *
 * @throws the signal's reason as soon as the signal is aborted; the connection is then closed, in every
 *   phase. The connection's error when there is no reply.
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

/** Checks a request, so that no part of it can be read as a second request or as one for another host. */
function checked({ body, headers, method, path }: ProviderRequest): Request {
  // Some servers read a host in a path that begins with two slashes or with none.
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
  /** The request's connection or stream; `undefined` once the exchange has ended. */
  sending: Sending | undefined;
  readonly signal: AbortSignal;
  readonly #resolve: (reply: Reply) => void;
  readonly #reject: (error: Error) => void;
  readonly #onAbort: () => void;
  #handler: BodyHandler | undefined;
  #isSent = false;
  #whenSent: (() => void) | undefined;
  /** How the body ended, if it ended before `consume`. */
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
    else if (this.#early.error === undefined) handler.complete();
    else handler.fail(this.#early.error);
  }

  pause(): void {
    this.sending?.pause();
  }

  resume(): void {
    this.sending?.resume();
  }

  cancel(reason: Error): void {
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
    else this.#handler.complete();
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
