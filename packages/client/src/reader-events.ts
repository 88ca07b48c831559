import { notify } from './notify.ts';
import type { StreamEvent } from './stream-reader.ts';

type Stall = Extract<StreamEvent, { type: 'stalled' }>['reason'] | undefined;

/** Who listens to a reader, and what they know. */
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

  /** Says so when it has changed. */
  stalled(stall: Stall): void {
    if (stall === this.#stall) return;
    this.#stall = stall;
    this.emit(stall === undefined ? { type: 'resumed' } : { type: 'stalled', reason: stall });
  }
}
