import type { ServerResponse } from 'node:http';
import { type GatewayError, overloaded, shuttingDown } from '@spillway/server/errors';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Calls } from './calls.ts';
import { Demonstration } from './demonstration.ts';

/** The parameter by which this gateway knows a call that it places to itself. */
export const demonstrationParameter = 'demonstration';

/** Where demonstrations call. */
export interface DemonstrationsOptions {
  readonly calls: Calls;
  readonly clock: ServerClock;
  readonly isReady: () => boolean;
  /** Where this gateway takes a carrier's socket. */
  readonly voiceUrl: () => string;
  /** A token for one call, by which it is known. */
  readonly makeToken: () => string;
  /** The simulated model. */
  readonly modelUrl: string;
  /** Audio that this gateway lets be on its way to an ear. */
  readonly windowMs: () => number;
}

/**
 * The demonstrations at once: each is two calls of two minutes at most. A page that takes nothing leaves at most 4 MiB of
 * each here.
 */
const maxDemonstrations = 4;

/** Calls that the gateway places to itself, for people to hear. */
export class Demonstrations {
  readonly #options: DemonstrationsOptions;
  readonly #running = new Map<string, Demonstration>();

  constructor(options: DemonstrationsOptions) {
    this.#options = options;
  }

  /** Why there cannot be one more; `undefined`: there can. */
  get refusal(): GatewayError | undefined {
    if (!this.#options.isReady()) return shuttingDown();
    if (this.#running.size >= maxDemonstrations)
      return overloaded(`${maxDemonstrations} demonstrations run, and there may be no more at once.`);
    if (!this.#options.calls.hasRoomFor(1)) return overloaded('As many calls run as may (voice.maxCalls).');
    return undefined;
  }

  /** Begins one, and writes its lines to a response until one of both is over. `onEnd`: the last line was written. */
  show(response: ServerResponse, onEnd: () => void): void {
    const { calls, clock, isReady, makeToken, modelUrl, voiceUrl, windowMs } = this.#options;
    const demonstration = new Demonstration({
      calls,
      clock,
      voiceUrl: voiceUrl(),
      parameters: { [demonstrationParameter]: makeToken() },
      isReady,
      modelUrl,
      windowMs: windowMs(),
      tell: (line) => {
        if (response.destroyed) return;
        response.write(`${JSON.stringify(line)}\n`);
        if (line.kind !== 'ended') return;
        response.end();
        onEnd();
      },
    });
    this.#running.set(demonstration.id, demonstration);
    void demonstration.ended.then(() => this.#running.delete(demonstration.id));
    response.on('close', () => demonstration.close('over'));
    void demonstration.begin();
  }

  /** The caller of a demonstration speaks into the answer. Returns whether there is such a demonstration. */
  interrupt(id: string): boolean {
    const found = this.#running.get(id);
    found?.interrupt();
    return found !== undefined;
  }

  /** Ends all. */
  close(): void {
    for (const demonstration of this.#running.values()) demonstration.close('stopping');
  }
}
