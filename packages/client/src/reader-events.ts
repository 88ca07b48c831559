import { notify } from './notify.ts';
import type { StreamEvent } from './stream-reader.ts';

type Stall = Extract<StreamEvent, { type: 'stalled' }>['reason'] | undefined;

/** The listeners of a reader, and the stall that they were told of last. */
export class ReaderEvents {
  readonly #listeners = new Set<(event: StreamEvent) => void>();
  #stall: Stall;

  add(listener: (event: StreamEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  emit(event: StreamEvent): void {
    for (const listener of this.#listeners) notify(listener, event);
    if (event.type === 'end') this.#listeners.clear();
  }

  /** Emits an event if the stall has changed. */
  stalled(stall: Stall): void {
    if (stall === this.#stall) return;
    this.#stall = stall;
    this.emit(stall === undefined ? { type: 'resumed' } : { type: 'stalled', reason: stall });
  }
}
