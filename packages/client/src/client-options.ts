import { type Clock, systemClock } from '@spillway/core/clock';
import type { ClientEvent } from './client-event.ts';
import type { WebSocketConstructor } from './connection.ts';
import { ClientError } from './errors.ts';
import type { SessionOptions } from './session-options.ts';

/** What a client can be told. Everything has a default but `url`. */
export interface ClientOptions {
  /**
   * The gateway's address, such as `https://gateway.example`. It may have a path, below which the gateway is. In a page it may be
   * relative, such as `/`; elsewhere (Node, rendering on a server) that is refused.
   */
  readonly url: string;
  /** Sent with every request that does not have them itself, such as `authorization`. Default: none. */
  readonly headers?: HeadersInit;
  /**
   * The window of a stream: how much the gateway sends that is not acknowledged, in bytes; a chunk counts 256 more.
   * What does not fit waits in the gateway, where it is merged. One event that is larger (a picture, at most the gateway's
   * `maxEventBytes`) comes when all of the window is free, and costs all of it. 1024 to 1 073 741 824; default 16 384. A gateway may
   * use a smaller one.
   */
  readonly windowBytes?: number;
  /**
   * The window of the connection, for all its streams together. A stream that nobody reads takes its share of it.
   * 1024 to 1 073 741 824; default 1 048 576, which is 64 streams of 16 KiB.
   */
  readonly connectionWindowBytes?: number;
  /** What an abort, `break` and the body's `cancel` mean for a request: the default `cancel` stops the model. */
  readonly leave?: 'cancel' | 'detach';
  /** For what goes by plain HTTP. Default: the platform's. */
  readonly fetch?: typeof globalThis.fetch;
  /** Default: the platform's. The one of `ws` fits too. */
  readonly WebSocket?: WebSocketConstructor;
  /** Its time and randomness, for tests and simulations. Default: the platform's. */
  readonly clock?: Clock;
  /** How long a WebSocket may take to open before it counts as failed. Minimum 1; default 3000. */
  readonly connectTimeoutMs?: number;
  /**
   * How long the streaming requests of `fetch` go by plain HTTP after a WebSocket could not be opened. Minimum 0; default
   * 60 000. What a client requests or reads by itself has no other way, and always tries.
   */
  readonly fallbackMs?: number;
  /**
   * How long a connection that was open and is lost is tried again before its streams fail; the first one is not tried again; and how long a stream to which nothing comes whole, because
   * each connection is cut in the middle of it. Minimum 0; default 60 000.
   */
  readonly giveUpAfterMs?: number;
  /** How long a connection stays without a stream. Minimum 0; default 30 000, in Node 1000: it keeps a process alive. */
  readonly idleTimeoutMs?: number;
  /** After so much silence a live connection is asked for a sign of life. Minimum 1; default 15 000. */
  readonly pingAfterMs?: number;
  /** Without a sign of life after so long, the connection counts as lost. Minimum 1; default 10 000. */
  readonly pongTimeoutMs?: number;
  /** Called for what happens beside the streams. Default: nothing is called. */
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
