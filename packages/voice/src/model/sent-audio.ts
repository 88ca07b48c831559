import { type AudioFormat, bytesOfMs, msOfBytes } from '@spillway/core/audio';
import type { ModelSocket } from './model-socket.ts';

/** Audio between two pings, at most. */
const pingEveryMs = 160;
/** Audio that a socket may hold and still be told as drained: half of what a call leaves in it. */
const drainedMs = 100;

/**
 * The audio that was sent to a model, and how far it got. No API confirms audio, but every WebSocket answers a ping, and its answer
 * stands behind what was sent before the ping: what was sent and not confirmed is in the socket, the operating system or
 * on the way.
 */
export class SentAudio {
  readonly #format: AudioFormat;
  readonly #socket: Pick<ModelSocket, 'isEmpty' | 'isOver' | 'ping' | 'write'>;
  readonly #onDrained: () => void;
  #unsentBytes = 0;
  #unconfirmedBytes = 0;
  /** What no ping stands behind. */
  #unmarkedBytes = 0;
  #isFull = false;

  constructor(
    format: AudioFormat,
    socket: Pick<ModelSocket, 'isEmpty' | 'isOver' | 'ping' | 'write'>,
    onDrained: () => void,
  ) {
    this.#format = format;
    this.#socket = socket;
    this.#onDrained = onDrained;
  }

  /** What the socket has not given to the operating system, in milliseconds. */
  get bufferedMs(): number {
    // What was sent in this turn is told as sent in a later one, also where the operating system has it by now. What a socket
    // that is over holds, nobody waits for.
    const { isEmpty, isOver } = this.#socket;
    return isEmpty || isOver ? 0 : msOfBytes(this.#format, this.#unsentBytes);
  }

  /** What is not confirmed, in milliseconds. */
  get unconfirmedMs(): number {
    return this.#socket.isOver ? 0 : msOfBytes(this.#format, this.#unconfirmedBytes);
  }

  /** Sends audio, as the message that has it. */
  send(message: string, bytes: number): void {
    this.#unsentBytes += bytes;
    this.#unconfirmedBytes += bytes;
    this.#unmarkedBytes += bytes;
    this.#socket.write(message, () => {
      this.#unsentBytes -= bytes;
      if (!this.#isFull || this.bufferedMs > drainedMs) return;
      this.#isFull = false;
      this.#onDrained();
    });
    if (this.bufferedMs > drainedMs) this.#isFull = true;
    if (this.#unmarkedBytes < bytesOfMs(this.#format, pingEveryMs)) return;
    const marked = this.#unmarkedBytes;
    this.#unmarkedBytes = 0;
    this.#socket.ping(() => {
      this.#unconfirmedBytes -= marked;
      this.#onDrained();
    });
  }
}
