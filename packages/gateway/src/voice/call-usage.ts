import type { TokenUsage } from '@spillway/core/format/format';
import { tokenCountOf } from '@spillway/core/format/json-object';
import type { CallEvent, ModelUsage } from '@spillway/voice';
import { sumOf } from '../limit/conversation-lease.ts';
import { UnreportedAnswer } from '../limit/unreported-answer.ts';

/** Adds up the tokens that the model of a call reports. */
export class CallUsage {
  /** What it has not reported. */
  readonly answer = new UnreportedAnswer();
  /** `undefined`: nothing was reported so far. */
  total: ModelUsage | undefined;

  /** {@link total}, and an estimate of answers that have ended without a report; `undefined`: there was none of both. */
  get spent(): TokenUsage | undefined {
    return sumOf(this.total, this.answer.lost);
  }

  /** Looks at an event. Returns whether it may have changed what was spent. */
  saw(event: CallEvent): boolean {
    if (event.kind !== 'responseEnded' && event.kind !== 'used') return false;
    const { inputTokens = 0, outputTokens = 0 } = this.total ?? {};
    const { usage } = event;
    if (usage !== undefined)
      this.total = {
        inputTokens: inputTokens + (tokenCountOf(usage.inputTokens) ?? 0),
        outputTokens: outputTokens + (tokenCountOf(usage.outputTokens) ?? 0),
      };
    return true;
  }
}
