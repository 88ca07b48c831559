/** Audio in a socket: told when it reaches a limit, and when it has fallen to half of that. */
export class Pressure {
  readonly #limitMs: number;
  readonly #onChange: (ms: number, isOver: boolean) => void;
  #isOn = false;

  constructor(limitMs: number, onChange: (ms: number, isOver: boolean) => void) {
    this.#limitMs = limitMs;
    this.#onChange = onChange;
  }

  look(ms: number): void {
    const isOn = this.#isOn ? ms > this.#limitMs / 2 : ms >= this.#limitMs;
    if (isOn === this.#isOn) return;
    this.#isOn = isOn;
    this.#onChange(ms, !isOn);
  }
}
