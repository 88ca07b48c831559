import type { Format } from '@spillway/core/format/format';

/** How one limit stands for a client. */
export interface Allowed {
  /** What it allows. */
  readonly limit: number;
  /** What is left of it: 0 or more. */
  readonly remaining: number;
  /** In how many milliseconds all of it is there again. */
  readonly resetMs: number;
}

/** The limits that providers tell in headers. */
export interface LimitStanding {
  readonly requests?: Allowed | undefined;
  readonly tokens?: Allowed | undefined;
  /** The time of this standing, in milliseconds since 1970. */
  readonly dateMs: number;
}

/** How the names of headers begin that tell limits, a provider's own included. */
const prefixes = ['x-ratelimit-', 'anthropic-ratelimit-'] as const;

/** Whether a header tells a limit. */
export function isLimitHeader(name: string): boolean {
  return prefixes.some((prefix) => name.startsWith(prefix));
}

/** The headers of limits as the provider of that format writes them: Anthropic its own, the others as OpenAI does. */
export function limitHeaders({ name }: Format, standing: LimitStanding): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const kind of ['requests', 'tokens'] as const) {
    const allowed = standing[kind];
    if (allowed === undefined) continue;
    const { limit, remaining, resetMs } = allowed;
    if (name === 'anthropic-messages') {
      headers[`anthropic-ratelimit-${kind}-limit`] = String(limit);
      headers[`anthropic-ratelimit-${kind}-remaining`] = String(remaining);
      // `resetMs` is a moment older than `dateMs`: rounded up, a day would begin a second late.
      const atS = Math.round((standing.dateMs + resetMs) / 1000);
      headers[`anthropic-ratelimit-${kind}-reset`] = new Date(atS * 1000).toISOString().replace('.000', '');
    } else {
      headers[`x-ratelimit-limit-${kind}`] = String(limit);
      headers[`x-ratelimit-remaining-${kind}`] = String(remaining);
      headers[`x-ratelimit-reset-${kind}`] = writeReset(resetMs);
    }
  }
  return headers;
}

/** A duration as OpenAI writes it: `120ms`, `7.5s`, `6m0s`, `5h30m0s`. */
function writeReset(ms: number): string {
  if (ms < 1000) return `${Math.ceil(ms)}ms`;
  if (ms < 60_000) return `${Math.ceil(ms / 10) / 100}s`;
  const seconds = Math.ceil(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  return `${hours > 0 ? `${hours}h` : ''}${minutes}m${seconds % 60}s`;
}
