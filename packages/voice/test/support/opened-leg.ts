import { until } from '../../../core/test/support/until.ts';
import {
  type ModelEvent,
  type ModelLeg,
  openOpenAiRealtime,
  type OpenAiRealtimeOptions,
} from '../../src/index.ts';

type EventOf<Kind extends ModelEvent['kind']> = Extract<ModelEvent, { readonly kind: Kind }>;

/** A leg to OpenAI's API, and what came of it. */
export class OpenedLeg {
  readonly leg: ModelLeg;
  readonly events: ModelEvent[] = [];

  constructor(url: string, options: Partial<OpenAiRealtimeOptions> = {}) {
    this.leg = openOpenAiRealtime({ url, model: 'gpt-realtime-2', apiKey: 'sk-test', ...options });
    this.leg.listen((event) => this.events.push(event));
  }

  /** The events of a kind that have come. */
  of<Kind extends ModelEvent['kind']>(kind: Kind): EventOf<Kind>[] {
    return this.events.filter((event): event is EventOf<Kind> => event.kind === kind);
  }

  /** Resolves with the n-th event of a kind. */
  async next<Kind extends ModelEvent['kind']>(kind: Kind, count = 1): Promise<EventOf<Kind>> {
    await until(
      () => this.of(kind).length >= count,
      () => `${kind}: got ${JSON.stringify(this.events.map((one) => one.kind))}`,
    );
    const event = this.of(kind)[count - 1];
    if (event === undefined) throw new TypeError(kind);
    return event;
  }

  /** Sends audio in frames of 20 ms of telephone audio. */
  speak(audio: Uint8Array): void {
    for (let at = 0; at < audio.byteLength; at += 160) this.leg.send(audio.subarray(at, at + 160));
  }
}
