import type { Credit, Gap, Overflow, Reader } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import type { DetachPolicy } from './detach-policy.ts';
import type { GatewayError } from '../errors.ts';
import type { BodyHold } from '../memory/request-memory.ts';
import type { Bookmarks } from './bookmarks.ts';
import type { Journal } from './journal.ts';
import type { StreamBody } from './stream-body.ts';
import type { StreamLog } from './stream-log.ts';

/** How a reader reads: by a plain response, a session, or a GET on the stream's URL in one of two ways; `call`: for a telephone call. */
export type ReaderVia = 'call' | 'durable-streams' | 'event-source' | 'http' | 'realtime' | 'session';

export interface StreamReaderOptions {
  /** For the console. Default: `http`. */
  readonly via?: ReaderVia;
  /** For the console: IP address. Default: empty. */
  readonly address?: string | undefined;
  /** The id of the request that opened the reader. Default: none. */
  readonly requestId?: string | undefined;
  /** Default: `coalesce` where the format can, else `block`. */
  readonly overflow?: Overflow;
  /** Default: from the start. */
  readonly from?: number | 'now' | 'start';
  /** The bytes that may wait for the reader. Default: the channel's bound. */
  readonly maxBytes?: number;
  /** Whether chunks that wait may be merged before the overflow policy is applied. Default: where the format can. */
  readonly merges?: boolean | undefined;
  /** The credit windows of the reader. Default: whatever its connection takes. */
  readonly credit?: readonly Credit[];
  /** Called when a chunk waits that credit does not allow. */
  readonly onCreditBlocked?: () => void;
  /** Whether the client asked for events, so that comments may be sent while it waits. */
  readonly wantsEvents?: boolean;
  /** The client's name for the reader. A client that comes back gives the same name. */
  readonly name?: string;
  /** Whether the client may come back: when the last such reader leaves, the model is not stopped at once. */
  readonly returns?: boolean;
}

/** A stream, as far as its reader needs it. */
export interface ReadStream<Reading> {
  /** Resolves when there is a body. Rejects with the reason why there will be no body. */
  readonly started: Promise<void>;
  readonly isAnswered: boolean;
  /** Whether a reader got response headers before the provider answered, which said that events will come. */
  hasEventsBegun: boolean;
  readonly body: StreamBody | undefined;
  /** The chunks as they come, whatever taps hold back; also those of a refusal, which has no body for readers. */
  readonly log: Pick<StreamLog, 'nextOffset'> | undefined;
  /** How the stream ended; `undefined`: not yet. */
  readonly end: unknown;
  readonly detach: DetachPolicy;
  readonly windowBytes: number;
  /** The overflow policy of a reader that named none. */
  readonly overflow: Overflow;
  readonly audience: {
    readonly readers: { readonly size: number };
    readonly bookmarks: Pick<Bookmarks, 'add' | 'cameBack'>;
  };
  readonly journal: Pick<Journal, 'add'>;
  openReader(options: StreamReaderOptions): Reader<EventRun | Gap>;
  readonly gates: {
    /** Whether a tap holds back the chunk at that offset. */
    holdBack(offset: number): boolean;
  };
  /** Takes a place for a reader that holds back its credit; `undefined`: no place is free. */
  openPause(): BodyHold | undefined;
  sent(run: EventRun): void;
  lost(reader: Reading, gap: Gap): void;
  detached(reader: Reading, reason: GatewayError, mayReturn: boolean): void;
  /** Call this when the reader may have got everything. */
  checkDelivered(): void;
  defect(where: string, error: unknown): void;
}
