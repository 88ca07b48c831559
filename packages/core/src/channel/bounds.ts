/** A reader's bounds, complete. */
export interface Bounds {
  readonly maxBytes: number;
  readonly maxItems: number;
  readonly maxMs: number;
}

/** How much to take at once. */
export interface TakeLimits {
  /**
   * Stops before the item with which it would be more, and merges nothing beyond it; the first item is always taken. Minimum 0.
   * Default: no limit.
   */
  readonly maxBytes?: number;
  /** A whole number, 1 or more. Default: no limit. */
  readonly maxItems?: number;
}
