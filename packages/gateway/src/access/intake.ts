/** Whether the gateway takes new streams, as its operator wishes. Running streams do not notice. */
export class Intake {
  #closedAtMs: number | null = null;

  /** When an operator began to drain the gateway, in milliseconds since 1970; `null`: it takes new streams. */
  get closedAtMs(): number | null {
    return this.#closedAtMs;
  }

  get isOpen(): boolean {
    return this.#closedAtMs === null;
  }

  /**
   * From now on the gateway is not ready, until `open` or the end of the process. Nothing ends by itself. Returns
   * whether it took new streams until now.
   */
  close(dateMs: number): boolean {
    const { isOpen } = this;
    this.#closedAtMs ??= dateMs;
    return isOpen;
  }

  /** Returns whether it took no new streams until now. */
  open(): boolean {
    const { isOpen } = this;
    this.#closedAtMs = null;
    return !isOpen;
  }
}
