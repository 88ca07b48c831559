import type { EventEmitter } from 'node:events';
import type { ClientHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { Client } from 'undici';
import { Dial, type DialOptions } from './dial.ts';
import type { UndiciCall } from './undici-call.ts';

/** The events of a connection for its pool. */
export interface UndiciConnectionEvents {
  /** The connection is open, and it is known whether it takes one request at a time or many. */
  onOpen(connection: UndiciConnection): void;
  /** The connection can take a request, or its last one has ended. */
  onFree(connection: UndiciConnection): void;
  /** The connection has closed. `error`: why it could not be opened. */
  onClose(connection: UndiciConnection, error: Error | undefined): void;
  onDefect(error: unknown): void;
}

export interface UndiciConnectionOptions extends DialOptions {
  readonly events: UndiciConnectionEvents;
}

/**
 * The window of one HTTP/2 stream: the most unread bytes of a paused reply. It is the initial window of
 * HTTP/2; a larger one serves downloads of files.
 */
const streamWindowBytes = 65_535;
/** A provider with HTTP/2 may say less. */
const maxStreams = 100;
/**
 * How often a connection of HTTP/2 is asked for a sign of life. With no answer until the next time it is over, with all that runs on
 * it: a peer whose machine has vanished says nothing, and Node has given up connections before without a word to anybody.
 */
const pingMs = 30_000;

/**
 * One connection to a provider that undici reads and writes: with one request at a time or, in HTTP/2, with
 * many.
 */
export class UndiciConnection {
  readonly #client: Client;
  readonly #events: UndiciConnectionEvents;
  readonly #calls = new Set<UndiciCall>();
  #dial: Dial | undefined;
  #socket: Socket | undefined;
  #socketError: Error | undefined;
  /** The connection is not open yet, or it is not known yet whether it takes many requests. */
  #isOpening = true;
  #isBusy = false;
  /** The deadline for the provider's settings, which say how many streams it takes. */
  #timer: NodeJS.Timeout | undefined;
  /** The connection takes no new requests. */
  #isClosing = false;
  #isClosed = false;

  constructor(origin: URL, { events, ...options }: UndiciConnectionOptions) {
    this.#events = events;
    this.#client = new Client(origin.origin, {
      connect: (_, callback) => {
        // undici would open a second connection, of which the pool would not know.
        if (this.#dial !== undefined) {
          callback(new Error('the connection was closed'), null);
          return;
        }
        this.#dial = new Dial(origin, options, (error, socket) => {
          if (error === null && socket !== null) {
            this.#connected(socket);
            callback(null, socket);
            if (!this.isHttp2) this.#opened();
            else this.#timer = setTimeout(() => this.#opened(), options.limits.connectTimeoutMs);
          } else {
            const failure = error ?? new Error('no connection');
            // The pool hears of the failure before undici fails the requests: so no other request is sent
            // over this connection.
            this.#closed(failure);
            callback(failure, null);
            this.destroy(failure);
          }
        });
      },
      // undici's timeouts are off: UndiciCall bounds the wait for the head, and the stream bounds silence in
      // the body.
      headersTimeout: 0,
      bodyTimeout: 0,
      maxHeaderSize: options.limits.maxHeaderBytes,
      allowH2: options.transport.http2,
      // undici ignores a window in `h2Options.settings`.
      initialWindowSize: streamWindowBytes,
      h2Options: { maxConcurrentStreams: maxStreams, pingInterval: pingMs },
    });
    this.#client.on('drain', () => {
      this.#isBusy = false;
      if (!this.#isClosing) events.onFree(this);
    });
    // Requests that run over HTTP/2 may still be answered.
    this.#client.on('disconnect', () => {
      this.#isClosing = true;
      if (this.isIdle) this.destroy();
    });
    (this.#client as EventEmitter).on('error', (error: unknown) => events.onDefect(error));
  }

  get isHttp2(): boolean {
    return this.#socket instanceof TLSSocket && this.#socket.alpnProtocol === 'h2';
  }

  /** The first error of the socket, from the system or from TLS. */
  get socketError(): Error | undefined {
    return this.#socketError;
  }

  /** Whether it is still unknown how many requests the connection takes. */
  get isOpening(): boolean {
    return this.#isOpening;
  }

  /** Whether the connection can take a request. */
  get isUsable(): boolean {
    return !this.#isBusy && !this.#isClosing && this.#socket?.destroyed !== true;
  }

  /** Whether the connection has no requests. */
  get isIdle(): boolean {
    return this.#calls.size === 0;
  }

  send(call: UndiciCall): void {
    this.#calls.add(call);
    call.assign(this, () => {
      this.#calls.delete(call);
      if (!this.isIdle || this.#isClosed) return;
      if (this.#isClosing) this.destroy();
      else this.#events.onFree(this);
    });
    if (!this.#client.dispatch(call.request, call)) this.#isBusy = true;
  }

  /**
   * To be called with an opened stream. In HTTP/2 the provider's settings come a moment after the first
   * stream was opened.
   */
  opened({ session }: ClientHttp2Stream): void {
    if (!this.#isOpening || session === undefined) return;
    session.once('remoteSettings', () => this.#opened());
  }

  /** Closes the connection at once. Its requests fail with the error. */
  destroy(error?: Error): void {
    this.#closed(undefined);
    for (const call of this.#calls) call.destroy(error);
    this.#end();
  }

  #end(): void {
    this.#closed(undefined);
    for (const call of this.#calls) call.disconnected();
    this.#dial?.destroy();
    this.#client.destroy(null, () => undefined);
  }

  #connected(socket: Socket): void {
    this.#socket = socket;
    socket.once('error', (error) => (this.#socketError = error));
    socket.once('close', () => {
      this.#isClosing = true;
      // undici hears of the close, too, and fails the running requests first.
      setImmediate(() => this.#end());
    });
  }

  #opened(): void {
    if (!this.#isOpening) return;
    this.#isOpening = false;
    clearTimeout(this.#timer);
    this.#events.onOpen(this);
  }

  #closed(error: Error | undefined): void {
    this.#isClosing = true;
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#isOpening = false;
    clearTimeout(this.#timer);
    this.#events.onClose(this, error);
  }
}
