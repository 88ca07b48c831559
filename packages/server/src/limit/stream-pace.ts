import type { EventRun } from '@spillway/core/format/sse';
import type { PaceShare, TokenPace } from './token-pace.ts';

export interface StreamPaceOptions {
  /** All that hold for the stream, its own first. */
  readonly paces: readonly TokenPace[];
  /** The tokens of a run, an estimate; 0: it need not wait. Default: its events with data. */
  readonly tokensOf?: ((run: EventRun) => number) | undefined;
  /** Called once, when the stream needs its paces no more. */
  readonly onRelease?: (() => void) | undefined;
}

/**
 * How fast one stream may go: the paces that hold for it. Whoever writes the stream's channel asks before each event. While
 * it waits it does not read its provider, so what waits is bounded by what was read at once.
 *
 * @example
 * ```ts
 * for await (const event of eventsOf(provider)) {
 *   if (stream.pace?.take(event) === false) await stream.pace.turn(event);
 *   await channel.write(event);
 * }
 * ```
 */
export class StreamPace {
  readonly #paces: readonly { readonly pace: TokenPace; readonly share: PaceShare }[];
  readonly #tokensOf: (run: EventRun) => number;
  readonly #onRelease: (() => void) | undefined;
  #go: (() => void) | undefined;
  #isReleased = false;

  constructor({ onRelease, paces, tokensOf = eventsOf }: StreamPaceOptions) {
    this.#paces = paces.map((pace) => ({ pace, share: { servedTo: 0 } }));
    this.#tokensOf = tokensOf;
    this.#onRelease = onRelease;
  }

  /** Whether a run waits for its turn. */
  get isHolding(): boolean {
    return this.#go !== undefined;
  }

  /** Returns whether the run may go now, and has then gone. Do not call it while a run waits for its turn. */
  take(run: EventRun): boolean {
    const tokens = this.#tokensOf(run);
    if (tokens <= 0 || this.#isReleased) return true;
    for (const { pace } of this.#paces) if (!pace.isFree(tokens)) return false;
    for (const { pace, share } of this.#paces) pace.take(share, tokens);
    return true;
  }

  /**
   * Resolves when the run may go: every pace has given it a turn, one after the other. One run waits at a time. Never rejects.
   */
  async turn(run: EventRun): Promise<void> {
    const tokens = this.#tokensOf(run);
    for (const { pace, share } of this.#paces) {
      if (tokens <= 0 || this.#isReleased) break;
      if (pace.isFree(tokens)) {
        pace.take(share, tokens);
        continue;
      }
      await new Promise<void>((resolve) => {
        this.#go = resolve;
        pace.wait(share, tokens, resolve);
      });
      this.#go = undefined;
    }
  }

  /** The stream has stopped: nothing is held back any more, and what waits goes at once. */
  release(): void {
    if (this.#isReleased) return;
    this.#isReleased = true;
    for (const { pace, share } of this.#paces) pace.leave(share);
    this.#go?.();
    this.#onRelease?.();
  }
}

function eventsOf({ events }: EventRun): number {
  return events;
}
