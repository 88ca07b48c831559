import { type AudioFormat, Resampler, type SpokenPart } from '@spillway/core/audio';
import type { StageFigures } from '../cascade/stage-figures.ts';
import type { ModelEvent, ModelLeg } from './model-leg.ts';

type EventOf<Kind extends ModelEvent['kind']> = Extract<ModelEvent, { readonly kind: Kind }>;

class ResampledModel implements ModelLeg {
  readonly input: AudioFormat;
  readonly output: AudioFormat;
  readonly #model: ModelLeg;
  readonly #mouth: Resampler;
  readonly #ear: Resampler;
  /** Only what the model has: a call asks whether a leg goes by the ear. */
  readonly unheard?: (ms: number) => void;
  /** The part whose last milliseconds are held. */
  #held: Pick<EventOf<'audio'>, 'part' | 'responseId'> | undefined;

  constructor(model: ModelLeg, format: AudioFormat) {
    this.input = format;
    this.output = format;
    this.#model = model;
    this.#mouth = new Resampler(format, model.input);
    this.#ear = new Resampler(model.output, format);
    if (model.unheard !== undefined) this.unheard = (ms) => model.unheard?.(ms);
  }

  get api(): string {
    return this.#model.api;
  }

  get answersItself(): boolean {
    return this.#model.answersItself;
  }

  get stages(): readonly StageFigures[] | undefined {
    return this.#model.stages;
  }

  get bufferedMs(): number {
    return this.#model.bufferedMs;
  }

  get unconfirmedMs(): number {
    return this.#model.unconfirmedMs;
  }

  listen(listener: (event: ModelEvent) => void): void {
    this.#model.listen((event) => {
      if (event.kind === 'audio') this.#hear(event, listener);
      else {
        // A response that ends, for whatever reason, has no more audio.
        if (event.kind === 'audioEnded' || event.kind === 'responseEnded') this.#end(listener);
        listener(event);
      }
    });
  }

  send(audio: Uint8Array): void {
    const made = this.#mouth.push(audio);
    if (made.byteLength > 0) this.#model.send(made);
  }

  cancel(): void {
    this.#model.cancel();
  }

  truncate(part: SpokenPart, heardMs: number): void {
    this.#model.truncate(part, heardMs);
  }

  remove(itemId: string): void {
    this.#model.remove(itemId);
  }

  respond(instructions?: string): void {
    this.#model.respond(instructions);
  }

  tell(text: string): void {
    this.#model.tell(text);
  }

  giveResult(callId: string, output: string): void {
    this.#model.giveResult(callId, output);
  }

  close(): void {
    this.#model.close();
  }

  #hear(event: EventOf<'audio'>, listener: (event: ModelEvent) => void): void {
    const { part, responseId } = event;
    const { itemId, contentIndex } = this.#held?.part ?? part;
    // What is held of one part is not to be heard at the beginning of another.
    if (itemId !== part.itemId || contentIndex !== part.contentIndex) this.#end(listener);
    this.#held = { part, responseId };
    const audio = this.#ear.push(event.audio);
    if (audio.byteLength > 0) listener({ ...event, audio });
  }

  #end(listener: (event: ModelEvent) => void): void {
    if (this.#held === undefined) return;
    const rest = { kind: 'audio', ...this.#held, audio: this.#ear.end() } as const;
    this.#held = undefined;
    if (rest.audio.byteLength > 0) listener(rest);
  }
}

/**
 * A model in a carrier's format, both ways, where its own is another. Durations and times stay what they are: a part has as
 * many milliseconds as the model made of it, to one sample and never more, so that `truncate` is right. Audio comes 2 ms
 * later each way (`Resampler`).
 *
 * @throws {SpillwayError} `invalid_option`: a format that cannot be made of the model's.
 * @example
 * ```ts
 * // `leg`: a `ModelLeg` of your own.
 * const call = openCall({ carrier, model: resampledModel(leg, carrier.format) });
 * ```
 */
export function resampledModel(model: ModelLeg, format: AudioFormat): ModelLeg {
  return new ResampledModel(model, format);
}
