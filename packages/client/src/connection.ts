import type { Clock, Timer } from '@spillway/core/clock';
import {
  type ClientFrame,
  closeCodes,
  type DataFrame,
  decodeData,
  type GatewayFrame,
  subprotocol,
} from '@spillway/core/session';
import { parseFrame } from './parse-frame.ts';

/** The part of a WebSocket that the client uses. The WebSockets of browsers, Node and `ws` all have it. */
export interface WebSocketLike {
  binaryType: string;
  readonly protocol: string;
  readonly bufferedAmount: number;
  send(data: string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: string, listener: (event: WebSocketEventLike) => void): void;
}

/** The part of a WebSocket's events that the client uses. */
interface WebSocketEventLike {
  readonly type: string;
  readonly data?: unknown;
  readonly code?: number;
  readonly reason?: string;
}

/** A class of WebSockets: the platform's, or another one's with the same interface. */
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

/** The contents of the gateway's `open` frame. */
export interface Limits {
  readonly maxStreams: number;
  readonly maxMessageBytes: number;
  /** The session's name; older gateways have none. */
  readonly session?: string | undefined;
  /** Whether the gateway knows windows in milliseconds; older gateways do not. */
  readonly ms?: boolean | undefined;
}

/** A frame that belongs to one stream. */
export type StreamFrame = Exclude<GatewayFrame, { readonly type: 'open' | 'pong' }>;

export interface ConnectionOptions {
  readonly WebSocket: WebSocketConstructor;
  readonly clock: Clock;
  readonly url: string;
  readonly windowBytes: number;
  readonly connectTimeoutMs: number;
  readonly pingAfterMs: number;
  readonly pongTimeoutMs: number;
}

export interface ConnectionListener {
  opened(limits: Limits): void;
  frame(frame: StreamFrame): void;
  data(frame: DataFrame): void;
  /** Called when one more ping was answered. */
  ponged(): void;
  /** Called when the connection is gone; nothing else is called afterwards. */
  closed(code: number, reason: string): void;
  /** Called when the gateway breaks the protocol; nothing else is called afterwards. */
  garbled(): void;
}

// Acks wait while more bytes than this wait in the socket: an ack would only make the queue longer.
const congestedBytes = 65_536;

const closeTimeoutMs = 1000;

/** Not a code of a close frame: the connection was lost, or dropped by this client. */
const lostCode = 1006;

/** One WebSocket, from its opening to its loss. A lost connection never comes back: the session opens another one. */
export class Connection {
  readonly #socket: WebSocketLike;
  readonly #options: ConnectionOptions;
  readonly #listener: ConnectionListener;
  #isOpen = false;
  #isOver = false;
  #isWatched = false;
  #isPinged = false;
  #pings = 0;
  #pongs = 0;
  #heardAt = 0;
  #timer: Timer | undefined;

  constructor(options: ConnectionOptions, listener: ConnectionListener) {
    this.#options = options;
    this.#listener = listener;
    const socket = new options.WebSocket(options.url, [subprotocol]);
    this.#socket = socket;
    socket.binaryType = 'arraybuffer';
    socket.addEventListener('open', () => this.#onOpen());
    socket.addEventListener('message', ({ data }) => this.#onMessage(data));
    // The close event that follows has the reason. Without a listener, `ws` would throw.
    socket.addEventListener('error', () => {});
    socket.addEventListener('close', ({ code = lostCode, reason = '' }) => {
      if (this.#isOver) return;
      this.#stop();
      listener.closed(code, reason);
    });
    this.#timer = options.clock.after(options.connectTimeoutMs, () =>
      this.closeAsLost('it did not open in time'),
    );
  }

  get isCongested(): boolean {
    return this.#socket.bufferedAmount > congestedBytes;
  }

  /**
   * The number of answered pings. Pings are answered in order, after everything that the gateway had to send before.
   */
  get pongs(): number {
    return this.#pongs;
  }

  /** Sends a ping. Returns the number of `pongs` once this ping is answered. */
  ping(): number {
    this.send({ type: 'ping' });
    return ++this.#pings;
  }

  send(frame: ClientFrame): void {
    this.sendText(JSON.stringify(frame));
  }

  sendText(text: string): void {
    if (!this.#isOver) this.#socket.send(text);
  }

  /** Sets whether silence is answered with a ping: only while a stream waits for something. */
  watch(isWatched: boolean): void {
    if (this.#isWatched === isWatched) return;
    this.#isWatched = isWatched;
    if (!this.#isOpen) return;
    this.#timer?.stop();
    this.#isPinged = false;
    if (isWatched) this.#listen(this.#options.pingAfterMs);
  }

  /** Sends a ping now, unless one is unanswered. */
  probe(): void {
    if (!this.#isOpen || !this.#isWatched || this.#isPinged) return;
    this.#timer?.stop();
    this.#ping();
  }

  /** Drops the connection as if it had been lost: a peer that has vanished would not answer a close frame. */
  closeAsLost(reason: string): void {
    if (this.#isOver) return;
    this.#stop();
    this.#socket.close();
    this.#listener.closed(lostCode, reason);
  }

  /** Ends the connection because the gateway breaks the protocol. */
  closeAsInvalid(): void {
    this.#stop();
    this.#socket.close(closeCodes.bad_frame, 'bad_frame');
    this.#listener.garbled();
  }

  /**
   * Closes the connection in order, and waits at most 1 s for the gateway's answer. The listener is not called any
   * more.
   */
  close(): Promise<void> {
    this.#stop();
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(closeTimeoutMs, resolve);
      this.#socket.addEventListener('close', () => {
        timer.stop();
        resolve();
      });
      this.#socket.close(1000);
    });
  }

  #onOpen(): void {
    if (this.#isOver) return;
    if (this.#socket.protocol !== subprotocol) {
      this.closeAsLost(`it does not speak ${subprotocol}`);
      return;
    }
    this.send({ type: 'open', windowBytes: this.#options.windowBytes });
  }

  #onMessage(message: unknown): void {
    if (this.#isOver) return;
    this.#heardAt = this.#options.clock.nowMs();
    if (typeof message === 'string') this.#onText(message);
    else this.#onData(message);
  }

  #onText(message: string): void {
    const frame = parseFrame(message);
    if (frame === undefined || (frame.type === 'open') === this.#isOpen) this.closeAsInvalid();
    else if (frame.type === 'open') this.#opened(frame);
    else if (frame.type !== 'pong') this.#listener.frame(frame);
    else this.#onPong();
  }

  #onPong(): void {
    this.#pongs += 1;
    this.#listener.ponged();
  }

  #onData(message: unknown): void {
    const frame = message instanceof ArrayBuffer ? decodeData(message) : undefined;
    if (frame === undefined || !this.#isOpen) this.closeAsInvalid();
    else this.#listener.data(frame);
  }

  #opened(limits: Limits): void {
    this.#timer?.stop();
    this.#isOpen = true;
    if (this.#isWatched) this.#listen(this.#options.pingAfterMs);
    this.#listener.opened(limits);
  }

  /**
   * Starts the timer for the next ping. A message does not reset the timer: when the timer fires, it looks at when the
   * last message came.
   */
  #listen(ms: number): void {
    this.#timer = this.#options.clock.after(ms, () => {
      const leftMs = this.#heardAt + this.#options.pingAfterMs - this.#options.clock.nowMs();
      if (leftMs > 1) this.#listen(leftMs);
      else this.#ping();
    });
  }

  #ping(): void {
    const pingedAt = this.#options.clock.nowMs();
    this.#isPinged = true;
    this.ping();
    this.#timer = this.#options.clock.after(this.#options.pongTimeoutMs, () => {
      this.#isPinged = false;
      if (this.#heardAt >= pingedAt) this.#listen(this.#options.pingAfterMs);
      else this.closeAsLost('no sign of life');
    });
  }

  #stop(): void {
    this.#isOver = true;
    this.#timer?.stop();
  }
}
