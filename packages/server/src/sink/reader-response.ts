import type { Gap, Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { CutReason } from '@spillway/core/session';
import type { GatewayError } from '../errors.ts';
import type { LargeRun } from '../memory/large-run.ts';
import type { SendQueues } from './send-queues.ts';

/**
 * The response to one reader: its chunks are written here. The response knows what was sent already, and so how an
 * error can still be sent.
 */
export interface ReaderResponse {
  /** Resolves when the reader has got everything, or is gone. */
  readonly settled: Promise<void>;
  readonly isSettled: boolean;
  /** The bytes that were written and are still kept for the reader. */
  readonly keptBytes: number;
  /** Whether the reader needs nothing more that is kept here. Its last acknowledgement may still be missing. */
  readonly isDelivered: boolean;
  readonly headersSent: boolean;
  /** Whether the client undoes the coding of a body by itself, as HTTP clients do. */
  readonly undoesCodings: boolean;
  /** Whether nothing more can be written. */
  readonly isClosed: boolean;
  /** Whether bytes wait because the connection takes no more at the moment. */
  readonly isBlocked: boolean;
  /** What the reader's WebSocket was written, for all of its readers, and has not taken. Only for readers that have one. */
  readonly untakenBytes?: number;
  startEventStream(headers: Readonly<Record<string, string>>): void;
  /** Starts a body of which only the headers are known. */
  start(status: number, headers: Readonly<Record<string, string>>, reason: string): void;
  /** Whether writes wait: the connection takes no more, or its link is left alone for a moment. */
  readonly isHeldBack: boolean;
  /** The tokens that the client has acknowledged; `undefined`: it cannot acknowledge. */
  readonly acknowledgedTokens: number | undefined;
  /** The offset behind the last chunk or gap that the client has acknowledged; `undefined`: it cannot acknowledge. */
  readonly acknowledgedOffset: number | undefined;
  /**
   * Writes the chunks with the offsets [from, to), at the latest with the next flush. Returns whether to write more
   * at once.
   */
  write(run: EventRun, from: number, to: number): boolean;
  /** Keeps a large event until the reader has it, or is gone. Call it right after the event's `write`. */
  hold(run: LargeRun): void;
  /** Gives the writes to the connection. Returns whether the connection takes more; if not, wait for `drained`. */
  flush(): boolean;
  /** Sends a gap. Only for readers whose policy can lose chunks. */
  gap?(gap: Gap): void;
  /** Called when a chunk waits that credit does not allow. Only for readers that grant credit. */
  creditBlocked?(reader: Waiting): void;
  /** How long, in milliseconds, to wait before the next write to this link; 0: write now. */
  delayMs(): number;
  /** Resolves when the connection has taken what was written, or is gone. */
  drained(): Promise<void>;
  /** Resolves after that time, or when the connection is gone. Call it only while the connection is not blocked. */
  rest(delayMs: number): Promise<void>;
  /** Keeps a silent connection alive. Call it only between events. */
  ping(): void;
  /** Ends the response: everything was written. `cutBy`: what ended the answer in its midst, as a whole message. */
  complete(cutBy?: CutReason): void;
  /** Sends an error in the way that is still possible. */
  fail(error: GatewayError): void;
  /**
   * Ends the response at once, even if bytes wait for the connection. The reason is sent only where the client need
   * not read for it.
   */
  close(reason: GatewayError): void;
  /** How much has reached the reader, as far as is known. */
  progress(queues: SendQueues | undefined): ReaderProgress;
}

/** The number and bytes of the chunks that wait for a reader. */
export type Waiting = Pick<Reader<unknown>, 'waitingBytes' | 'waitingItems'>;

export interface ReaderProgress {
  readonly bytes: number;
  /** Whether bytes are still on their way to the reader. */
  readonly isOwed: boolean;
  /**
   * Whether the client's program holds back what it has not taken: its connection answers, and takes all writes. Only
   * for readers with credit. Default: false.
   */
  readonly holdsCredit?: boolean;
}
