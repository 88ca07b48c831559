import { type AudioFormat, type SpokenPart, telephoneAudio } from '@spillway/core/audio';
import type { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { EarDouble } from '../../../core/test/support/ear-double.ts';
import type { CarrierEvent, CarrierLeg, ModelEvent, ModelLeg } from '../../src/index.ts';

/** A carrier's leg without a socket, with an ear that plays on the test's clock. */
export class ScriptedCarrier implements CarrierLeg {
  readonly call = { carrier: 'scripted', callId: 'call-1', streamId: 'stream-1', parameters: {} };
  readonly format: AudioFormat = telephoneAudio;
  readonly ear: EarDouble;
  bufferedMs = 0;
  closed: { readonly code: number; readonly reason: string } | undefined;
  /** What the call has done to this leg and to the model, in order. */
  readonly #log: string[];
  tell: (event: CarrierEvent) => void = () => undefined;

  constructor(clock: VirtualClock, log: string[], delayMs = 50) {
    this.#log = log;
    this.ear = new EarDouble(clock, telephoneAudio, delayMs);
    this.ear.onMark = (name) => this.tell({ kind: 'mark', name });
  }

  send(frame: Uint8Array): void {
    if (this.#log.at(-1) !== 'send') this.#log.push('send');
    this.ear.send(frame);
  }

  mark(name: string): void {
    this.ear.mark(name);
  }

  clear(): void {
    this.#log.push('clear');
    this.ear.clear();
  }

  listen(listener: (event: CarrierEvent) => void): void {
    this.tell = listener;
  }

  close(code: number, reason: string): void {
    this.closed ??= { code, reason };
  }
}

/** A model's leg without a socket. */
export class ScriptedModel implements ModelLeg {
  readonly api = 'scripted';
  readonly input: AudioFormat = telephoneAudio;
  readonly output: AudioFormat = telephoneAudio;
  answersItself = true;
  bufferedMs = 0;
  unconfirmedMs = 0;
  isClosed = false;
  readonly heard: number[] = [];
  /** What the call has done to it, in order. */
  readonly log: string[];
  say: (event: ModelEvent) => void = () => undefined;

  constructor(log: string[]) {
    this.log = log;
  }

  listen(listener: (event: ModelEvent) => void): void {
    this.say = listener;
  }

  send(audio: Uint8Array): void {
    this.heard.push(...audio);
  }

  cancel(): void {
    this.log.push('cancel');
  }

  truncate({ contentIndex, itemId }: SpokenPart, heardMs: number): void {
    this.log.push(`truncate ${itemId}/${contentIndex} ${heardMs}`);
  }

  remove(itemId: string): void {
    this.log.push(`remove ${itemId}`);
  }

  respond(instructions = ''): void {
    this.log.push(`respond ${instructions}`);
  }

  tell(text: string): void {
    this.log.push(`tell ${text}`);
  }

  giveResult(callId: string, output: string): void {
    this.log.push(`result ${callId} ${output}`);
  }

  close(): void {
    this.isClosed = true;
  }
}
