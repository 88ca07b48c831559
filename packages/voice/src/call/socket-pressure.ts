/** The sockets of a call. */
type Place = 'carrier' | 'model';

/** Audio that has piled up in a call's sockets: told when it reaches a limit, and when it has fallen to half of that. */
export class SocketPressure {
  readonly #limitMs: number;
  readonly #onChange: (at: Place, ms: number, isOver: boolean) => void;
  readonly #isOn: Record<Place, boolean> = { carrier: false, model: false };

  constructor(limitMs: number, onChange: (at: Place, ms: number, isOver: boolean) => void) {
    this.#limitMs = limitMs;
    this.#onChange = onChange;
  }

  look(at: Place, ms: number): void {
    const isOn = this.#isOn[at] ? ms > this.#limitMs / 2 : ms >= this.#limitMs;
    if (isOn === this.#isOn[at]) return;
    this.#isOn[at] = isOn;
    this.#onChange(at, ms, !isOn);
  }
}
