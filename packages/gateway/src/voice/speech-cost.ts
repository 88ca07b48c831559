import type { CallFigures } from '@spillway/voice';
import type { SpeechPrice } from '../config/limits.ts';

/** What the speech of a call costs. `undefined`: the table has no price. */
export interface SpeechPrices {
  readonly recognise: SpeechPrice | undefined;
  readonly speak: SpeechPrice | undefined;
}

const minuteMs = 60_000;
const million = 1_000_000;

/**
 * What a call's recogniser and speaker cost, in millionths of the currency, and what of it was spoken for nobody. A speaker is paid for
 * the characters that it was given; what was not heard of them is known in milliseconds, so their cost is shared by those.
 */
export function speechCost(
  { droppedMs: unheardMs, stages }: Pick<CallFigures, 'droppedMs' | 'stages'>,
  { recognise, speak }: SpeechPrices,
): { readonly cost: number; readonly wastedCost: number } {
  const heard = stages.find(({ stage }) => stage === 'recognise');
  const spoken = stages.find(({ stage }) => stage === 'speak');
  const hearing = ((heard?.doneMs ?? 0) / minuteMs) * (recognise?.minute ?? 0);
  const speaking = ((spoken?.characters ?? 0) / million) * (speak?.characters ?? 0);
  // What was dropped in the stage was never made.
  const { doneMs = 0, droppedMs: unmadeMs = 0 } = spoken ?? {};
  const paidMs = doneMs + unmadeMs;
  const wasted = paidMs === 0 ? 0 : Math.min(1, (unheardMs + unmadeMs) / paidMs);
  return { cost: Math.ceil(hearing + speaking), wastedCost: Math.ceil(speaking * wasted) };
}
