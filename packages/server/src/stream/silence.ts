import { GatewayError } from '../errors.ts';

/** How long a provider that has answered has said nothing. */
export class Silence {
  #lastEventMs: number;
  #lastBytesMs: number;

  constructor(nowMs: number) {
    this.#lastEventMs = nowMs;
    this.#lastBytesMs = nowMs;
  }

  /** When the latest event came. */
  get lastEventMs(): number {
    return this.#lastEventMs;
  }

  /** It begins again: an event came, or something that is no fault of the provider's is over. */
  restart(nowMs: number): void {
    this.#lastEventMs = nowMs;
  }

  /** Something came, be it a comment. */
  heard(nowMs: number): void {
    this.#lastBytesMs = nowMs;
  }

  /**
   * Why it has lasted too long; `undefined`: it has not. Comments alone are life only for as long as the provider may let
   * requests wait in a queue.
   */
  error(nowMs: number, idleTimeoutMs: number, queueTimeoutMs = idleTimeoutMs): GatewayError | undefined {
    const silentMs = nowMs - this.#lastEventMs;
    if (silentMs < idleTimeoutMs) return undefined;
    const isQueued = queueTimeoutMs > idleTimeoutMs && nowMs - this.#lastBytesMs < idleTimeoutMs;
    if (isQueued && silentMs < queueTimeoutMs) return undefined;
    const bound = isQueued ? `${queueTimeoutMs} ms (queueTimeoutMs)` : `${idleTimeoutMs} ms (idleTimeoutMs)`;
    return new GatewayError('upstream_idle', `The provider sent no event for ${bound}.`);
  }
}
