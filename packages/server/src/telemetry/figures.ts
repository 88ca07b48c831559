import type { Meter as Instruments, ObservableResult } from '@opentelemetry/api';

type Observe = (result: ObservableResult) => void;

/** Defines figures that are read when metrics are asked for. */
export class Figures {
  readonly #instruments: Instruments;

  constructor(instruments: Instruments) {
    this.#instruments = instruments;
  }

  counter(name: string, unit: string, description: string, observe: Observe): void {
    this.#instruments.createObservableCounter(name, { unit, description }).addCallback(observe);
  }

  gauge(name: string, unit: string, description: string, observe: Observe): void {
    this.#instruments.createObservableGauge(name, { unit, description }).addCallback(observe);
  }

  /** Defines counters of one number each: name, unit, description, and how to read the number. */
  counters(plain: Readonly<Record<string, readonly [string, string, () => number]>>): void {
    for (const [name, [unit, description, read]] of Object.entries(plain)) {
      this.counter(name, unit, description, (result) => result.observe(read()));
    }
  }
}
