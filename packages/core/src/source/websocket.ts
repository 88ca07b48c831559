import { asError } from '../as-error.ts';
import { invalid } from '../invalid.ts';
import { type Clock, systemClock, type Timer } from '../clock.ts';
import { SpillwayError } from '../errors.ts';

/** The part of a socket of the package `ws` that is needed: this package imports nothing. */
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

/** A message: its bytes, or its text if the peer sent it as text. */
export type WebSocketMessage = Uint8Array | string;

/** What the messages of a socket mean, and how much of them may be in memory. */
export interface WebSocketSourceOptions<T = WebSocketMessage> {
  /**
   * Makes a chunk of a message; `undefined`: the message is none, and is left out. What it throws fails the source. Default: a
   * message is a chunk as it is.
   */
  readonly decode?: (message: WebSocketMessage) => T | undefined;
  /**
   * Whether a message is the last one: the source is completed behind it, and the socket closed with 1000. Default: none is, and any
   * close fails the source.
   */
  readonly isEnd?: (message: WebSocketMessage) => boolean;
  /**
   * Close codes with which the peer says that all was sent, where it has no message for that; 1005 is a close without a code.
   * Default: none. A connection that was just lost has no code (1006), and never completes a source.
   */
  readonly completeCodes?: readonly number[];
  /**
   * The largest message, in bytes. Minimum 1, default 1 MiB (1,048,576). A larger one fails the source, behind what came before it. It
   * has been received by then: give the socket the same bound (`maxPayload`), and it is not.
   */
  readonly maxMessageBytes?: number;
  /**
   * The most bytes of messages that may come from a socket while it is paused. Minimum 1, default 4 MiB (4,194,304). It is what
   * the socket had read already, which without compression is one read (64 KiB) and one message. More fails the source.
   */
  readonly maxBufferedBytes?: number;
  /** How long the peer may take to answer when the socket is closed; after that it is cut off. Minimum 1, default 5 s (5000). */
  readonly closeTimeoutMs?: number;
  /** What tells that `closeTimeoutMs` has passed. Default: the system's. */
  readonly clock?: Pick<Clock, 'after'>;
}

/**
 * The messages of a WebSocket as a source. While nobody asks for the next one the socket is paused, and TCP makes the peer
 * wait: what waits, waits in the channel, and beyond its bound at the peer.
 *
 * It completes only behind a message that is the end (`isEnd`) or with a close code that says so (`completeCodes`). Any other close
 * fails it, also a clean one: only the program knows whether all has come. What came before the end is handed on first.
 * When nobody wants the rest (the loop is left, the pipe is cancelled), the socket is closed with 1001.
 *
 * For sockets of the package `ws`, of a client or of a server, in the turn in which they are made or accepted: what came before is
 * not seen. The socket of a browser, which Node has, too, cannot be paused, and is refused: without an end it would fill
 * the memory.
 *
 * A socket that is paused does not answer pings, and does not notice that its peer is gone.
 *
 * @throws {SpillwayError} `invalid_option`. The source fails with `source_cut` when the socket was closed before the end, with
 *   `source_failed` when the socket failed, with `event_too_large` for a message beyond `maxMessageBytes`, and with `source_overflow` for
 *   more than `maxBufferedBytes`; in the last two cases the socket is closed with 1009 and 1008, with 1011 where a function of the options throws.
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
 * socket ──▶ received, while nobody waits ──▶ who waits     a message is in one of them
 *   ▲                   │
 *   └──── paused as long as something is here
 * ```
 */
class SocketMessages<T> implements AsyncIterableIterator<T, undefined> {
  readonly #socket: PausableWebSocket;
  readonly #options: Required<WebSocketSourceOptions<T>>;
  #received: Received[] = [];
  /** Where in `#received` the next one is. */
  #next = 0;
  #receivedBytes = 0;
  #waiting: Waiting<T>[] = [];
  #isPaused = false;
  /** Behind what was received. */
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

  /** Gives to those who wait what there is for them. */
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
    // An error is told once.
    this.#end = { error: undefined };
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const [index, { reject, resolve }] of waiting.entries()) {
      if (index === 0 && error !== undefined) reject(error);
      else resolve({ done: true, value: undefined });
    }
  }

  /** The chunk that a message is; `undefined` if it is none. */
  #read({ bytes, isBinary }: Received): T | undefined {
    const { decode, isEnd } = this.#options;
    try {
      const message = isBinary ? owned(bytes) : textDecoder.decode(bytes);
      const isLast = isEnd(message);
      const chunk = decode(message);
      if (isLast) {
        // What the peer said behind its end counts for nothing.
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
    // Behind the end it interests nobody, but without a listener it would end the process.
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

  /** Nothing more is taken. With a code, the socket is closed with it. The first end counts. */
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
    // The peer's answer is behind all that it has sent.
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

/** In the place of a message that was taken, so that it can be collected. */
const gone: Received = { bytes: new Uint8Array(0), isBinary: true };
const textDecoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** As it came: in one piece, or in those in which it was sent. */
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

/** A message is a part of what was read at once. As a chunk that waits for long, it would keep alive all of that. */
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
