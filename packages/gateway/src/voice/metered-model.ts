import { type AudioFormat, msOfBytes, type SpokenPart } from '@spillway/core/audio';
import type { ModelEvent, ModelLeg } from '@spillway/voice';
import { textTokens } from '../limit/token-estimate.ts';
import { heardTokens, saidTokens, type UnreportedAnswer } from '../limit/unreported-answer.ts';

/** A model's leg whose answer is measured while it comes, for a call that ends before it is reported. */
export class MeteredModel implements ModelLeg {
  readonly #leg: ModelLeg;
  readonly #answer: UnreportedAnswer;
  /** Only what the leg has: a call asks whether one goes by the ear. */
  readonly unheard?: (ms: number) => void;
  #speechStartedMs = 0;

  constructor(leg: ModelLeg, answer: UnreportedAnswer) {
    this.#leg = leg;
    this.#answer = answer;
    if (leg.unheard !== undefined) this.unheard = (ms) => leg.unheard?.(ms);
  }

  get api(): string {
    return this.#leg.api;
  }

  get input(): AudioFormat {
    return this.#leg.input;
  }

  get output(): AudioFormat {
    return this.#leg.output;
  }

  get answersItself(): boolean {
    return this.#leg.answersItself;
  }

  get stages(): ModelLeg['stages'] {
    return this.#leg.stages;
  }

  get bufferedMs(): number {
    return this.#leg.bufferedMs;
  }

  get unconfirmedMs(): number {
    return this.#leg.unconfirmedMs;
  }

  listen(listener: (event: ModelEvent) => void): void {
    this.#leg.listen((event) => {
      this.#saw(event);
      listener(event);
    });
  }

  send(audio: Uint8Array): void {
    this.#leg.send(audio);
  }

  cancel(): void {
    this.#leg.cancel();
  }

  truncate(part: SpokenPart, heardMs: number): void {
    this.#leg.truncate(part, heardMs);
  }

  remove(itemId: string): void {
    this.#leg.remove(itemId);
  }

  respond(instructions?: string): void {
    this.#asked();
    this.#leg.respond(instructions);
  }

  tell(text: string): void {
    this.#joined(text);
    this.#leg.tell(text);
  }

  giveResult(callId: string, output: string): void {
    this.#joined(output);
    this.#asked();
    this.#leg.giveResult(callId, output);
  }

  close(): void {
    this.#answer.sessionEnded();
    this.#leg.close();
  }

  #saw(event: ModelEvent): void {
    switch (event.kind) {
      case 'responseStarted':
        this.#answer.began();
        break;
      case 'audio':
        this.#answer.said(saidTokens(msOfBytes(this.output, event.audio.byteLength)));
        break;
      case 'said':
        // Whole words stand in place of the partial ones.
        if (!event.isWhole) this.#answer.said(textTokens(Buffer.byteLength(event.text)));
        break;
      case 'toolCalled':
        this.#answer.said(textTokens(Buffer.byteLength(event.input)));
        break;
      case 'responseEnded':
        if (!this.#reportsApart) this.#answer.ended(event.usage, event.state === 'failed');
        break;
      case 'used':
        if (this.#reportsApart) this.#answer.ended(event.usage, false);
        break;
      case 'speechStarted':
        this.#speechStartedMs = event.atMs;
        break;
      case 'speechStopped':
        this.#answer.joined(heardTokens(Math.max(0, event.atMs - this.#speechStartedMs)));
        break;
      case 'ended':
        this.#answer.sessionEnded();
        break;
      default:
    }
  }

  /** Gemini reports an answer when it would have been heard. Of the others, what they report apart is of another model. */
  get #reportsApart(): boolean {
    return this.#leg.api === 'gemini-live';
  }

  /** A leg asks for one answer behind all that it was given. */
  #asked(): void {
    if (!this.#answer.isAsked) this.#answer.asked();
  }

  #joined(text: string): void {
    this.#answer.joined(textTokens(Buffer.byteLength(text)));
  }
}
