import { frameOverheadBytes } from '@spillway/core/session';
import type { Socket } from 'node:net';
import { takenBytes } from '../sink/link.ts';
import type { Pace } from '../sink/pace.ts';
import { Progress, type ProgressRules } from '../sink/progress.ts';

/** The bytes that may wait in a session's socket without credit. Above that, no more frames of the client are handled. */
const maxOwnBytes = 16_384;

/**
 * The frames of a session that need no credit: answers, errors, ends, pongs. While the client does not take them,
 * they wait in the socket. Then no frame is handled that could add to them.
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

  /** Whether the socket takes no more at the moment. */
  get isBlocked(): boolean {
    return this.#tcp.writableNeedDrain;
  }

  /** Whether so many bytes wait without credit that no more may be added. */
  get isFull(): boolean {
    return this.isBlocked && this.#ownBytes > maxOwnBytes;
  }

  /** Call this before each write without credit, with its size. */
  add(bytes: number): void {
    if (!this.isBlocked) this.#ownBytes = 0;
    this.#ownBytes += bytes + frameOverheadBytes;
  }

  /** Whether the client has taken nothing, or too little, of the bytes that wait for it. */
  hasStalled(nowMs: number): boolean {
    const { isBlocked } = this;
    // Bytes that the kernel takes are not yet taken by the client, and they go in large steps.
    const bytes = isBlocked ? (this.#pace.ackedBytes ?? takenBytes(this.#tcp)) : 0;
    return this.#progress.observe(nowMs, bytes, isBlocked) !== undefined;
  }
}
