import type { Gap, Gate, Overflow, Reader, SpillPolicy } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { StreamClient } from '../access/stream-client.ts';
import type { EndedReader } from './ended-reader.ts';
import type { StreamBody, StreamOutcome } from './stream-body.ts';
import type { StreamOrigin } from './stream-owner.ts';

/** A stream as a tap knows it. */
export interface TappedStream {
  readonly id: string;
  /** The id of the request that opened the stream; `undefined`: it has none. */
  readonly requestId: string | undefined;
  /** The parts of the request's body, until the provider has answered. `undefined`: it has none. */
  readonly requestBody: (() => readonly Uint8Array[]) | undefined;
  /** The provider's own id of the request, once it has answered with one. */
  readonly upstreamRequestId: string | undefined;
  readonly origin: StreamOrigin;
  /** The model as the client named it. */
  readonly model: string | undefined;
  readonly client: StreamClient;
  /** What of the request gave way to pressure, such as `max_tokens=1000`. Default: nothing. */
  readonly gaveWay?: readonly string[];
  /** The events and bytes that have come from the provider so far. */
  readonly events: number;
  readonly bytes: number;
}

/** Chunks that a request got which asked for what is there, and did not stay. */
export interface SentPart {
  /** IP address. */
  readonly address: string;
  /** The offset behind the last of them. */
  readonly to: number;
}

/** The operator's own reader of streams, beside the clients: an audit log, analytics, a queue. */
export interface Tap {
  /** The tap's name in logs and on the console. */
  readonly name: string;
  /**
   * Whether no stream may be served that this tap wants and cannot read. A stream whose `open` throws, or whose `read`
   * rejects, then ends with `tap_unavailable`. Default: false.
   */
  readonly isRequired?: boolean;
  /**
   * Called when a stream is opened, before the provider is asked. `undefined`: the tap does not read this stream. May
   * throw a {@link GatewayError} to refuse the stream, which is then the stream's end. Any other throw is a defect.
   */
  open(stream: TappedStream): StreamTap | undefined;
}

/** How a tap holds back the readers of a stream, until it has kept what they would get. */
export interface TapGate {
  /**
   * Resolves when readers may get the provider's status and headers, or the error that it answered with instead. A
   * rejection ends the stream for its readers, with that error.
   */
  readonly head: Promise<void>;
  /**
   * Readers get the chunks that lie below this gate, and the end when all is open. Comments that keep a connection
   * alive, and errors of the gateway's own, need no gate.
   */
  readonly chunks: Gate;
}

/** What a tap does with one stream. */
export interface StreamTap {
  /**
   * What happens when the tap falls behind; also `spillTo(store)`. Default:
   * `coalesce`, or `block` for bytes, which cannot be merged. With both nothing is lost, and the model waits.
   */
  readonly overflow?: Overflow | SpillPolicy<EventRun>;
  /** Whether what waits is merged before a policy that loses is carried out, where it can be. Default: false. */
  readonly merges?: boolean;
  /** The bytes that may wait for the tap, at most the stream's window. Default: the window. */
  readonly maxBytes?: number;
  /** The chunks that may wait for the tap; merged ones count as one. Default: as many as fit. */
  readonly maxItems?: number;
  /**
   * Whether the model goes on for this tap alone, as for a reader. Default: false. In both cases the stream keeps its
   * place of maxStreams until the tap has read to the end.
   */
  readonly isAudience?: boolean;
  /**
   * Holds back the readers. If the tap has finished with the stream and `chunks` is not open to all, the readers end
   * with `tap_unavailable`, and the model is stopped: nobody gets what the tap does not have. Default: the tap holds
   * nobody back.
   */
  readonly gate?: TapGate;
  /** Whether it wants the sound of a conversation, too. Default: false. */
  readonly wantsAudio?: boolean;
  /** The offset behind the last chunk that is kept, for people. Default: the tap does not say. */
  readonly keptOffset?: number | undefined;
  /** The provider is about to be asked. Not called for a stream that is refused before that. */
  asked?(): void;
  /**
   * Reads the stream, with a cursor before its first event. Called once, when there is a body, or a provider's refusal,
   * which is one, too; not called for a stream without an answer. The tap has finished when the promise settles. A rejection ends the tap for this stream,
   * and if the tap is required, the stream. It is a defect, unless it is a {@link GatewayError}. After a cancel, chunks
   * that still wait are not read; see `cancelled`.
   */
  read(reader: Reader<EventRun | Gap>, body: StreamBody): Promise<void>;
  /**
   * The stream is about to be cancelled: what waits for the tap is gone when this returns, unless the tap takes it now.
   * Readers may have got it.
   */
  cancelled?(): void;
  /** A limit ends the answer in its midst: what still comes behind all that is there closes it, and is not the provider's. */
  cut?(): void;
  /** The stream has ended. Called once, perhaps before `read` has finished, and also for a stream without an answer. */
  ended?(outcome: StreamOutcome): void;
  /** A reader is gone. Called for every reader, also after the stream's end and after `read` has finished. */
  readerEnded?(reader: EndedReader): void;
  /** A request got what is there. Called when it is sent, also after the stream's end. */
  partSent?(part: SentPart): void;
  /** The stream is over for everybody, its history too: no call follows. */
  forgotten?(): void;
}
