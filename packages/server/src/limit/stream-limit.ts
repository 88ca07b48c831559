import type { Format, TokenUsage } from '@spillway/core/format/format';
import type { LimitError } from './limit-error.ts';

/** The events of a stream that are larger than one read brings, which are looked at one by one. */
export interface LargeEvents {
  readonly events: number;
  readonly bytes: number;
  /** An estimate. */
  readonly tokens: number;
}

/**
 * Holds one stream against limits as it goes on. The stream calls it on the path of each chunk, so it adds and compares
 * plain numbers there. A stream without limits has none.
 */
export interface StreamLimit {
  /**
   * More has come from the provider: so many events and bytes it is now in all, with those of `large` among them. May cut
   * the stream, and may become {@link isShort}.
   */
  received(events: number, bytes: number, large: LargeEvents): void;
  /** Whether what is reserved is used up, and the answer about more is not there yet: the provider has to wait. */
  readonly isShort: boolean;
  /** Called once when the provider may go on; set it while {@link isShort}. */
  onRoom: (() => void) | undefined;
  /** Looks at the times. Returns the limit that ends the stream now; `undefined`: none does. */
  tick(nowMs: number): LimitError | undefined;
  /** The tokens so far as they are counted here, an estimate; what is not known is left out. */
  readonly counted: TokenUsage;
  /** What the client is told of its limits, as headers that SDKs of the format know. */
  headers(format: Format): Record<string, string>;
}
