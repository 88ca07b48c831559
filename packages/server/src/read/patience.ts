import type { Reader } from '@spillway/core';
import { orAborted } from '@spillway/core/or-aborted';
import type { ServerResponse } from 'node:http';
import { clientLeft, overloaded } from '../errors.ts';
import type { ServerClock } from '../time/server-clock.ts';

/** How long a log that is kept elsewhere may take to say where it is, and to find a position. */
const maxWaitMs = 25_000;

/** The patience of one request for a log that is kept elsewhere. It ends when the client leaves, or in time. */
export class Patience {
  readonly #controller = new AbortController();
  readonly #response: ServerResponse;
  readonly #timer: { stop(): void };
  readonly #onClose = (): void => this.#controller.abort(clientLeft('left'));

  constructor(response: ServerResponse, clock: ServerClock) {
    this.#response = response;
    response.once('close', this.#onClose);
    this.#timer = clock.after(maxWaitMs, () =>
      this.#controller.abort(overloaded(`The stream's history did not answer within ${maxWaitMs} ms.`)),
    );
  }

  /** Waits for what a log promises, if it does. @throws {GatewayError} `client_left`, `overloaded` */
  async wait(promise: Promise<void> | undefined): Promise<void> {
    if (promise !== undefined) await orAborted(promise, this.#controller.signal);
  }

  /**
   * Waits for chunks that a reader's log has. At the end of the patience the reader is detached.
   *
   * @throws {GatewayError} `client_left`, `overloaded`
   */
  async ready(reader: Reader<unknown>): Promise<void> {
    const { signal } = this.#controller;
    const onAbort = (): void => reader.detach();
    signal.addEventListener('abort', onAbort);
    try {
      await reader.ready();
      signal.throwIfAborted();
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** The request waits no more. */
  end(): void {
    this.#timer.stop();
    this.#response.off('close', this.#onClose);
  }
}
