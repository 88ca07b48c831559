/** A place, or the wait for one. */
export interface Place {
  /**
   * Resolves when the place is given. `undefined`: it was given at once.
   *
   * Rejects with the signal's reason when it is aborted before, and with `overloaded` when the request may wait no longer.
   * There is no place then.
   */
  readonly given: Promise<void> | undefined;
  /** Whether the place is given, and not released. */
  readonly isHeld: boolean;
  /**
   * Which of those that wait the request is: 1 gets the next place, if nothing changes until then. `undefined`: it does
   * not wait. All are numbered when somebody looks.
   */
  readonly position: number | undefined;
  /**
   * Tells the limit how long the first token took. Who waits gets in at once where the limit has grown.
   *
   * @param ttftMs From the moment the provider was asked: ≥ 0.
   */
  answered(ttftMs: number): void;
  /** Tells the limit that the request was refused for its number (429, 503), or not answered in time. */
  failed(): void;
  /** Gives the place back, or ends the wait without a word. A second call does nothing. */
  release(): void;
}

/** Who gets the next free place: of those that wait, the one with the highest priority. */
export type Priority = 'high' | 'low' | 'normal';
