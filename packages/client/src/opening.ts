import type { SessionOverflow } from '@spillway/core/session';

/** How a stream is opened. */
export type Opening =
  | { readonly type: 'request'; readonly method: 'POST'; readonly path: string; readonly body: string }
  | {
      readonly type: 'read';
      readonly url: string;
      readonly from: number | 'now' | 'start';
      readonly overflow: SessionOverflow;
      readonly maxBytes?: number | undefined;
      readonly merges?: boolean | undefined;
    };

/** The options of a stream, complete. */
export interface SessionStreamOptions {
  readonly opening: Opening;
  readonly headers: Readonly<Record<string, string>>;
  /** The headers that carry the key. */
  readonly keyHeaders: Readonly<Record<string, string>>;
  readonly windowBytes: number;
  readonly windowMs: number | undefined;
  readonly autoAck: boolean;
  /** The meaning of a stop or an abort by the consumer. */
  readonly leave: 'cancel' | 'detach';
  readonly signal: AbortSignal | undefined;
}
