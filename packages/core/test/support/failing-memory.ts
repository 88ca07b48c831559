import { SpillwayError } from '../../src/index.ts';

/** What engines in memory have in common: they fail, are silent, and know how much is open. */
export class FailingMemory {
  readonly #tripMs: number;
  readonly #code: 'sink_failed' | 'source_failed';
  #state: 'failing' | 'silent' | 'well' = 'well';
  #whenHealed = Promise.withResolvers<void>();
  #open = 0;

  constructor(tripMs: number, code: 'sink_failed' | 'source_failed') {
    this.#tripMs = tripMs;
    this.#code = code;
  }

  opened(): void {
    this.#open += 1;
  }

  released(): void {
    this.#open -= 1;
  }

  openCount(): number {
    return this.#open;
  }

  fail(): void {
    this.#state = 'failing';
  }

  hang(): void {
    this.#state = 'silent';
  }

  heal(): void {
    this.#state = 'well';
    this.#whenHealed.resolve();
    this.#whenHealed = Promise.withResolvers();
  }

  /** What a call's way to the engine takes. */
  async trip(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, this.#tripMs));
    if (this.#state === 'silent') await this.#whenHealed.promise;
    if (this.#state === 'failing') throw new SpillwayError(this.#code, 'The engine in memory has failed.');
  }
}
