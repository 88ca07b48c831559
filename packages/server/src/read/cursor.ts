const epochMs = Date.UTC(2024, 9, 9);
const intervalMs = 20_000;

/**
 * Durable Streams' cursor: it makes two polls of the same offset different URLs to caches on the way. It grows with
 * the time, and is always beyond the one that the client sent.
 */
export function nextCursor(sent: string | undefined, nowMs: number): string {
  const interval = Math.floor((nowMs - epochMs) / intervalMs);
  const isNumber = sent !== undefined && /^\d{1,15}$/.test(sent);
  return String(isNumber ? Math.max(interval, Number(sent) + 1) : interval);
}
