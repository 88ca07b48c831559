import { asError } from '../as-error.ts';
import { invalid } from '../invalid.ts';
import { type Clock, systemClock, type Timer } from '../clock.ts';
import { SpillwayError } from '../errors.ts';

/** The part of a socket of the package `ws` that is used: this package imports nothing. */
export interface PausableWebSocket {
  readonly readyState: number;
  readonly binaryType: string;
  pause(): void;
  resume(): void;
  close(code?: number, reason?: string): void;
  terminate(): void;
  on(event: 'close', listener: (code: number, reason: Uint8Array) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'message', listener: (data: unknown, isBinary: boolean) => void): unknown;
  on(event: 'open', listener: () => void): unknown;
  off(event: 'close', listener: (code: number, reason: Uint8Array) => void): unknown;
  off(event: 'error', listener: (error: Error) => void): unknown;
  off(event: 'message', listener: (data: unknown, isBinary: boolean) => void): unknown;
  off(event: 'open', listener: () => void): unknown;
}

/** A message: its bytes, or its text if the peer sent text. */
export type WebSocketMessage = Uint8Array | string;

/** Options for reading the messages of a socket, and bounds on their memory. */
export interface WebSocketSourceOptions<T = WebSocketMessage> {
  /**
   * Makes a chunk from a message. With `undefined` the message is skipped. A throw fails the source. Default: the
   * message itself is the chunk.
   */
  readonly decode?: (message: WebSocketMessage) => T | undefined;
  /**
   * Whether a message is the last one. The source completes after that message, and the socket is closed with 1000.
   * Default: no message is the last one, and any close fails the source.
   */
  readonly isEnd?: (message: WebSocketMessage) => boolean;
  /**
   * Close codes by which the peer says that all was sent, for protocols without a last message; 1005 is a close without
   * a code. Default: none. A lost connection has no code (1006), and never completes a source.
   */
  readonly completeCodes?: readonly number[];
  /**
   * The largest message, in bytes. Minimum 1, default 1 MiB (1,048,576). A larger message fails the source, after the
   * messages before it. By then the socket has received all of the message. To prevent that, give the socket the same
   * bound (`maxPayload`).
   */
  readonly maxMessageBytes?: number;
  /**
   * The most bytes of messages that may come from a socket while it is paused. Minimum 1, default 4 MiB (4,194,304). A
   * paused socket still delivers the bytes that it had read already: without compression one read (64 KiB) and one
   * message. More bytes fail the source.
   */
  readonly maxBufferedBytes?: number;
  /**
   * How long the peer may take to answer a close, in milliseconds; then the connection is cut. Minimum 1, default 5 s
   * (5000).
   */
  readonly closeTimeoutMs?: number;
  /** The clock for `closeTimeoutMs`. Default: the system's. */
  readonly clock?: Pick<Clock, 'after'>;
}

/**
 * The messages of a WebSocket as a source. The socket is paused while no `next` waits, and TCP then makes the peer
 * wait. So messages wait in the channel, and beyond its bound at the peer.
 *
 * The source completes only after a last message (`isEnd`) or with one of the `completeCodes`. Any other close fails
 * the source, also a clean one: only the program knows whether all has come. Earlier messages are handed on first. When
 * the rest is not wanted (the loop is left, the pipe is cancelled), the socket is closed with 1001.
 *
 * For sockets of the package `ws`, of a client or of a server. Call this in the turn in which the socket is made or
 * accepted, because earlier messages are not seen. The platform's `WebSocket`, of browsers and Node, is refused: it
 * cannot be paused, so it could fill the memory.
 *
 * A paused socket does not answer pings, and does not notice that its peer is gone.
 *
 * @throws {SpillwayError} `invalid_option`. The source fails with `source_cut` when the socket was closed before the
 *   end, and with `source_failed` when the socket failed. A message beyond `maxMessageBytes` fails the source with
 *   `event_too_large`, and closes the socket with 1009. More than `maxBufferedBytes` fail the source with
 *   `source_overflow`, and close the socket with 1008. A function of the options that throws closes the socket with
 *   1011.
 * @example
 * ```ts
 * import { WebSocket } from 'ws';
 *
 * const socket = new WebSocket('wss://speech.example/stream', { maxPayload: 1_048_576 });
 * const source = fromWebSocket(socket, {
 *   decode: (message) => (typeof message === 'string' ? undefined : message), // audio
 *   isEnd: (message) => message === '{"type":"done"}',
 * });
 * const options = { maxBytes: 65_536, weigh: (audio: Uint8Array) => audio.byteLength };
 * const end = await pipe(source, options, toNodeWritable(createWriteStream('speech.pcm')));
 * ```
 */
export function fromWebSocket(
  socket: PausableWebSocket,
  options?: WebSocketSourceOptions & { readonly decode?: undefined },
): AsyncIterableIterator<WebSocketMessage, undefined>;
export function fromWebSocket<T>(
  socket: PausableWebSocket,
  options: WebSocketSourceOptions<T> & { readonly decode: (message: WebSocketMessage) => T | undefined },
): AsyncIterableIterator<T, undefined>;
export function fromWebSocket<T>(
  socket: PausableWebSocket,
  options: WebSocketSourceOptions<T> = {},
): AsyncIterableIterator<T, undefined> {
  checkSocket(socket);
  const {
    decode = (message: WebSocketMessage) => message as T,
    isEnd = () => false,
    completeCodes = [],
    maxBufferedBytes = 4_194_304,
    maxMessageBytes = 1_048_576,
    closeTimeoutMs = 5000,
    clock = systemClock,
  } = options;
  for (const [name, value] of Object.entries({ maxBufferedBytes, maxMessageBytes, closeTimeoutMs })) {
    if (!(value >= 1)) throw invalid(`${name}: expected 1 or more, got ${value}.`);
  }
  for (const code of completeCodes) {
    if (!(Number.isInteger(code) && code >= 1000 && code <= 4999) || code === 1006 || code === 1015)
      throw invalid(`completeCodes: expected codes that a peer can send (1000 to 4999, 1005), got ${code}.`);
  }
  return new SocketMessages<T>(socket, {
    decode,
    isEnd,
    completeCodes,
    maxBufferedBytes,
    maxMessageBytes,
    closeTimeoutMs,
    clock,
  });
}

const CONNECTING = 0;
const CLOSED = 3;

interface Waiting<T> {
  readonly resolve: (result: IteratorResult<T, undefined>) => void;
  readonly reject: (error: Error) => void;
}

interface Received {
  readonly bytes: Uint8Array;
  readonly isBinary: boolean;
}

/**
 * ```text
 * socket ──▶ received, while no next waits ──▶ a waiting next     a message is in one of them
 *   ▲                   │
 *   └──── paused while a message is here
 * ```
 */
class SocketMessages<T> implements AsyncIterableIterator<T, undefined> {
  readonly #socket: PausableWebSocket;
  readonly #options: Required<WebSocketSourceOptions<T>>;
  #received: Received[] = [];
  /** The index of the next message in `#received`. */
  #next = 0;
  #receivedBytes = 0;
  #waiting: Waiting<T>[] = [];
  #isPaused = false;
  /** The end, which comes after the received messages. */
  #end: { readonly error: Error | undefined } | undefined;
  #closeTimer: Timer | undefined;

  constructor(socket: PausableWebSocket, options: Required<WebSocketSourceOptions<T>>) {
    this.#socket = socket;
    this.#options = options;
    if (socket.readyState === CLOSED) {
      this.#finish(cut('was closed already'));
      return;
    }
    socket.on('close', this.#onClose);
    socket.on('error', this.#onError);
    socket.on('message', this.#onMessage);
    socket.on('open', this.#onOpen);
    if (socket.readyState !== CONNECTING) this.#pause();
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#serve();
    });
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#drop();
    this.#end = { error: undefined };
    this.#finish(undefined, 1001);
    this.#serve();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Gives the received messages to the waiting calls of `next`, and then the end. */
  #serve(): void {
    while (this.#waiting.length > 0) {
      const message = this.#received[this.#next];
      if (message === undefined) break;
      this.#received[this.#next] = gone;
      this.#next += 1;
      this.#receivedBytes -= message.bytes.length;
      if (this.#next === this.#received.length) this.#drop();
      const chunk = this.#read(message);
      if (chunk !== undefined) this.#waiting.shift()?.resolve({ value: chunk });
    }
    if (this.#waiting.length === 0 || this.#next < this.#received.length) return;
    if (this.#end === undefined) {
      this.#resume();
      return;
    }
    const { error } = this.#end;
    // The error rejects one `next` only.
    this.#end = { error: undefined };
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const [index, { reject, resolve }] of waiting.entries()) {
      if (index === 0 && error !== undefined) reject(error);
      else resolve({ done: true, value: undefined });
    }
  }

  /** Decodes a message; `undefined` if it is skipped. */
  #read({ bytes, isBinary }: Received): T | undefined {
    const { decode, isEnd } = this.#options;
    try {
      const message = isBinary ? owned(bytes) : textDecoder.decode(bytes);
      const isLast = isEnd(message);
      const chunk = decode(message);
      if (isLast) {
        // Messages after the last one are dropped.
        this.#drop();
        this.#finish(undefined, 1000);
      }
      return chunk;
    } catch (error) {
      this.#drop();
      this.#end = undefined;
      this.#finish(asError(error), 1011);
      return undefined;
    }
  }

  #drop(): void {
    this.#received = [];
    this.#next = 0;
    this.#receivedBytes = 0;
  }

  readonly #onOpen = (): void => {
    if (this.#waiting.length === 0) this.#pause();
  };

  readonly #onMessage = (data: unknown, isBinary: boolean): void => {
    const { maxBufferedBytes, maxMessageBytes } = this.#options;
    const bytes = bytesOf(data);
    if (bytes.length > maxMessageBytes) {
      const text = `A message has ${bytes.length} bytes, the limit is ${maxMessageBytes} (maxMessageBytes).`;
      this.#finish(new SpillwayError('event_too_large', text), 1009);
    } else if (this.#receivedBytes + bytes.length > Math.max(maxBufferedBytes, bytes.length)) {
      const text = `A socket that is paused gave ${this.#receivedBytes + bytes.length} bytes, the limit is ${maxBufferedBytes} (maxBufferedBytes).`;
      this.#finish(new SpillwayError('source_overflow', text), 1008);
    } else {
      this.#received.push({ bytes, isBinary });
      this.#receivedBytes += bytes.length;
      if (this.#waiting.length === 0) this.#pause();
    }
    this.#serve();
  };

  readonly #onError = (cause: Error): void => {
    // An error after the end changes nothing. Without a listener it would end the process.
    this.#finish(new SpillwayError('source_failed', `The WebSocket failed: ${cause.message}`, { cause }));
    this.#awaitClose();
    this.#serve();
  };

  readonly #onClose = (code: number, reason: Uint8Array): void => {
    this.#stopListening();
    this.#closeTimer?.stop();
    this.#socket.off('close', this.#onClose);
    this.#socket.off('error', this.#onError);
    const isComplete = this.#options.completeCodes.includes(code);
    const text = textDecoder.decode(reason);
    const said = text === '' ? '' : `, ${JSON.stringify(text)}`;
    this.#finish(isComplete ? undefined : cut(`was closed before its end, with ${code}${said}`));
    this.#serve();
  };

  /**
   * Ends the source; the first end counts. No more messages are taken. With a code, the socket is closed with that
   * code.
   */
  #finish(error: Error | undefined, closeCode?: number): void {
    this.#end ??= { error };
    this.#stopListening();
    if (closeCode === undefined || this.#socket.readyState === CLOSED || this.#closeTimer !== undefined)
      return;
    this.#socket.close(closeCode);
    this.#awaitClose();
  }

  #awaitClose(): void {
    const { clock, closeTimeoutMs } = this.#options;
    this.#closeTimer ??= clock.after(closeTimeoutMs, () => this.#socket.terminate());
    // The peer's close frame comes after all its messages, so they have to be read.
    this.#resume();
  }

  #stopListening(): void {
    this.#socket.off('message', this.#onMessage);
    this.#socket.off('open', this.#onOpen);
  }

  #pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#socket.pause();
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#socket.resume();
  }
}

/** Replaces a message that was taken, so that the message can be collected. */
const gone: Received = { bytes: new Uint8Array(0), isBinary: true };
const textDecoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** The bytes of a message that came in one piece or in several. */
function bytesOf(data: unknown): Uint8Array {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (data instanceof Uint8Array) return data;
  const pieces = data as readonly Uint8Array[];
  const bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/**
 * Copies a message that is a small part of a larger buffer. A chunk may wait for long, and would keep all of the buffer
 * alive.
 */
function owned(bytes: Uint8Array): Uint8Array {
  return bytes.buffer.byteLength > 2 * bytes.length ? new Uint8Array(bytes) : bytes;
}

function checkSocket(socket: unknown): void {
  const expected = 'socket: expected a WebSocket of the package ws';
  if (typeof socket !== 'object' || socket === null) throw invalid(`${expected}, got ${String(socket)}.`);
  const missing = ['pause', 'resume', 'close', 'terminate', 'on', 'off'].filter(
    (name) => typeof (socket as Record<string, unknown>)[name] !== 'function',
  );
  if (missing.length > 0) {
    const why = 'one that cannot be paused, as the socket of a browser, would fill the memory';
    throw invalid(`${expected}, got an object without ${missing.join(', ')}: ${why}.`);
  }
  if ((socket as PausableWebSocket).binaryType === 'blob')
    throw invalid(`${expected} whose binaryType is nodebuffer, arraybuffer or fragments, got blob.`);
}

function cut(how: string): SpillwayError {
  return new SpillwayError('source_cut', `The WebSocket ${how}.`);
}
