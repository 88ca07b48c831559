import { GatewayError, overloaded } from '../errors.ts';
import type { StreamDeadlines } from './stream-body.ts';

/** Why a stream has to end for its age; `undefined`: it is young enough. */
export function overdue(
  { phase, startedMs }: { readonly phase: string; readonly startedMs: number },
  { maxDurationMs, waitTimeoutMs }: StreamDeadlines,
  nowMs: number,
): GatewayError | undefined {
  const ageMs = nowMs - startedMs;
  if (phase === 'waiting' && ageMs >= waitTimeoutMs)
    return overloaded(`No place became free within ${waitTimeoutMs} ms (waitTimeoutMs).`);
  if (ageMs < maxDurationMs) return undefined;
  const message = `The stream lasted longer than ${maxDurationMs} ms (maxDurationMs).`;
  return new GatewayError('stream_timeout', message);
}
