import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import {
  type Call,
  type CallEvent,
  type CallOptions,
  type CascadeOptions,
  type ModelLeg,
  openCall,
  openCascade,
} from '../../src/index.ts';
import { quiet } from './opened-call.ts';
import { ScriptedCarrier } from './scripted-legs.ts';
import { ScriptedReasoner, ScriptedRecogniser, ScriptedSpeaker } from './scripted-stages.ts';

/** 20 ms of a tone of 1,000 Hz. With a gap every 200 ms it is taken for speech. */
const voice = new Uint8Array(160).map((_, at) => (at % 8 < 4 ? 0x90 : 0x10));

type EventOf<Kind extends CallEvent['kind']> = Extract<CallEvent, { readonly kind: Kind }>;

/** A call with a cascade of scripted stages, on a clock of its own. The caller's microphone is always on. */
export class OpenedCascade {
  readonly clock = new VirtualClock();
  readonly carrier: ScriptedCarrier;
  readonly recogniser: ScriptedRecogniser;
  readonly reasoner: ScriptedReasoner;
  readonly speaker: ScriptedSpeaker;
  readonly model: ModelLeg;
  readonly call: Call;
  readonly events: { readonly event: CallEvent; readonly atMs: number }[] = [];
  #saysUntilMs = 0;
  /** What the ear has heard of speech when that is looked at: the most that was on its way, in milliseconds. */
  mostUnheardMs = 0;

  constructor(
    options: Partial<CascadeOptions> = {},
    callOptions: Partial<CallOptions> = {},
    { isReady = true }: { readonly isReady?: boolean } = {},
  ) {
    const { clock } = this;
    this.carrier = new ScriptedCarrier(clock, []);
    this.recogniser = new ScriptedRecogniser(clock, isReady);
    this.reasoner = new ScriptedReasoner(clock);
    this.speaker = new ScriptedSpeaker(clock);
    const { reasoner, recogniser, speaker } = this;
    this.model = openCascade({ recogniser, reasoner, speaker, clock, ...options });
    this.call = openCall({
      carrier: this.carrier,
      model: this.model,
      clock,
      onEvent: (event) => this.events.push({ event, atMs: clock.nowMs() }),
      ...callOptions,
    });
    let mediaMs = 0;
    clock.every(20, () => {
      const audio = clock.nowMs() < this.#saysUntilMs && mediaMs % 200 < 160 ? voice : quiet(20);
      this.carrier.tell({ kind: 'audio', timestampMs: mediaMs, audio });
      mediaMs += 20;
      const { outUnconfirmedMs, outWaitingMs } = this.call.figures;
      this.mostUnheardMs = Math.max(this.mostUnheardMs, outWaitingMs + outUnconfirmedMs);
    });
  }

  /** The caller speaks for so long. Resolves when it has stopped. */
  async say(ms: number, words?: string): Promise<void> {
    if (words !== undefined) this.recogniser.words.push(words);
    this.#saysUntilMs = this.clock.nowMs() + ms;
    await this.clock.advance(ms);
  }

  of<Kind extends CallEvent['kind']>(kind: Kind): EventOf<Kind>[] {
    return this.events
      .map(({ event }) => event)
      .filter((event): event is EventOf<Kind> => event.kind === kind);
  }

  /** The texts that were given to the speaker. */
  get spoken(): readonly string[] {
    return this.speaker.spoken.map(({ text }) => text);
  }
}
