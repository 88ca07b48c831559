import type { Gate } from '@spillway/core';
import { GatewayError } from '../errors.ts';
import type { StreamEnd, StreamOutcome } from './stream-body.ts';
import type { TapGate } from './tap.ts';

/** The gates of all taps of one stream: its readers get what every one of these taps has kept. */
export class TapGates {
  readonly #gates: TapGate[] = [];
  #failure: GatewayError | undefined;
  #onFailure: ((error: GatewayError) => void) | undefined;

  /** Why nothing more goes through; `undefined`: no tap has failed. */
  get failure(): GatewayError | undefined {
    return this.#failure;
  }

  /** Nothing more goes through. The first reason stays. */
  fail(reason: GatewayError): void {
    this.#failure ??= reason;
    this.#onFailure?.(this.#failure);
  }

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

  /**
   * How a stream that has ended does so for its readers, as soon as that is known: as it did for its provider, or failed,
   * because a tap could not keep it. `undefined`: the gates change nothing of it any more. Call it once.
   */
  outcome(ended: StreamOutcome): Promise<StreamOutcome> | undefined {
    const isOpen = this.#gates.every(({ chunks }) => chunks.openTo === Infinity);
    // What was stopped on purpose waits for no tap.
    if (ended.error?.isCancel === true || (isOpen && this.#failure === undefined)) return undefined;
    return new Promise((resolve) => {
      this.#onFailure = (error) =>
        resolve({ ...ended, state: error.isCancel ? 'cancelled' : 'failed', error });
      if (this.#failure !== undefined) this.#onFailure(this.#failure);
      void this.whole().then(() => resolve(ended));
    });
  }

  /** Whether a chunk at that offset waits for a tap. */
  holdBack(offset: number): boolean {
    return this.#gates.some(({ chunks }) => offset >= chunks.openTo);
  }
}

/** The end of a stream of which a tap could not keep what readers wait for. One that was stopped on purpose stays so. */
export function endUnkept(
  end: StreamEnd | undefined,
  { code, message }: GatewayError,
): StreamEnd | undefined {
  return end === undefined || end.state === 'cancelled'
    ? end
    : { ...end, state: 'failed', code, reason: message };
}

/** The error of readers whose stream is not kept as the operator asked. */
export function tapUnavailable(name: string): GatewayError {
  const message = `The tap ${name} could not keep the answer, and it may lose none of it.`;
  return new GatewayError('tap_unavailable', message, { retryAfterS: 1 });
}
