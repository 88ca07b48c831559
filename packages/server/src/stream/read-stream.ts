import type { Credit, Gap, Overflow, Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { DetachPolicy } from './detach-policy.ts';
import type { GatewayError } from '../errors.ts';
import type { BodyHold } from '../memory/request-memory.ts';
import type { Bookmarks } from './bookmarks.ts';
import type { Journal } from './journal.ts';
import type { StreamBody } from './stream-body.ts';

/** How a reader reads: a plain response, a session, or a GET on the stream's URL in one of its two ways. */
export type ReaderVia = 'durable-streams' | 'event-source' | 'http' | 'session';

export interface StreamReaderOptions {
  /** For the console. Default: `http`. */
  readonly via?: ReaderVia;
  /** For the console: IP address. Default: empty. */
  readonly address?: string | undefined;
  /** Default: `coalesce` where the format can, else `block`. */
  readonly overflow?: Overflow;
  /** Default: from the start. */
  readonly from?: number | 'now' | 'start';
  /** The bytes that may wait for it. Default: the channel's. */
  readonly maxBytes?: number;
  /** Whether what waits for it may be merged before its policy is carried out. Default: where the format can. */
  readonly merges?: boolean | undefined;
  /** What may be sent to it. Default: whatever its connection takes. */
  readonly credit?: readonly Credit[];
  /** Called when something waits that credit does not allow. */
  readonly onCreditBlocked?: () => void;
  /** Whether it asked for events, so that comments may be sent while it waits. */
  readonly wantsEvents?: boolean;
  /** By which its client names it, also when it comes back after it was let go. */
  readonly name?: string;
  /** Whether it may come back: when it is the last to leave, the model is not stopped at once. */
  readonly returns?: boolean;
}

/** A reader's stream, as far as the reader needs it. */
export interface ReadStream<Reading> {
  /** Resolves when there is a body; rejects with the reason why there will be none. */
  readonly started: Promise<void>;
  readonly isAnswered: boolean;
  /** A reader was told already that events will come. */
  hasEventsBegun: boolean;
  readonly body: StreamBody | undefined;
  /** How it ended; `undefined`: not yet. */
  readonly end: unknown;
  readonly detach: DetachPolicy;
  readonly windowBytes: number;
  /** What happens to a reader that did not say what shall. */
  readonly overflow: Overflow;
  readonly audience: {
    readonly readers: { readonly size: number };
    readonly bookmarks: Pick<Bookmarks, 'add' | 'cameBack'>;
  };
  readonly journal: Pick<Journal, 'add'>;
  openReader(options: StreamReaderOptions): Reader<EventRun | Gap>;
  /** Room for a reader that holds back its credit; `undefined`: there is none. */
  openPause(): BodyHold | undefined;
  sent(run: EventRun): void;
  lost(reader: Reading, gap: Gap): void;
  detached(reader: Reading, reason: GatewayError, mayReturn: boolean): void;
  /** To be called when the reader may have got everything. */
  checkDelivered(): void;
  defect(where: string, error: unknown): void;
}
