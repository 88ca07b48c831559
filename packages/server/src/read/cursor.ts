/** 9 October 2024, the epoch of the protocol's cursors. */
const epochMs = 1_728_432_000_000;
const intervalMs = 20_000;

/**
 * Durable Streams' cursor. It gives two polls of the same offset different URLs, so that caches on the way tell them
 * apart. The cursor grows with time, and is always greater than the one that the client sent.
 */
export function nextCursor(sent: string | undefined, nowMs: number): string {
  const interval = Math.floor((nowMs - epochMs) / intervalMs);
  const isNumber = sent !== undefined && /^\d{1,15}$/.test(sent);
  return String(isNumber ? Math.max(interval, Number(sent) + 1) : interval);
}
