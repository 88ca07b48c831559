import type { EventEmitter } from 'node:events';
import type { ClientHttp2Stream } from 'node:http2';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { Client } from 'undici';
import { Dial, type DialOptions } from './dial.ts';
import type { UndiciCall } from './undici-call.ts';

/** What a pool hears of its connection. */
export interface UndiciConnectionEvents {
  /** What it takes is known: one request at a time, or many. */
  onOpen(connection: UndiciConnection): void;
  /** It can take a request, or has none any more. */
  onFree(connection: UndiciConnection): void;
  /** It is over; `error`: it never was one. */
  onClose(connection: UndiciConnection, error: Error | undefined): void;
  onDefect(error: unknown): void;
}

export interface UndiciConnectionOptions extends DialOptions {
  readonly events: UndiciConnectionEvents;
}

/**
 * What one stream of HTTP/2 may send before it is read: what a paused reply has here at most. HTTP's own least; a wide
 * window is for files.
 */
const streamWindowBytes = 65_535;
/** A provider with HTTP/2 may say less. */
const maxStreams = 100;
/**
 * How often a connection of HTTP/2 is asked for a sign of life. With no answer until the next time it is over, with all that runs on
 * it: a peer whose machine has vanished says nothing, and Node has given up connections before without a word to anybody.
 */
const pingMs = 30_000;

/** One connection to a provider, in which undici reads and writes: with one request at a time, or in HTTP/2 with many. */
export class UndiciConnection {
  readonly #client: Client;
  readonly #events: UndiciConnectionEvents;
  readonly #calls = new Set<UndiciCall>();
  #dial: Dial | undefined;
  #socket: Socket | undefined;
  #socketError: Error | undefined;
  /** What it takes is not known yet. */
  #isOpening = true;
  #isBusy = false;
  /** Until then the provider has to say how many streams it takes. */
  #timer: NodeJS.Timeout | undefined;
  /** Takes nothing new. */
  #isClosing = false;
  #isClosed = false;

  constructor(origin: URL, { events, ...options }: UndiciConnectionOptions) {
    this.#events = events;
    this.#client = new Client(origin.origin, {
      connect: (_, callback) => {
        // undici would make another one, of which nobody knew.
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
            // Told before undici tells those that wait for it: then nothing else is sent over it.
            this.#closed(failure);
            callback(failure, null);
            this.destroy(failure);
          }
        });
      },
      // Of who awaits an answer, and of who reads, others look at the clock.
      headersTimeout: 0,
      bodyTimeout: 0,
      maxHeaderSize: options.limits.maxHeaderBytes,
      allowH2: options.transport.http2,
      // What `h2Options.settings` says of the window is not looked at.
      initialWindowSize: streamWindowBytes,
      h2Options: { maxConcurrentStreams: maxStreams, pingInterval: pingMs },
    });
    this.#client.on('drain', () => {
      this.#isBusy = false;
      if (!this.#isClosing) events.onFree(this);
    });
    // In HTTP/2 what runs may still be answered.
    this.#client.on('disconnect', () => {
      this.#isClosing = true;
      if (this.isIdle) this.destroy();
    });
    (this.#client as EventEmitter).on('error', (error: unknown) => events.onDefect(error));
  }

  get isHttp2(): boolean {
    return this.#socket instanceof TLSSocket && this.#socket.alpnProtocol === 'h2';
  }

  /** What the system or TLS said first of its connection. */
  get socketError(): Error | undefined {
    return this.#socketError;
  }

  /** Whether it is not known yet what it takes. */
  get isOpening(): boolean {
    return this.#isOpening;
  }

  /** Whether it can take a request. */
  get isUsable(): boolean {
    return !this.#isBusy && !this.#isClosing && this.#socket?.destroyed !== true;
  }

  /** Whether nobody waits for anything of it. */
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

  /** The provider says how many streams it takes, in HTTP/2 a moment after the first was opened. */
  opened({ session }: ClientHttp2Stream): void {
    if (!this.#isOpening || session === undefined) return;
    session.once('remoteSettings', () => this.#opened());
  }

  /** Closes it at once. Requests that run on it fail with the error. */
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
      // undici hears of it, too, and tells those that run.
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
