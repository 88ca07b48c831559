import type { Gate } from '@spillway/core';
import { GatewayError } from '../errors.ts';
import type { TapGate } from './tap.ts';

/** The gates of all taps of one stream: its readers get what every one of these taps has kept. */
export class TapGates {
  readonly #gates: TapGate[] = [];
  /** Why nothing more goes through; `undefined`: no tap has failed. */
  failure: GatewayError | undefined;

  add(gate: TapGate): void {
    this.#gates.push(gate);
  }

  get areNone(): boolean {
    return this.#gates.length === 0;
  }

  /** The gates that a reader's cursor has to respect. */
  get chunks(): readonly Gate[] {
    return this.#gates.map(({ chunks }) => chunks);
  }

  /** Resolves when readers may get the provider's status and headers. Rejects if a tap cannot keep them. */
  async head(): Promise<void> {
    await Promise.all(this.#gates.map(({ head }) => head));
  }

  /** Resolves when every gate is open to the end. Never settles for a stream whose tap has failed. */
  whole(): Promise<void> {
    return new Promise((resolve) => {
      const look = (): void => {
        if (this.#gates.every(({ chunks }) => chunks.openTo === Infinity)) resolve();
      };
      for (const { chunks } of this.#gates) chunks.onOpen(look);
      look();
    });
  }

  /** Whether a chunk at that offset waits for a tap. */
  holdBack(offset: number): boolean {
    return this.#gates.some(({ chunks }) => offset >= chunks.openTo);
  }
}

/** The error of readers whose stream is not kept as the operator asked. */
export function tapUnavailable(name: string): GatewayError {
  const message = `The tap ${name} could not keep the answer, and it may lose none of it.`;
  return new GatewayError('tap_unavailable', message, { retryAfterS: 1 });
}
