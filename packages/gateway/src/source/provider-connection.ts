import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { connect, openEvent, type TlsMemory } from './connect.ts';
import {
  CertificateError,
  type ConnectionLimits,
  ConnectTimeoutError,
  type Exchange,
  ResponseTimeoutError,
  type Sending,
  UnsentError,
} from './exchange.ts';
import { asGatewayError, GatewayError } from '@spillway/server/errors';
import { ownCopy } from '@spillway/server/memory/run-memory';
import {
  ResponseCutError,
  ResponseError,
  type ResponseHead,
  type ResponseHandler,
  ResponseReader,
} from './response-reader.ts';

/** A request in HTTP/1.1: its request line with its headers, and the parts of its body in order. */
interface SentRequest {
  readonly head: string;
  readonly body: readonly Buffer[];
}

/** An idle connection is closed after this time, unless its provider's `Keep-Alive` header says another. */
const idleMs = 4000;
/**
 * Idle connections are closed this long before the provider would: a request that crosses the provider's
 * close is lost.
 */
const idleSlackMs = 2000;
const maxIdleMs = 600_000;

/**
 * One connection to a provider, with one request at a time. After the head of a response, its socket is not
 * read until `resume`.
 */
export class ProviderConnection implements ResponseHandler, Sending {
  readonly #socket: Socket;
  readonly #reader: ResponseReader;
  readonly #limits: ConnectionLimits;
  readonly #onFree: (connection: ProviderConnection) => void;
  readonly #onDefect: (error: unknown) => void;
  #exchange: Exchange | undefined;
  /**
   * The first request, until the connection is open. Dropped then: a stream may live long, and its request
   * takes memory.
   */
  #unsent: SentRequest | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isOpen = false;
  /** Part of the request was handed to the socket: whether the provider got any of it cannot be known. */
  #isWritten = false;
  #isSent = false;
  #isAnswered = false;
  #isPaused = false;
  #isPersistent = false;
  /** Bytes after a head that came in the same read. They wait here until `resume`. */
  #rest: Buffer | undefined;
  #idleMs = idleMs;
  #freeUntilMs = 0;

  /**
   * `onFree` is called when the connection can take a request again, `onClose` when it has closed, `onDefect`
   * when an exchange throws.
   */
  constructor(
    origin: URL,
    tls: TlsMemory,
    limits: ConnectionLimits,
    onFree: (connection: ProviderConnection) => void,
    onClose: (connection: ProviderConnection) => void,
    onDefect: (error: unknown) => void,
  ) {
    this.#limits = limits;
    this.#onFree = onFree;
    this.#onDefect = onDefect;
    this.#reader = new ResponseReader(limits.maxHeaderBytes);
    const { connectTimeoutMs } = limits;
    this.#timer = setTimeout(() => {
      this.destroy(new ConnectTimeoutError(`no connection within ${connectTimeoutMs} ms`));
    }, connectTimeoutMs);
    const socket = connect(origin, tls, (bytes, length) => this.#read(bytes, length));
    this.#socket = socket;
    socket.once(openEvent(origin), () => {
      try {
        this.#opened();
      } catch (error) {
        this.destroy(asConnectionError(error));
      }
    });
    socket.on('timeout', () => socket.destroy());
    socket.on('error', (error) => this.#failed(isUntrusted(socket) ? new CertificateError(error) : error));
    socket.on('end', () => this.#ended());
    socket.on('close', () => {
      this.#ended();
      this.#failed(new Error('the connection was closed'));
      onClose(this);
    });
  }

  /**
   * Whether an idle connection can still take a request: the provider is about to close one that was idle for
   * long.
   */
  get isUsable(): boolean {
    return !this.#socket.destroyed && performance.now() < this.#freeUntilMs;
  }

  /** Sends a request; the connection must be new or idle. */
  send(request: SentRequest, exchange: Exchange): void {
    this.#exchange = exchange;
    this.#isWritten = false;
    this.#isSent = false;
    this.#isAnswered = false;
    this.#socket.setTimeout(0);
    if (this.#isOpen) this.#write(request);
    else this.#unsent = request;
  }

  /** Stops reading from the socket. Bytes that were read already may still be handed on. */
  pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest !== undefined) this.#take(rest, 0, rest.length);
    // `#take` may have led to another `pause`.
    if (!this.#isPaused && !this.#socket.destroyed) this.#socket.resume();
  }

  /** Closes the connection at once. Its request fails with the error. */
  destroy(error?: Error): void {
    if (error !== undefined) this.#failed(error);
    this.#socket.destroy();
  }

  onHead(head: ResponseHead): void {
    this.#isAnswered = true;
    // The timer goes on until the whole request is sent: a provider that answers without reading it has no
    // longer than others.
    if (this.#isSent) this.#stopTimer();
    this.#isPersistent = head.isPersistent;
    const seconds = /\btimeout=(\d{1,6})\b/.exec(head.headers['keep-alive']?.toString() ?? '')?.[1];
    this.#idleMs = seconds === undefined ? idleMs : Math.min(maxIdleMs, Number(seconds) * 1000 - idleSlackMs);
    this.#isPaused = true;
    this.#exchange?.onHead(head);
  }

  onBody(bytes: Buffer, start: number, end: number): void {
    this.#exchange?.onBody(bytes, start, end);
  }

  onEnd(): void {
    const exchange = this.#exchange;
    this.#exchange = undefined;
    // A response that came before its whole request was sent: the rest of the request is still queued in the
    // socket.
    if (this.#socket.writableLength > 0) this.#isPersistent = false;
    exchange?.onEnd();
  }

  #opened(): void {
    this.#stopTimer();
    this.#isOpen = true;
    if (this.#unsent !== undefined) this.#write(this.#unsent);
    this.#unsent = undefined;
  }

  #write({ body, head }: SentRequest): void {
    const { responseTimeoutMs } = this.#limits;
    this.#isWritten = true;
    this.#timer = setTimeout(() => {
      this.destroy(
        this.#isAnswered ? unread() : new ResponseTimeoutError(`no response within ${responseTimeoutMs} ms`),
      );
    }, responseTimeoutMs);
    this.#reader.expect();
    const socket = this.#socket;
    const exchange = this.#exchange;
    socket.cork();
    socket.write(head, 'latin1');
    const onSent = (error?: Error | null): void => {
      if (error === null || error === undefined) this.#sent(exchange);
    };
    for (const part of body.slice(0, -1)) socket.write(part);
    socket.write(body.at(-1) ?? '', onSent);
    socket.uncork();
    socket.resume();
  }

  #sent(exchange: Exchange | undefined): void {
    if (exchange === undefined || exchange !== this.#exchange) return;
    this.#isSent = true;
    if (this.#isAnswered) this.#stopTimer();
    exchange.onSent();
  }

  /** Returns whether to go on reading. */
  #read(bytes: Buffer, length: number): boolean {
    this.#take(bytes, 0, length);
    return !this.#isPaused;
  }

  #take(bytes: Buffer, start: number, end: number): void {
    if (this.#reader.isIdle) {
      // No request is under way: these bytes belong to no response.
      this.#socket.destroy();
      return;
    }
    try {
      const at = this.#reader.read(bytes, start, end, this);
      if (this.#reader.isIdle) this.#free(at === end);
      else if (at < end) this.#rest = ownCopy(bytes, at, end);
    } catch (error) {
      this.destroy(asConnectionError(error));
    }
  }

  /** Called when a response was whole: keeps the connection for the next request, or closes it. */
  #free(isAtEnd: boolean): void {
    this.#isPaused = false;
    if (!this.#isPersistent || !isAtEnd || this.#idleMs <= 0) {
      this.#socket.destroy();
      return;
    }
    this.#freeUntilMs = performance.now() + this.#idleMs;
    this.#socket.setTimeout(this.#idleMs);
    this.#socket.resume();
    this.#onFree(this);
  }

  /** The provider has closed the connection. */
  #ended(): void {
    try {
      this.#reader.close(this);
    } catch (error) {
      this.#failed(asConnectionError(error));
    }
    this.#socket.destroy();
  }

  #stopTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #failed(error: Error): void {
    this.#stopTimer();
    const exchange = this.#exchange;
    this.#exchange = undefined;
    // Called from listeners of the socket, where a throw would end the process.
    try {
      exchange?.onError(this.#isWritten ? error : new UnsentError(error));
    } catch (thrown) {
      this.#onDefect(thrown);
    }
  }
}

function isUntrusted(socket: Socket): boolean {
  // `authorizationError` is set when the provider's certificate was checked and refused.
  return socket instanceof TLSSocket && Boolean(socket.authorizationError);
}

/** An error of the provider is kept as it is. Anything else that was thrown is a defect of the gateway. */
function asConnectionError(error: unknown): Error {
  const isProviders = error instanceof ResponseError || error instanceof ResponseCutError;
  return isProviders ? error : asGatewayError(error);
}

function unread(): GatewayError {
  return new GatewayError(
    'upstream_timeout',
    'The provider answered and did not read the whole request in time (responseTimeoutMs).',
  );
}
