import type { CallEvent, ModelUsage } from '@spillway/voice';
import { UnreportedAnswer } from '../limit/unreported-answer.ts';

/** Adds up the tokens that the model of a call reports. */
export class CallUsage {
  /** What it has not reported. */
  readonly answer = new UnreportedAnswer();
  /** `undefined`: nothing was reported so far. */
  total: ModelUsage | undefined;

  /** Looks at an event. Returns whether it reports tokens. */
  saw(event: CallEvent): boolean {
    if (event.kind !== 'responseEnded' && event.kind !== 'used') return false;
    const { usage } = event;
    if (usage === undefined) return false;
    const { inputTokens = 0, outputTokens = 0 } = this.total ?? {};
    this.total = {
      inputTokens: inputTokens + usage.inputTokens,
      outputTokens: outputTokens + usage.outputTokens,
    };
    return true;
  }
}
