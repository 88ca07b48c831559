import type { CutReason } from '@spillway/core/session';
import { cutReasonOf } from '../limit/limit-error.ts';
import type { StreamLog } from '../stream/stream-log.ts';
import type { StreamState } from '../stream/stream-body.ts';

/** A stream's state, as readers of its URL are told. `reason`: what ended an answer that is a whole message all the same. */
export function toldState({ end }: StreamLog): {
  readonly state: StreamState | 'open';
  readonly reason: CutReason | undefined;
} {
  if (end?.state === 'cut') return { state: 'cancelled', reason: cutReasonOf(end.error) };
  return { state: end?.state ?? 'open', reason: undefined };
}
