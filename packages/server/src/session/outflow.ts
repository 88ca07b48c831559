import { frameOverheadBytes } from '@spillway/core/session';
import type { Socket } from 'node:net';
import { takenBytes } from '../sink/link.ts';
import type { Pace } from '../sink/pace.ts';
import { Progress, type ProgressRules } from '../sink/progress.ts';

/** What may wait in a session's socket without its client's credit; then no more of its frames are handled. */
const maxOwnBytes = 16_384;

/**
 * What a session writes that needs no credit: answers, errors, ends, pongs. As long as its client does not take them, they
 * wait in the socket, and no frame may be handled that could add to them.
 */
export class Outflow {
  readonly #tcp: Socket;
  readonly #pace: Pace;
  readonly #progress: Progress;
  #ownBytes = 0;

  constructor(tcp: Socket, pace: Pace, rules: ProgressRules) {
    this.#tcp = tcp;
    this.#pace = pace;
    this.#progress = new Progress(rules);
  }

  /** The socket takes no more at the moment. */
  get isBlocked(): boolean {
    return this.#tcp.writableNeedDrain;
  }

  /** So much waits that was written without credit, that nothing may be added. */
  get isFull(): boolean {
    return this.isBlocked && this.#ownBytes > maxOwnBytes;
  }

  /** To be called before something is written without credit, with its size. */
  add(bytes: number): void {
    if (!this.isBlocked) this.#ownBytes = 0;
    this.#ownBytes += bytes + frameOverheadBytes;
  }

  /** Looks whether a client for whom something waits takes any of it. */
  hasStalled(nowMs: number): boolean {
    const { isBlocked } = this;
    // What the kernel takes is not taken by the client, and comes in large steps.
    const bytes = isBlocked ? (this.#pace.ackedBytes ?? takenBytes(this.#tcp)) : 0;
    return this.#progress.observe(nowMs, bytes, isBlocked) !== undefined;
  }
}
