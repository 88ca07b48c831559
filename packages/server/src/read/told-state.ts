import type { StreamLog } from '../stream/stream-log.ts';
import type { StreamState } from '../stream/stream-body.ts';

/** A stream's state, as readers of its URL are told. `reason`: what ended an answer that is a whole message all the same. */
export function toldState({ end }: StreamLog): {
  readonly state: StreamState | 'open';
  readonly reason: 'limit' | undefined;
} {
  if (end?.state === 'cut') return { state: 'cancelled', reason: 'limit' };
  return { state: end?.state ?? 'open', reason: undefined };
}
