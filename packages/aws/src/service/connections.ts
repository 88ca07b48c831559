import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';

/** Connections to one service, which are kept between requests. */
export class Connections {
  readonly #agents: { readonly httpAgent: HttpAgent; readonly httpsAgent: HttpsAgent };

  /** @param most how many at most. */
  constructor(most: number) {
    const options = { keepAlive: true, maxSockets: most };
    this.#agents = { httpAgent: new HttpAgent(options), httpsAgent: new HttpsAgent(options) };
  }

  /** How a client of the SDK makes its requests: with an end to each, and no attempt that it makes by itself. */
  settings(requestTimeoutMs: number): {
    readonly maxAttempts: number;
    readonly requestHandler: Readonly<Record<string, HttpAgent | HttpsAgent | boolean | number>>;
  } {
    return {
      // Who writes or reads tries again, and knows what may be done twice.
      maxAttempts: 1,
      requestHandler: {
        ...this.#agents,
        connectionTimeout: 5000,
        requestTimeout: requestTimeoutMs,
        throwOnRequestTimeout: true,
      },
    };
  }

  /**
   * Calls, and calls once more on another connection if its own was cut: AWS closes those that are idle, which only the
   * next call on one notices. The first may have been heard: to call twice has to be harmless.
   */
  async onceMore<Value>(call: () => Promise<Value>, signal: AbortSignal): Promise<Value> {
    try {
      return await call();
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : undefined;
      if (signal.aborted || (code !== 'ECONNRESET' && code !== 'EPIPE')) throw error;
      this.#endIdle();
      return call();
    }
  }

  /** Where one was cut the others are no better. */
  #endIdle(): void {
    for (const { freeSockets } of Object.values(this.#agents)) {
      for (const socket of Object.values(freeSockets).flat()) socket?.destroy();
    }
  }
}
