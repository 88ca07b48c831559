/** A reader's bounds, complete. */
export interface Bounds {
  readonly maxBytes: number;
  readonly maxItems: number;
  readonly maxMs: number;
}

/** Limits on how much to take at once. */
export interface TakeLimits {
  /**
   * Stops before an item that would exceed the limit, and merges nothing beyond the limit. The first item is always
   * taken. Minimum 0. Default: no limit.
   */
  readonly maxBytes?: number;
  /** A whole number, 1 or more. Default: no limit. */
  readonly maxItems?: number;
}
