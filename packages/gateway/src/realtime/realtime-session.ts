import type { Clock } from '@spillway/core/clock';
import type { TokenUsage } from '@spillway/core/format/format';
import { openaiChat } from '@spillway/core/format/openai-chat';
import { asFormatError } from '@spillway/server/errors';
import type { LimitError } from '@spillway/server/limit/limit-error';
import type { BodyHold } from '@spillway/server/memory/request-memory';
import type { TappedConversation } from '@spillway/server/tap/tapped-conversation';
import type { Links } from '@spillway/server/sink/link';
import type { Config } from '../config/schema.ts';
import {
  type DirectionFigures,
  type RealtimeEndReason,
  type RealtimeSide,
  realtimeSides,
} from '../telemetry/realtime-end.ts';
import { RealtimeRecord } from './realtime-record.ts';
import type { RealtimeSocket } from './realtime-socket.ts';
import { eventTypeOf } from './event-type.ts';
import { RealtimeUsage } from './realtime-usage.ts';
import { RelayedDirection } from './relayed-direction.ts';

export interface RealtimeSessionOptions {
  readonly client: RealtimeSocket;
  readonly provider: RealtimeSocket;
  readonly config: Pick<Config, 'keepAliveMs' | 'maxDurationMs' | 'stallTimeoutMs' | 'windowBytes'>;
  readonly clock: Pick<Clock, 'after' | 'nowMs'>;
  readonly links: Pick<Links, 'name' | 'watch'>;
  /** What becomes of the client's messages of text before the provider gets them. Default: they go as they came. */
  readonly edit?: ((message: Buffer) => Buffer) | undefined;
  /** Room for large messages, of both directions. */
  readonly hold: Pick<BodyHold, 'grow' | 'shrink'>;
  /** Writes it down, for taps; `undefined`: none reads it. */
  readonly conversation: TappedConversation | undefined;
  /** The provider has reported more, or has ended an answer without a report; it is so much now, in all. */
  readonly onUsed: (total: TokenUsage) => void;
  /** It has ended, and both sides are being told. Called once. `limit`: what ended it, where a limit did. */
  readonly onEnd: (reason: RealtimeEndReason, limit?: LimitError) => void;
  /** Both connections are gone. Called once, after `onEnd`. */
  readonly onOver: () => void;
}

/** WebSocket close codes. */
const codes = {
  none: 1005,
  lost: 1006,
  goingAway: 1001,
  protocol: 1002,
  policy: 1008,
  failed: 1011,
  tryAgain: 1013,
} as const;
/** What `ws` tells a side by itself of a message that is not valid. All else is 1002. */
const invalidCodes: Readonly<Record<string, number>> = {
  WS_ERR_INVALID_UTF8: 1007,
  WS_ERR_TOO_MANY_BUFFERED_PARTS: 1008,
  WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH: 1009,
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: 1009,
};
/** What a client is told of a provider that has not closed. */
const providerFailures: Readonly<Partial<Record<RealtimeEndReason, string>>> = {
  provider_invalid: 'The provider sent what is no valid message.',
  provider_lost: 'The connection to the provider was lost.',
};
/** How long the sides of a stopping gateway may take to answer a close frame. */
const stopMs = 1000;

/** What one side has shown of being alive. */
interface Side extends RealtimeSocket {
  /** Whether it has given a sign since the last ping. */
  isAlive: boolean;
  /** When a ping was sent, or when it could last not be answered; and what was sent before it. */
  pingedMs: number;
  pingOffset: number;
  /** What has left for it, and when that grew last, or nothing waited. */
  leftBytes: number;
  leftMs: number;
  isClosed: boolean;
}

/** A conversation of a client with a realtime model: two sockets, and what is relayed between them. */
export class RealtimeSession {
  readonly #options: RealtimeSessionOptions;
  readonly #startedMs: number;
  readonly #usage = new RealtimeUsage();
  readonly #sides: Readonly<Record<RealtimeSide, Side>>;
  /** By the side that gets it. */
  readonly #directions: Readonly<Record<RealtimeSide, RelayedDirection>>;
  readonly #record: RealtimeRecord | undefined;
  readonly #endRelease: (() => void) | undefined;
  #hasEnded = false;
  #closeCode: number | undefined;

  /** Begins to relay. Both sockets are paused until now. */
  constructor(options: RealtimeSessionOptions) {
    this.#options = options;
    const { client, clock, conversation, provider } = options;
    this.#record = conversation && new RealtimeRecord(conversation);
    this.#startedMs = clock.nowMs();
    this.#sides = { client: this.#side(client), provider: this.#side(provider) };
    this.#directions = {
      provider: this.#direction(client, provider, (bytes) => {
        const type = eventTypeOf(bytes);
        this.#usage.asked(bytes, type);
        this.#record?.fromClient(bytes, type);
        return undefined;
      }),
      client: this.#direction(provider, client, (bytes) => {
        const type = eventTypeOf(bytes) ?? '';
        if (this.#usage.take(bytes, type)) this.#addUsage();
        this.#record?.fromProvider(bytes, type);
        return conversation?.whenKept();
      }),
    };
    this.#endRelease = conversation?.onKept(() => this.#directions.client.release());
    for (const side of realtimeSides) this.#watch(side);
    for (const { webSocket } of [client, provider]) webSocket.resume();
  }

  /** The tokens that the provider has reported so far; `undefined`: none. */
  get usage(): TokenUsage | undefined {
    return this.#usage.total;
  }

  /** An estimate of the answers that it has not reported; `undefined`: there are none. */
  get unreported(): TokenUsage | undefined {
    return this.#usage.unreported;
  }

  /** The close code that ended it; `undefined`: nobody has closed. */
  get closeCode(): number | undefined {
    return this.#closeCode;
  }

  /** What has gone to a side so far. */
  figuresTo(side: RealtimeSide): DirectionFigures {
    return this.#directions[side].figures;
  }

  /** What waits for a side, in this process and in its kernel. */
  waitingBytesFor(side: RealtimeSide): number {
    return this.#directions[side].waitingBytes;
  }

  /** Looks at all deadlines. */
  tick(nowMs: number): void {
    if (this.#hasEnded) return;
    const { maxDurationMs } = this.#options.config;
    if (nowMs - this.#startedMs >= maxDurationMs) {
      this.#refuse('max_duration', `It lasted longer than ${maxDurationMs} ms (maxDurationMs).`);
      return;
    }
    for (const name of realtimeSides) this.#tickSide(name, nowMs);
  }

  /** Ends it because the gateway stops. */
  stop(): void {
    this.#refuse('shutting_down', 'The gateway stops.');
    this.#options.clock.after(stopMs, () => this.destroy());
  }

  /**
   * Ends it by a limit, or because the store of limits is away and what was reserved is used up. The client gets what waits for it, and behind it an error as the API writes one: a close has no room
   * for words that say which limit it was.
   */
  cut(error: LimitError): void {
    const isReached = error.code === 'limit_reached';
    const closeCode = isReached ? codes.policy : codes.tryAgain;
    if (!this.#end('limit', closeCode, error)) return;
    const { client, provider } = this.#sides;
    provider.webSocket.close(codes.goingAway);
    this.#directions.client.whenReleased(() => {
      client.webSocket.send(realtimeError(error));
      const words = isReached ? `A limit is reached: ${error.reached.name}.` : 'Limits cannot be asked.';
      client.webSocket.close(closeCode, words);
    });
  }

  /** Ends it because a tap cannot keep it that has to. */
  tapFailed(words: string): void {
    // What waits until it is kept will not be.
    if (this.#hasEnded) this.#sides.client.webSocket.close(codes.tryAgain, words);
    else this.#refuse('tap_unavailable', words);
  }

  /** Ends it after a defect, at once. Safe to call twice. */
  destroy(): void {
    this.#end('failed');
    for (const { webSocket } of Object.values(this.#sides)) webSocket.terminate();
  }

  #side({ socket, webSocket }: RealtimeSocket): Side {
    const nowMs = this.#options.clock.nowMs();
    const alive = { isAlive: true, pingedMs: nowMs, pingOffset: 0, leftBytes: 0, leftMs: nowMs };
    return { socket, webSocket, ...alive, isClosed: false };
  }

  #direction(
    from: RealtimeSocket,
    to: RealtimeSocket,
    onMessage: (bytes: Buffer) => (() => boolean) | undefined,
  ): RelayedDirection {
    const { client, clock, config, conversation, edit, hold, links } = this.#options;
    return new RelayedDirection({
      from,
      to,
      // Other sources are right only at times, and a stale one would look like bytes on their way.
      readLink: links.name === 'tcp-info' ? links.watch(to.socket) : undefined,
      windowBytes: config.windowBytes,
      hold,
      clock,
      onNoRoom: () => this.#refuse('overloaded', 'The gateway has no room for it (maxRequestMemoryBytes).'),
      onMessage,
      edit: from === client ? edit : undefined,
      isHeld: () => conversation?.isBehind === true,
    });
  }

  #watch(name: RealtimeSide): void {
    const side = this.#sides[name];
    const { webSocket } = side;
    const onSign = (): void => {
      side.isAlive = true;
    };
    webSocket.on('message', onSign);
    webSocket.on('ping', onSign);
    webSocket.on('pong', onSign);
    webSocket.on('error', ({ code = '' }: Error & { readonly code?: string }) => {
      // The WebSocket itself tells the side what is wrong with its message. All else is a lost connection.
      if (!code.startsWith('WS_ERR')) return;
      this.#left(name, `${name}_invalid`, codes.lost, Buffer.alloc(0), invalidCodes[code] ?? codes.protocol);
    });
    webSocket.on('close', (code, reason) => {
      side.isClosed = true;
      this.#left(name, code === codes.lost ? `${name}_lost` : `${name}_closed`, code, reason);
      if (!Object.values(this.#sides).every(({ isClosed: isGone }) => isGone)) return;
      this.#endRelease?.();
      this.#options.onOver();
    });
  }

  /**
   * A side is gone, or goes: the other one is told what it said, or what became of it. `endCode`: the code that ended the
   * conversation, where that is another one.
   */
  #left(name: RealtimeSide, reason: RealtimeEndReason, code: number, words: Buffer, endCode?: number): void {
    if (!this.#end(reason, endCode ?? (code === codes.lost ? undefined : code))) return;
    const other = this.#sides[name === 'client' ? 'provider' : 'client'].webSocket;
    if (name === 'client') {
      if (code === codes.none) other.close();
      else if (code === codes.lost) other.close(codes.goingAway);
      else other.close(code, words);
      return;
    }
    this.#directions.client.whenReleased(() => {
      if (code === codes.none) other.close();
      else if (code === codes.lost) other.close(codes.failed, providerFailures[reason] ?? '');
      else other.close(code, words);
    });
  }

  #tickSide(name: RealtimeSide, nowMs: number): void {
    const { keepAliveMs, stallTimeoutMs } = this.#options.config;
    const side = this.#sides[name];
    const { leftBytes } = this.#directions[name];
    const { bytesWritten } = side.socket;
    if (leftBytes !== side.leftBytes || leftBytes >= bytesWritten) side.leftMs = nowMs;
    side.leftBytes = leftBytes;
    if (nowMs - side.leftMs >= stallTimeoutMs) {
      this.#giveUp(name, `${name}_stalled`, `took nothing for ${stallTimeoutMs} ms (stallTimeoutMs)`);
    } else if (side.isAlive) {
      if (nowMs - side.pingedMs < keepAliveMs) return;
      side.isAlive = false;
      side.pingedMs = nowMs;
      side.pingOffset = bytesWritten;
      side.webSocket.ping();
    } else if (leftBytes <= side.pingOffset || side.webSocket.isPaused) {
      // The ping waits behind messages, or nothing is heard of its answer: the wait for that begins later.
      side.pingedMs = nowMs;
    } else if (nowMs - side.pingedMs >= keepAliveMs) {
      this.#giveUp(name, `${name}_lost`, `gave no sign for ${keepAliveMs} ms after a ping (keepAliveMs)`);
    }
  }

  /** Waits no longer for a side. */
  #giveUp(name: RealtimeSide, reason: RealtimeEndReason, how: string): void {
    if (!this.#end(reason)) return;
    const { client, provider } = this.#sides;
    if (name === 'client') provider.webSocket.close(codes.goingAway);
    else client.webSocket.close(codes.failed, `The provider ${how}.`);
    this.#sides[name].webSocket.terminate();
  }

  /** Ends it for a cause of the gateway's own. */
  #refuse(reason: RealtimeEndReason, words: string): void {
    if (!this.#end(reason, codes.tryAgain)) return;
    this.#sides.client.webSocket.close(codes.tryAgain, words);
    this.#sides.provider.webSocket.close(codes.goingAway);
  }

  #addUsage(): void {
    const { spent, total } = this.#usage;
    if (total !== undefined) this.#options.conversation?.add({ type: 'usage', ...total });
    if (spent !== undefined) this.#options.onUsed(spent);
  }

  #end(reason: RealtimeEndReason, closeCode?: number, limit?: LimitError): boolean {
    if (this.#hasEnded) return false;
    this.#hasEnded = true;
    this.#closeCode = closeCode;
    for (const direction of Object.values(this.#directions)) direction.close();
    // A paused socket does not see the answer to its close frame.
    for (const { webSocket } of Object.values(this.#sides)) if (webSocket.isPaused) webSocket.resume();
    this.#options.onEnd(reason, limit);
    return true;
  }
}

/** A limit as the API's events have errors. */
function realtimeError(limit: LimitError): string {
  // It is `{"error":…}`.
  const body = openaiChat.errorBody(asFormatError(limit, undefined));
  return `{"type":"error","event_id":"event_spillway",${body.slice(1)}`;
}
