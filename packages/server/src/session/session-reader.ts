import { GatewayError, clientLeft } from '../errors.ts';
import type { GatewayStream } from '../stream/stream.ts';
import type { StreamReaderOptions } from '../stream/read-stream.ts';
import type { ServedReader } from '../stream/served-reader.ts';
import type { ReaderRoom } from '../memory/retained-streams.ts';
import type { ServerClock } from '../time/server-clock.ts';
import type { Carrier } from './carrier.ts';
import { SessionResponse } from './session-response.ts';
import type { SessionResponseOptions } from './session-response-options.ts';

/** Takes room for what is kept of a reader without a connection; `undefined`: there is none. */
export type OpenRoom = () => ReaderRoom | undefined;

/** A reader of a session: what is left of it when its connection is lost, and what comes back. */
export class SessionReader {
  readonly response: SessionResponse;
  readonly #clock: ServerClock;
  /** The connection that carries it, and under which number. */
  session: Carrier<SessionReader> | undefined;
  number = 0;
  stream: GatewayStream | undefined;
  #reader: ServedReader | undefined;
  #openRoom: OpenRoom | undefined;
  /** While it has no connection. */
  #room: ReaderRoom | undefined;
  #endedMs: number | undefined;

  /** `onClose` is called when nothing can be resumed any more. */
  constructor(
    options: Omit<SessionResponseOptions, 'durationMs' | 'onAck' | 'onClose' | 'url'>,
    onClose: () => void,
  ) {
    this.#clock = options.clock;
    this.response = new SessionResponse({
      ...options,
      durationMs: (run) => this.stream?.body?.durationMs?.(run) ?? 0,
      onAck: (tokens) => this.stream?.acknowledged(tokens),
      url: () => this.stream?.url ?? '',
      onClose: () => {
        this.session?.release(this);
        this.#room?.release();
        onClose();
      },
    });
  }

  /** Reads a stream. Without `openRoom` it is not kept for a connection to come. */
  attach(
    stream: GatewayStream,
    session: Carrier<SessionReader>,
    options: StreamReaderOptions,
    openRoom?: OpenRoom,
  ): void {
    this.stream = stream;
    this.#openRoom = stream.detach === 'cancel' ? undefined : openRoom;
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

  /** The client says that it goes. */
  leave(how: 'cancel' | 'detach'): void {
    if (how === 'cancel') this.stream?.stop(new GatewayError('cancelled', 'The stream was cancelled.'));
    // Behind the end, it says with it that it has everything.
    else if (this.response.hasEnded) this.response.ackAll();
    this.#reader?.detach(clientLeft(how === 'cancel' ? 'cancelled' : 'detached'));
    this.response.close();
  }

  /** It is ended for what its client did: it does not come back, and the model is not kept for it. */
  end(reason: GatewayError): void {
    this.#reader?.detach(reason, false);
    this.response.destroy(reason);
  }

  /** Its connection is gone. It is kept if there is room for it; otherwise its client can read on by the stream's URL. */
  lost(): void {
    this.session?.release(this);
    this.response.unbind();
    this.#room ??= this.#openRoom?.();
    if (this.#reader !== undefined && this.#room !== undefined) {
      this.#reader.connectionLost(this.#clock.nowMs());
    } else {
      const reason = clientLeft('lost its connection');
      this.#reader?.detach(reason);
      this.response.destroy(reason);
    }
  }

  /** It is carried by another connection. Returns `false` if it cannot go on from there. */
  rebind(offset: number, acked: number): boolean {
    const { session } = this;
    if (session === undefined || !this.response.bind(session, this.number, offset, acked)) return false;
    this.#room?.release();
    this.#room = undefined;
    this.#reader?.resumed([this.response.credit, this.response.creditOf(session)]);
    return true;
  }

  /** It cannot be resumed as its client wants it: the rest can be read by the stream's URL. */
  abandon(): void {
    this.#reader?.detach(clientLeft('could not be resumed'));
    this.response.close();
  }

  /** Tells what waits for it, while something does, and forgets what was not fetched after its end. */
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
