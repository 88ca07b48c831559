import type { Gap, Gate, Overflow, Reader, SpillPolicy } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { StreamClient } from '../access/stream-client.ts';
import type { StreamBody, StreamOutcome } from './stream-body.ts';
import type { StreamOrigin } from './stream-owner.ts';

/** A stream as a tap knows it, before any of its chunks have come. */
export interface TappedStream {
  readonly id: string;
  readonly origin: StreamOrigin;
  /** The model as the client named it. */
  readonly model: string | undefined;
  readonly client: StreamClient;
}

/** The operator's own reader of streams, beside the clients: an audit log, analytics, a queue. */
export interface Tap {
  /** The tap's name in logs and on the console. */
  readonly name: string;
  /** Called when a stream is opened, before the provider is asked. `undefined`: the tap does not read this stream. */
  open(stream: TappedStream): StreamTap | undefined;
}

/** How a tap holds back the readers of a stream, until it has kept what they would get. */
export interface TapGate {
  /**
   * Resolves when readers may get the provider's status and headers. A rejection ends the stream for its readers, with
   * that error.
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
   * What happens when the tap falls behind; also `spillTo(store)`. Default: `coalesce`, or `block` for bytes, which
   * cannot be merged. With both nothing is lost, and the model waits.
   */
  readonly overflow?: Overflow | SpillPolicy<EventRun>;
  /** The bytes that may wait for the tap, at most the stream's window. Default: the window. */
  readonly maxBytes?: number;
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
  /**
   * Reads the stream, with a cursor before its first event. Called once, when there is a body; not called for a
   * stream without an answer. The tap has finished when the promise settles. A rejection is a defect, which ends the
   * tap for this stream and nothing else. After a cancel, chunks that still wait are not read.
   */
  read(reader: Reader<EventRun | Gap>, body: StreamBody): Promise<void>;
  /** The stream has ended. Called once, perhaps before `read` has finished, and also for a stream without an answer. */
  ended?(outcome: StreamOutcome): void;
}
