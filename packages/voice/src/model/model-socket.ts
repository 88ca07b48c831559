import { type Clock, systemClock, type Timer } from '@spillway/core/clock';
import { type ClientOptions, WebSocket } from 'ws';

/** Bytes that a socket may hold: over a minute of telephone audio. A call stops sending audio far earlier. */
const maxBufferedBytes = 1_048_576;
/** How long the other side may take to answer a close frame. */
const closeTimeoutMs = 1000;
/** The most fragments of a message: each costs more memory than its bytes. */
const maxFragments = 1024;

/** WebSocket close codes. */
const normal = 1000;
const unsupported = 1003;
const policy = 1008;

/** What to connect to, and who is told. */
export interface ModelSocketOptions {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly connectTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly maxMessageBytes: number;
  readonly clock: Pick<Clock, 'after'> | undefined;
  readonly onOpen: () => void;
  readonly onText: (text: string) => void;
  /** Whether text also comes in binary messages. Default: those are refused. */
  readonly takesBinary?: boolean;
  /** What the close frame of the other side means, where its codes mean something. Default: `lost`. */
  readonly endOf?: (closeCode: number, reason: string) => { readonly code: string; readonly message: string };
  /** It has ended by itself; called once, and nothing follows. */
  readonly onEnd: (code: string, message: string) => void;
}

/** A connection to a model: text from it, text and bytes to it, bounded both ways, watched, and not read before `read`. */
export class ModelSocket {
  readonly #options: ModelSocketOptions;
  readonly #clock: Pick<Clock, 'after'>;
  readonly #socket: WebSocket;
  readonly #pings = new Map<string, () => void>();
  #lastPing = 0;
  #keepAlive: Timer | undefined;
  #isRead = false;
  #isAlive = true;
  #isOpen = false;
  #isOver = false;
  /** How it ended before it was read. */
  #early: (() => void) | undefined;

  constructor(options: ModelSocketOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    // The types do not know these two yet.
    const socketOptions: ClientOptions & { readonly closeTimeout: number; readonly maxFragments: number } = {
      headers: options.headers,
      handshakeTimeout: options.connectTimeoutMs,
      maxPayload: options.maxMessageBytes,
      maxFragments,
      closeTimeout: closeTimeoutMs,
      // Audio in base64 gets no smaller by what a compressor costs.
      perMessageDeflate: false,
    };
    this.#socket = new WebSocket(options.url, socketOptions);
    this.#attach();
  }

  /** Whether it has ended, or was closed. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Whether the operating system has taken all that was sent. */
  get isEmpty(): boolean {
    return this.#socket.bufferedAmount === 0;
  }

  /** Begins to read. What came before has waited in the connection. */
  read(): void {
    this.#isRead = true;
    if (this.#socket.isPaused) this.#socket.resume();
    // Whoever reads is first done with that.
    if (this.#early !== undefined) queueMicrotask(this.#early);
  }

  /** Reads nothing more, but what it has already, until `resume`. */
  pause(): void {
    if (!this.#isOver && this.#isOpen) this.#socket.pause();
  }

  resume(): void {
    if (this.#isRead && this.#socket.isPaused) this.#socket.resume();
  }

  /**
   * Sends a message: a text as text, bytes as binary. `onSent`: the operating system has taken it, or never will. Without a
   * connection nothing is sent.
   */
  write(message: string | Uint8Array, onSent?: () => void): void {
    if (this.#isOver || !this.#isOpen) return;
    const { bufferedAmount } = this.#socket;
    if (bufferedAmount > maxBufferedBytes)
      this.fail(
        'overflow',
        `Its socket has not taken ${bufferedAmount} bytes; the limit is ${maxBufferedBytes}.`,
        policy,
      );
    else this.#socket.send(message, () => onSent?.());
  }

  /** Sends a ping. `onAnswered`: the other side has what was sent before it. The caller bounds how many are open. */
  ping(onAnswered: () => void): void {
    if (this.#isOver || !this.#isOpen) return;
    const name = String((this.#lastPing += 1));
    this.#pings.set(name, onAnswered);
    this.#socket.ping(name);
  }

  /** Ends it, and tells. */
  fail(code: string, message: string, closeCode = normal): void {
    if (this.#isOver) return;
    this.#shut(closeCode);
    const tell = (): void => this.#options.onEnd(code, message);
    if (this.#isRead) tell();
    else this.#early = tell;
  }

  /** Ends it because it sent what is not understood. */
  refuse(what: string): void {
    this.fail('bad_message', `It sent ${what}.`, policy);
  }

  /** Ends it without a word to who made it. Safe to call twice. */
  close(): void {
    this.#early = undefined;
    if (!this.#isOver) this.#shut(normal);
  }

  #attach(): void {
    const socket = this.#socket;
    socket.on('open', () => {
      if (this.#isOver) return;
      this.#isOpen = true;
      if (!this.#isRead) socket.pause();
      this.#watch();
      this.#options.onOpen();
    });
    socket.on('message', (data, isBinary) => {
      this.#isAlive = true;
      if (this.#isOver) return;
      if (isBinary && !this.#options.takesBinary)
        this.fail('bad_message', 'It sent a binary message; expected text.', unsupported);
      else this.#options.onText((data as Buffer).toString('utf8'));
    });
    socket.on('pong', (data) => {
      this.#isAlive = true;
      this.#answered(data.toString('latin1'));
    });
    socket.on('unexpected-response', (request, { statusCode = 0 }) => {
      const code =
        statusCode === 429 ? 'rate_limited' : [401, 403].includes(statusCode) ? 'unauthorized' : 'refused';
      this.fail(code, `It answered the connection with HTTP status ${statusCode}.`);
      request.destroy();
    });
    socket.on('error', (error: Error & { readonly code?: string }) => {
      const { code = error.name } = error;
      if (code.startsWith('WS_ERR'))
        this.fail('bad_message', `Its messages are not valid: ${error.message}.`);
      else this.fail(this.#isOpen ? 'lost' : 'unreachable', `The connection failed: ${code}.`);
    });
    socket.on('close', (closeCode, reason) => {
      const { code, message } = this.#options.endOf?.(closeCode, reason.toString('utf8')) ?? {
        code: 'lost',
        message: `It closed the connection with code ${closeCode}.`,
      };
      this.fail(code, message);
      socket.removeAllListeners();
      // A late error of a socket that is closed has nobody to be told.
      socket.on('error', () => {});
    });
  }

  /** An answer stands for the pings before it, too: an answer to the last one alone is allowed. */
  #answered(name: string): void {
    if (!this.#pings.has(name)) return;
    for (const [open, onAnswered] of this.#pings) {
      this.#pings.delete(open);
      if (!this.#isOver) onAnswered();
      if (open === name) return;
    }
  }

  /** Looks every `keepAliveMs` whether the other side has given a sign. */
  #watch(): void {
    this.#keepAlive = this.#clock.after(this.#options.keepAliveMs, () => {
      // A paused socket hears nothing.
      if (!this.#isAlive && !this.#socket.isPaused) {
        this.fail('lost', `It gave no sign for ${this.#options.keepAliveMs} ms after a ping.`);
        this.#socket.terminate();
        return;
      }
      this.#isAlive = false;
      this.#socket.ping();
      this.#watch();
    });
  }

  #shut(code: number): void {
    this.#isOver = true;
    this.#keepAlive?.stop();
    this.#pings.clear();
    // A paused socket does not see the answer to its close frame.
    if (this.#socket.isPaused) this.#socket.resume();
    this.#socket.close(code);
  }
}
