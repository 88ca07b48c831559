import { type Clock, systemClock } from '@spillway/core/clock';
import type { ClientEvent } from './client-event.ts';
import type { WebSocketConstructor } from './connection.ts';
import { ClientError } from './errors.ts';
import type { SessionOptions } from './session-options.ts';

/** The options of a client. Everything has a default but `url`. */
export interface ClientOptions {
  /**
   * The gateway's address, such as `https://gateway.example`. It may have a path, below which the gateway is. In a page
   * the address may be relative, such as `/`; elsewhere (Node, rendering on a server) a relative address is refused.
   */
  readonly url: string;
  /** Headers sent with every request that does not have them itself, such as `authorization`. Default: none. */
  readonly headers?: HeadersInit;
  /**
   * The window of a stream: the bytes that the gateway may send before they are acknowledged; each chunk counts 256
   * more. Chunks that do not fit wait in the gateway, where they are merged. One event that is larger (a picture, at
   * most the gateway's `maxEventBytes`) comes when all of the window is free, and takes all of it. 1024 to 1 073 741
   * 824; default 16 384. A gateway may use a smaller window.
   */
  readonly windowBytes?: number;
  /**
   * The window of the connection, in bytes, for all its streams together. A stream that nobody reads takes its share of
   * this window. 1024 to 1 073 741 824; default 1 048 576, which is 64 streams of 16 KiB.
   */
  readonly connectionWindowBytes?: number;
  /** The meaning of an abort, `break` and the body's `cancel` for a request: the default `cancel` stops the model. */
  readonly leave?: 'cancel' | 'detach';
  /** The `fetch` for requests by plain HTTP. Default: the platform's. */
  readonly fetch?: typeof globalThis.fetch;
  /** The class of WebSockets. Default: the platform's. The class of `ws` fits too. */
  readonly WebSocket?: WebSocketConstructor;
  /** Time and randomness, for tests and simulations. Default: the platform's. */
  readonly clock?: Clock;
  /** How long a WebSocket may take to open before the attempt fails, in milliseconds. Minimum 1; default 3000. */
  readonly connectTimeoutMs?: number;
  /**
   * How long the streaming requests of `fetch` go by plain HTTP after a WebSocket could not be opened, in milliseconds.
   * Minimum 0; default 60 000. A client's `request` and `read` cannot go by HTTP, and always try.
   */
  readonly fallbackMs?: number;
  /**
   * How long a lost connection is tried again before its streams fail, in milliseconds. A connection that never opened
   * is not tried again. Also how long a stream may get nothing because each connection is cut in the middle of an
   * event. Minimum 0; default 60 000.
   */
  readonly giveUpAfterMs?: number;
  /**
   * How long a connection without streams stays open, in milliseconds. Minimum 0; default 30 000, in Node 1000, because
   * a connection keeps a process alive.
   */
  readonly idleTimeoutMs?: number;
  /** After this long a silence a connection with streams is pinged, in milliseconds. Minimum 1; default 15 000. */
  readonly pingAfterMs?: number;
  /**
   * When nothing comes for this long after a ping, the connection counts as lost, in milliseconds. Minimum 1; default
   * 10 000.
   */
  readonly pongTimeoutMs?: number;
  /** Called for events beside the streams. Default: nothing is called. */
  readonly onEvent?: (event: ClientEvent) => void;
}

const minWindowBytes = 1024;
const maxWindowBytes = 1_073_741_824;
const maxTimeoutMs = 2_147_483_647;

/** @throws {ClientError} `invalid_option` */
export function checkWindow(name: string, bytes: number): number {
  return checkNumber(name, bytes, minWindowBytes, maxWindowBytes);
}

/** @throws {ClientError} `invalid_option` */
export function checkOptions(options: Omit<ClientOptions, 'url'>): void {
  checkWindow('windowBytes', options.windowBytes ?? minWindowBytes);
  resolveSessionOptions(options, '');
}

/** @throws {ClientError} `invalid_option` */
export function resolveSessionOptions(
  options: Omit<ClientOptions, 'url'>,
  sessionUrl: string,
): SessionOptions {
  const timeout = (name: keyof typeof options & `${string}Ms`, least: number, standard: number): number =>
    checkNumber(name, options[name] ?? standard, least, maxTimeoutMs);
  return {
    url: sessionUrl,
    WebSocket: options.WebSocket ?? globalThis.WebSocket,
    clock: options.clock ?? systemClock,
    windowBytes: checkWindow('connectionWindowBytes', options.connectionWindowBytes ?? 1_048_576),
    connectTimeoutMs: timeout('connectTimeoutMs', 1, 3000),
    fallbackMs: timeout('fallbackMs', 0, 60_000),
    giveUpAfterMs: timeout('giveUpAfterMs', 0, 60_000),
    idleTimeoutMs: timeout('idleTimeoutMs', 0, 'process' in globalThis ? 1000 : 30_000),
    pingAfterMs: timeout('pingAfterMs', 1, 15_000),
    pongTimeoutMs: timeout('pongTimeoutMs', 1, 10_000),
    onEvent: options.onEvent,
  };
}

/** @throws {ClientError} `invalid_option` */
export function checkNumber(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new ClientError(
    'invalid_option',
    `${name}: expected a whole number from ${least} to ${most}, got ${value}.`,
  );
}
