import type { ServerResponse } from 'node:http';
import type { Format } from '@spillway/core/format/format';
import { errorHeaders, type GatewayError } from '../errors.ts';
import type { Pace } from './pace.ts';
import type { Paces } from './paces.ts';

const ping = Buffer.from(': ping\n\n');

/** Headers that keep proxies from buffering, caching or compressing an event stream. */
const unbuffered = {
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const;

/**
 * The response to one client. It knows what was sent already, and so in which way an error can still
 * be told: as a status with a body, as an event, or by cutting the connection.
 */
export class ClientResponse {
  /** Resolves when the connection has taken everything, or is gone. */
  readonly settled: Promise<void>;
  readonly #response: ServerResponse;
  readonly #format: Format;
  readonly #pace: Pace | undefined;
  #isEventStream = false;
  #isSettled = false;
  /** Waits for the connection, or for its link. */
  #drained: PromiseWithResolvers<void> | undefined;
  #restTimer: NodeJS.Timeout | undefined;

  /** Errors are told in the format. `onLeave` is called when the client leaves before it got everything. */
  constructor(response: ServerResponse, format: Format, paces: Paces, onLeave: () => void) {
    this.#response = response;
    this.#format = format;
    const { socket } = response;
    this.#pace = socket === null ? undefined : paces.of(socket);
    // Listeners for the whole response, not for each wait; a close ends a wait as a drain does.
    const onDrain = (): void => this.#resume();
    // A client that closes its sending half has left: no HTTP client of a model half-closes.
    const onHalfClosed = (): void => {
      if (this.#isSettled) return;
      onLeave();
      response.destroy();
    };
    const settled = Promise.withResolvers<void>();
    const settle = (): void => {
      if (this.#isSettled) return;
      this.#isSettled = true;
      socket?.off('end', onHalfClosed);
      onDrain();
      settled.resolve();
      if (!response.writableFinished) onLeave();
    };
    this.settled = settled.promise;
    response.on('drain', onDrain);
    response.on('finish', settle);
    response.on('close', settle);
    socket?.on('end', onHalfClosed);
  }

  /** The connection has taken everything, or is gone. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  get headersSent(): boolean {
    return this.#response.headersSent;
  }

  /** Nothing more can be written: the connection is gone, or the end was. */
  get isClosed(): boolean {
    return this.#response.destroyed || this.#response.writableEnded;
  }

  /** Bytes wait for the connection: it takes no more at the moment. */
  get isBlocked(): boolean {
    return this.#response.writableNeedDrain;
  }

  startEventStream(headers: Readonly<Record<string, string>> = {}): void {
    if (this.#response.headersSent || this.isClosed) return;
    this.#isEventStream = true;
    this.#response.writeHead(200, {
      ...headers,
      'content-type': 'text/event-stream; charset=utf-8',
      ...unbuffered,
    });
  }

  /** Starts a body of whatever kind, of which nothing is known but its headers. */
  start(status: number, headers: Readonly<Record<string, string>>): void {
    if (this.isClosed) return;
    const isEvents = headers['content-type']?.toLowerCase().startsWith('text/event-stream') === true;
    this.#response.writeHead(status, isEvents ? { ...headers, ...unbuffered } : headers);
  }

  /** Writes, and says whether the connection wants more; if not, wait for `drained`. */
  write(bytes: Uint8Array): boolean {
    if (this.isClosed) return true;
    const wantsMore = this.#response.write(bytes);
    this.#pace?.wrote(performance.now(), this.#writtenBytes);
    return wantsMore;
  }

  /** How long the connection's link should be left alone before the next write; 0: write now. */
  delayMs(): number {
    return this.isClosed ? 0 : (this.#pace?.delayMs(performance.now()) ?? 0);
  }

  /** Resolves when the connection has taken what was written, or is gone. */
  drained(): Promise<void> {
    if (this.isClosed || !this.isBlocked) return Promise.resolve();
    this.#drained ??= Promise.withResolvers<void>();
    return this.#drained.promise;
  }

  /** Resolves after that time, or when the connection is gone. Not while it is blocked. */
  rest(delayMs: number): Promise<void> {
    if (this.isClosed) return Promise.resolve();
    this.#drained ??= Promise.withResolvers<void>();
    this.#restTimer = setTimeout(() => this.#resume(), delayMs);
    return this.#drained.promise;
  }

  #resume(): void {
    clearTimeout(this.#restTimer);
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  /** A comment, which readers skip. Only between events, so only while nothing is being written. */
  ping(): void {
    this.startEventStream();
    this.write(ping);
  }

  end(): void {
    if (!this.isClosed) this.#response.end();
  }

  /** Tells the client of an error in the way that is still open. */
  fail(error: GatewayError): void {
    if (this.isClosed) return;
    if (!this.#response.headersSent) {
      const body = this.#format.errorBody(error);
      this.#response.writeHead(error.status, {
        ...errorHeaders(error),
        'content-length': Buffer.byteLength(body),
      });
      this.#response.end(body);
    } else if (this.#isEventStream) {
      this.#response.end(this.#format.errorEvent(error));
    } else {
      // Half a body was sent: only a cut tells that the rest is missing.
      this.#response.destroy();
    }
  }

  /** Cuts the connection, with what still waits for it. */
  destroy(): void {
    this.#response.destroy();
  }

  /** The bytes that left this process, as far as it can tell. */
  get flushedBytes(): number {
    const socket = this.#response.socket;
    return socket === null ? 0 : socket.bytesWritten - socket.writableLength;
  }

  /**
   * The connection's bytes so far. Node keeps what is written until the end of the turn in the response, where
   * the socket's own count does not see it.
   */
  get #writtenBytes(): number {
    const { socket, writableLength } = this.#response;
    return socket === null ? 0 : socket.bytesWritten + writableLength - socket.writableLength;
  }

  get socket(): ServerResponse['socket'] {
    return this.#response.socket;
  }
}
