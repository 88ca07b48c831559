import type { AudioFormat } from '@spillway/core/audio';
import type { CarrierCall, CarrierEvent, CarrierLeg } from '@spillway/voice';

/** Who hears a call's sound, as it comes from the human and as it is sent to the ear. */
export type HearSound = (from: 'human' | 'model', audio: Uint8Array) => void;

/** A carrier's leg that somebody listens in on. */
export class HeardCarrier implements CarrierLeg {
  readonly #leg: CarrierLeg;
  readonly #hear: HearSound;

  constructor(leg: CarrierLeg, hear: HearSound) {
    this.#leg = leg;
    this.#hear = hear;
  }

  get call(): CarrierCall {
    return this.#leg.call;
  }

  get format(): AudioFormat {
    return this.#leg.format;
  }

  get bufferedMs(): number {
    return this.#leg.bufferedMs;
  }

  send(frame: Uint8Array): void {
    this.#leg.send(frame);
    this.#hear('model', frame);
  }

  mark(name: string): void {
    this.#leg.mark(name);
  }

  clear(): void {
    this.#leg.clear();
  }

  listen(listener: (event: CarrierEvent) => void): void {
    this.#leg.listen((event) => {
      if (event.kind === 'audio') this.#hear('human', event.audio);
      listener(event);
    });
  }

  close(code: number, reason: string): void {
    this.#leg.close(code, reason);
  }
}
