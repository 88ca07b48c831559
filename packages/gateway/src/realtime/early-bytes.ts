import type { Duplex } from 'node:stream';
import { clientLeft, GatewayError } from '@spillway/server/errors';

/** A client that sends more before it is accepted speaks no WebSocket. */
const maxEarlyBytes = 65_536;

/**
 * Watches a client until its upgrade is answered: it may leave. A bounded part of what it sends in the meantime is kept.
 */
export class EarlyBytes {
  readonly #socket: Duplex;
  readonly #parts: Buffer[];
  readonly #onLeave: (error: GatewayError) => void;
  #bytes = 0;

  constructor(socket: Duplex, head: Buffer, onLeave: (error: GatewayError) => void) {
    this.#socket = socket;
    this.#onLeave = onLeave;
    this.#parts = [head];
    socket.on('data', this.#onData);
    socket.on('end', this.#onGone);
    socket.on('close', this.#onGone);
    socket.resume();
  }

  /** What has come. Nothing is read any more until somebody listens. */
  take(): Buffer {
    const socket = this.#socket;
    socket.pause();
    socket.off('data', this.#onData);
    socket.off('end', this.#onGone);
    socket.off('close', this.#onGone);
    return Buffer.concat(this.#parts.splice(0));
  }

  readonly #onData = (bytes: Buffer): void => {
    this.#parts.push(bytes);
    this.#bytes += bytes.length;
    if (this.#bytes > maxEarlyBytes)
      this.#onLeave(
        new GatewayError('invalid_request', 'The upgrade: expected nothing before its answer, got messages.'),
      );
  };

  readonly #onGone = (): void => this.#onLeave(clientLeft('left before its upgrade was answered'));
}
