import { GatewayError } from '../errors.ts';

/** How long a provider that has answered has been silent. */
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

  /** The silence begins again: an event came, or a wait ended that was not the provider's fault. */
  restart(nowMs: number): void {
    this.#lastEventMs = nowMs;
  }

  /** Bytes came, perhaps only a comment. */
  heard(nowMs: number): void {
    this.#lastBytesMs = nowMs;
  }

  /**
   * The error of a silence that is too long; `undefined`: it is not. Comments alone prolong it up to
   * `queueTimeoutMs`, the time that the provider may queue requests.
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
