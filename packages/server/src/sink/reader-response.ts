import type { Gap, Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { GatewayError } from '../errors.ts';
import type { LargeRun } from '../memory/large-run.ts';
import type { SendQueues } from './send-queues.ts';

/**
 * What one reader's chunks are written to. It knows what was sent already, and so in which way an error can
 * still be told.
 */
export interface ReaderResponse {
  /** Resolves when the reader has got everything, or is gone. */
  readonly settled: Promise<void>;
  readonly isSettled: boolean;
  /** What was written to it and is still held for it. */
  readonly keptBytes: number;
  /** Nothing is held for it any more that it has to get. It may still have to say that it has everything. */
  readonly isDelivered: boolean;
  readonly headersSent: boolean;
  /** Whoever reads it undoes the coding of a body by itself, as clients of HTTP do. */
  readonly undoesCodings: boolean;
  /** Nothing more can be written. */
  readonly isClosed: boolean;
  /** Bytes wait for the connection: it takes no more at the moment. */
  readonly isBlocked: boolean;
  startEventStream(headers: Readonly<Record<string, string>>): void;
  /** Starts a body of whatever kind, of which nothing is known but its headers. */
  start(status: number, headers: Readonly<Record<string, string>>, reason: string): void;
  /** Nothing is written at the moment: its connection takes no more, or its link is left alone. */
  readonly isHeldBack: boolean;
  /** The tokens that it said it has consumed; `undefined`: it does not say. */
  readonly acknowledgedTokens: number | undefined;
  /** Writes the chunks with the offsets [from, to), at the latest with the next flush. Returns whether it takes more at once. */
  write(run: EventRun, from: number, to: number): boolean;
  /** Right behind the `write` of a large event: holds it until the reader has it, or is gone. */
  hold(run: LargeRun): void;
  /** Hands over what was written. Returns whether the connection wants more; if not, wait for `drained`. */
  flush(): boolean;
  /** Tells of chunks that are missing. Only for readers whose policy can lose some. */
  gap?(gap: Gap): void;
  /** Called when something waits that credit does not allow. Only for readers that grant some. */
  creditBlocked?(reader: Waiting): void;
  /** How long the connection's link should be left alone before the next write; 0: write now. */
  delayMs(): number;
  /** Resolves when the connection has taken what was written, or is gone. */
  drained(): Promise<void>;
  /** Resolves after that time, or when the connection is gone. Not while it is blocked. */
  rest(delayMs: number): Promise<void>;
  /** Keeps a silent connection alive. Only between events. */
  ping(): void;
  /** Everything was written. */
  end(): void;
  /** Tells of an error in the way that is still open. */
  fail(error: GatewayError): void;
  /** Ends at once, whatever still waits for the connection. The reason is told only where that needs no reading. */
  destroy(reason: GatewayError): void;
  /** What is known of how much reached the reader. */
  progress(queues: SendQueues | undefined): ReaderProgress;
}

/** What waits for a reader. */
export type Waiting = Pick<Reader<unknown>, 'waitingBytes' | 'waitingItems'>;

export interface ReaderProgress {
  readonly bytes: number;
  /** Some is still on its way to it. */
  readonly isOwed: boolean;
  /**
   * Its connection answers and takes what is written: what it does not take, its program holds back. Only where credit says so.
   * Default: false.
   */
  readonly holdsCredit?: boolean;
}
