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

/** What a stream is told when it is opened. */
export interface SessionStreamOptions {
  readonly opening: Opening;
  readonly headers: Readonly<Record<string, string>>;
  /** Those of them that say who asks. */
  readonly keyHeaders: Readonly<Record<string, string>>;
  readonly windowBytes: number;
  readonly windowMs: number | undefined;
  readonly autoAck: boolean;
  /** What it means when the consumer stops or aborts. */
  readonly leave: 'cancel' | 'detach';
  readonly signal: AbortSignal | undefined;
}
