import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { type Call, type CallEvent, type CallOptions, openCall } from '../../src/index.ts';
import { ScriptedCarrier, ScriptedModel } from './scripted-legs.ts';

/** A call between two scripted legs, on a clock of its own. */
export interface OpenedCall {
  readonly call: Call;
  readonly carrier: ScriptedCarrier;
  readonly clock: VirtualClock;
  readonly events: CallEvent[];
  readonly log: string[];
  readonly model: ScriptedModel;
}

export function openedCall(options: Partial<CallOptions> = {}): OpenedCall {
  const clock = new VirtualClock();
  const log: string[] = [];
  const carrier = new ScriptedCarrier(clock, log);
  const model = new ScriptedModel(log);
  const events: CallEvent[] = [];
  const call = openCall({ carrier, model, clock, onEvent: (event) => events.push(event), ...options });
  return { call, carrier, clock, events, log, model };
}

export const part = { itemId: 'item-1', contentIndex: 0 };

/** The model says so many milliseconds, ten times as fast as they play. */
export async function say(
  { clock, model }: Pick<OpenedCall, 'clock' | 'model'>,
  ms: number,
  responseId = 'r-1',
  spoken = part,
): Promise<void> {
  model.say({ kind: 'responseStarted', responseId });
  for (let done = 0; done < ms; done += 200) {
    model.say({ kind: 'audio', responseId, part: spoken, audio: speech(200) });
    await clock.advance(20);
  }
  model.say({ kind: 'audioEnded', responseId, part: spoken });
  model.say({ kind: 'responseEnded', responseId, state: 'completed', usage: undefined });
}

export function speech(ms: number): Uint8Array {
  return new Uint8Array(ms * 8).fill(0x90);
}

export function quiet(ms: number): Uint8Array {
  return new Uint8Array(ms * 8).fill(0xff);
}
