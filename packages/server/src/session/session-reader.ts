import { GatewayError, clientLeft } from '../errors.ts';
import type { GatewayStream } from '../stream/stream.ts';
import type { StreamReaderOptions } from '../stream/read-stream.ts';
import type { ServedReader } from '../stream/served-reader.ts';
import type { ReaderRoom } from '../memory/retained-streams.ts';
import type { ServerClock } from '../time/server-clock.ts';
import type { Carrier } from './carrier.ts';
import { SessionResponse } from './session-response.ts';
import type { SessionResponseOptions } from './session-response-options.ts';

/** Takes room for a reader that has lost its connection; `undefined`: there is no room. */
export type OpenRoom = () => ReaderRoom | undefined;

/** A reader of a session. It outlives its connection: a client can resume it over another one. */
export class SessionReader {
  readonly response: SessionResponse;
  readonly #clock: ServerClock;
  /** The connection that carries this reader. `number`: the reader's number there. */
  session: Carrier<SessionReader> | undefined;
  number = 0;
  stream: GatewayStream | undefined;
  #reader: ServedReader | undefined;
  #openRoom: OpenRoom | undefined;
  /** Room for this reader while it has no connection. */
  #room: ReaderRoom | undefined;
  #endedMs: number | undefined;

  /** `onClose` is called when this reader can no longer be resumed. */
  constructor(
    options: Omit<SessionResponseOptions, 'durationMs' | 'onAck' | 'onClose' | 'streamRequestId' | 'url'>,
    onClose: () => void,
  ) {
    this.#clock = options.clock;
    this.response = new SessionResponse({
      ...options,
      durationMs: (run) => this.stream?.body?.durationMs?.(run) ?? 0,
      onAck: (tokens) => this.stream?.acknowledged(tokens),
      streamRequestId: () => this.stream?.requestId,
      url: () => this.stream?.url ?? '',
      onClose: () => {
        this.session?.release(this);
        this.#room?.release();
        onClose();
      },
    });
  }

  /** Reads a stream. Without `openRoom` the reader ends when its connection is lost. */
  attach(
    stream: GatewayStream,
    session: Carrier<SessionReader>,
    options: StreamReaderOptions,
    openRoom?: OpenRoom,
  ): void {
    this.stream = stream;
    this.#openRoom = openRoom;
    const credit = [this.response.credit, this.response.creditOf(session)];
    const { address } = session;
    this.#reader = stream.attach(this.response, {
      ...options,
      credit,
      returns: true,
      via: 'session',
      address,
    });
  }

  /** The client cancels the stream, or detaches from it. */
  left(how: 'cancel' | 'detach'): void {
    if (how === 'cancel') this.stream?.cancel(new GatewayError('cancelled', 'The stream was cancelled.'));
    // A client that detaches after the end says with it that it has everything.
    else if (this.response.hasEnded) this.response.ackAll();
    this.#reader?.detach(clientLeft(how === 'cancel' ? 'cancelled' : 'detached'));
    this.response.close();
  }

  /** Ends the reader for what its client did. The client does not come back to it, so the model does not go on for it. */
  close(reason: GatewayError): void {
    this.#reader?.detach(reason, false);
    this.response.close(reason);
  }

  /**
   * The connection is gone. The reader is kept if there is room for it. Otherwise the client can read on by the
   * stream's URL.
   */
  lost(): void {
    this.session?.release(this);
    this.response.unbind();
    this.#room ??= this.stream?.detach === 'cancel' ? undefined : this.#openRoom?.();
    if (this.#reader !== undefined && this.#room !== undefined) {
      this.#reader.connectionLost(this.#clock.nowMs());
    } else {
      const reason = clientLeft('lost its connection');
      this.#reader?.detach(reason);
      this.response.close(reason);
    }
  }

  /** Goes on over the session that carries the reader now. Returns `false` if the reader cannot go on at `offset`. */
  rebind(offset: number, acked: number): boolean {
    const { session } = this;
    if (session === undefined || !this.response.bind(session, this.number, offset, acked)) return false;
    this.#room?.release();
    this.#room = undefined;
    this.#reader?.resumed([this.response.credit, this.response.creditOf(session)]);
    return true;
  }

  /** Closes the reader: it cannot be resumed where its client wants. The client can read the rest by the stream's URL. */
  closeUnresumed(): void {
    this.#reader?.detach(clientLeft('could not be resumed'));
    this.response.close();
  }

  /** Tells the client its lag. After the end, closes a reader whose client has not fetched the rest in time. */
  tick(nowMs: number, graceMs: number): void {
    const { response } = this;
    const reader = this.#reader;
    if (response.hasEnded) {
      this.#endedMs ??= nowMs;
      if (nowMs - this.#endedMs >= graceMs) response.close();
    } else if (reader !== undefined) {
      response.tellLag(reader);
    }
  }
}
