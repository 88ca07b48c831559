import type { Gap, Overflow, Reader, SpillPolicy } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { StreamClient } from '../access/stream-client.ts';
import type { StreamBody, StreamOutcome } from './stream-body.ts';
import type { StreamOrigin } from './stream-owner.ts';

/** A stream as a tap knows it before anything of it has come. */
export interface TappedStream {
  readonly id: string;
  readonly origin: StreamOrigin;
  /** As the client named it. */
  readonly model: string | undefined;
  readonly client: StreamClient;
}

/** Something of the operator's that reads streams beside their readers: an audit log, analytics, a queue. */
export interface Tap {
  /** For logs and the console. */
  readonly name: string;
  /** Called when a stream is opened, before it asks anybody for anything. `undefined`: not this stream. */
  open(stream: TappedStream): StreamTap | undefined;
}

/** What a tap does with one stream. */
export interface StreamTap {
  /**
   * What happens when it falls behind, also `spillTo(store)`. Default: `coalesce`, or `block` for bytes that nobody can merge: nothing
   * is lost, and the model waits.
   */
  readonly overflow?: Overflow | SpillPolicy<EventRun>;
  /** The bytes that may wait for it, at most the stream's window. Default: the window. */
  readonly maxBytes?: number;
  /**
   * Whether the model goes on for it alone, as for a reader. Default: false. Either way, the stream keeps its place until the tap has
   * read to the end.
   */
  readonly isAudience?: boolean;
  /**
   * Reads the stream, with a cursor that stands in front of its first event. Called once there is something to read; not at all for a stream
   * without an answer. The tap is through when the promise settles; one that rejects is a defect, which ends the tap for this stream and
   * nothing else. Of a stream that is cancelled, what still waits is not read any more.
   */
  read(reader: Reader<EventRun | Gap>, body: StreamBody): Promise<void>;
  /** How the stream ended. Called once, perhaps before `read` is through, and also for a stream without an answer. */
  ended?(outcome: StreamOutcome): void;
}
