import { bytesOfMs } from '@spillway/core/audio';
import type { Recogniser, RecogniserEvent } from '@spillway/voice';
import { onTestFinished } from 'vitest';
import { until } from '../../../core/test/support/until.ts';

type EventOf<Kind extends RecogniserEvent['kind']> = Extract<RecogniserEvent, { readonly kind: Kind }>;

/** A recogniser, and what came of it. */
export class OpenedRecogniser {
  readonly recogniser: Recogniser;
  readonly events: RecogniserEvent[] = [];

  constructor(recogniser: Recogniser) {
    this.recogniser = recogniser;
    recogniser.listen((event) => this.events.push(event));
    onTestFinished(() => recogniser.close());
  }

  /** What came, in order: kinds, with codes. */
  get story(): string[] {
    return this.events
      .filter(({ kind }) => kind !== 'drained' && kind !== 'partial')
      .map((event) => ('code' in event ? `${event.kind} ${event.code}` : event.kind));
  }

  get texts(): string[] {
    return this.of('final').map(({ text }) => text);
  }

  of<Kind extends RecogniserEvent['kind']>(kind: Kind): EventOf<Kind>[] {
    return this.events.filter((event): event is EventOf<Kind> => event.kind === kind);
  }

  /** Resolves with the n-th event of a kind. */
  async next<Kind extends RecogniserEvent['kind']>(kind: Kind, count = 1): Promise<EventOf<Kind>> {
    await until(
      () => this.of(kind).length >= count,
      () => `${kind} ${count}: got ${this.story.join(', ')}`,
    );
    const event = this.of(kind)[count - 1];
    if (event === undefined) throw new TypeError(kind);
    return event;
  }

  /** Sends audio in frames of 20 ms. */
  speak(audio: Uint8Array): void {
    const bytes = bytesOfMs(this.recogniser.input, 20);
    for (let at = 0; at < audio.byteLength; at += bytes) this.recogniser.send(audio.subarray(at, at + bytes));
  }

  /** Says an utterance. */
  say(audio: Uint8Array): void {
    this.speak(audio);
    this.recogniser.finish();
  }
}
