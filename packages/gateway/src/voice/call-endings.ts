import type { CallEndReason } from '@spillway/voice';

/** Calls that are remembered. A carrier asks at once what follows. */
const maxKept = 1000;

/** How the last calls ended. */
export class CallEndings {
  /** By the carrier's id. The oldest is first. */
  readonly #reasons = new Map<string, CallEndReason>();

  ended(callId: string, reason: CallEndReason): void {
    this.#reasons.delete(callId);
    this.#reasons.set(callId, reason);
    const [oldest] = this.#reasons.keys();
    if (this.#reasons.size > maxKept && oldest !== undefined) this.#reasons.delete(oldest);
  }

  /**
   * Whether a call is known to have ended as it should. A caller whose call was cut, whose gateway was started again or whose
   * connection was lost on the way has not heard that it is over.
   */
  isWell(callId: string): boolean {
    const reason = this.#reasons.get(callId);
    return reason === 'hangup' || reason === 'max_duration';
  }
}
