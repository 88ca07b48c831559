import type { StreamDetail, StreamEvent } from '../../packages/server/src/console/snapshot.ts';
import type { LagSample } from './reader-lane.tsx';

/** Ten minutes at four a second. */
const maxSamples = 2400;
const maxEvents = 2000;

/** What a page saw of a stream, which is more than the gateway keeps: its journal has the latest events only. */
export class StreamMemory {
  /** Of readers by their numbers, and of taps by their names. */
  readonly samples = new Map<number | string, LagSample[]>();
  #events: StreamEvent[] = [];

  get events(): readonly StreamEvent[] {
    return this.#events;
  }

  add({ atMs, events, stream, taps }: StreamDetail): void {
    for (const { lagBytes, number } of stream.readers) this.#sample(number, { atMs, lagBytes });
    for (const { lagBytes, name } of taps) this.#sample(name, { atMs, lagBytes });
    // The journal is right about its time, also where an event was taken back; before that, what was seen is.
    const fromMs = events[0]?.atMs ?? Infinity;
    this.#events = [...this.#events.filter((event) => event.atMs < fromMs), ...events];
    if (this.#events.length > maxEvents) this.#forget();
  }

  #sample(of: number | string, sample: LagSample): void {
    const samples = this.samples.get(of) ?? [];
    if (samples.length >= maxSamples) samples.splice(0, maxSamples / 4);
    samples.push(sample);
    this.samples.set(of, samples);
  }

  /** The oldest gaps first, which there may be many of, and then what is oldest. */
  #forget(): void {
    let left = this.#events.length - maxEvents * 0.75;
    this.#events = this.#events.filter(({ type }) => type !== 'gap' || left-- <= 0).slice(-maxEvents);
  }
}

/** When the request came, in milliseconds since 1970. */
export function openedAtMs({ atMs, stream: { ageMs, endedAtMs } }: StreamDetail): number {
  return (endedAtMs ?? atMs) - ageMs;
}
