import type { EventRun } from '@spillway/core/format/sse';
import { StreamPace } from './stream-pace.ts';
import type { ServerClock, ServerTimer } from '../time/server-clock.ts';
import { TokenPace } from './token-pace.ts';

/** A pace that several streams share. */
export interface SharedPace {
  /** Who shares it, such as `tenant:clinic`. */
  readonly key: string;
  /** More than 0. */
  readonly tokensPerSecond: number;
}

export interface PaceWishes {
  /** The pace of the stream alone; `undefined`: it has none. */
  readonly tokensPerSecond?: number | undefined;
  /** The paces that it shares, the narrowest first. Default: none. */
  readonly shared?: readonly SharedPace[];
  /** The tokens of a run; see {@link StreamPace}. */
  readonly tokensOf?: ((run: EventRun) => number) | undefined;
}

interface Known {
  readonly pace: TokenPace;
  /** The streams that have it. */
  streams: number;
  /** Forgets the pace, when no stream has it. */
  timer: ServerTimer | undefined;
}

/** A pace that no stream has is forgotten after so long at the latest: a large event at a slow pace may leave it hours of debt. */
const maxKeptMs = 60_000;

/**
 * The paces that streams of this process share, by key. A pace is known while a stream has it, and then until it is as new: so
 * nobody gets a burst more by opening one stream after the other, and what is kept is bounded by the streams that run.
 */
export class PaceBook {
  readonly #clock: Pick<ServerClock, 'after' | 'nowMs'>;
  readonly #known = new Map<string, Known>();

  constructor(clock: Pick<ServerClock, 'after' | 'nowMs'>) {
    this.#clock = clock;
  }

  /** The number of shared paces that are known. */
  get size(): number {
    return this.#known.size;
  }

  /**
   * The pace of a new stream; `undefined`: it has none. Give it to `Streams.open`, which releases it in the end. A key with
   * another number than before has that number from now on, for all its streams.
   */
  open({ shared = [], tokensOf, tokensPerSecond }: PaceWishes): StreamPace | undefined {
    if (tokensPerSecond === undefined && shared.length === 0) return undefined;
    const paces = shared.map((each) => this.#join(each));
    if (tokensPerSecond !== undefined) paces.unshift(new TokenPace(tokensPerSecond, this.#clock));
    const onRelease = (): void => {
      for (const { key } of shared) this.#leave(key);
    };
    return new StreamPace({ paces, tokensOf, onRelease });
  }

  #join({ key, tokensPerSecond }: SharedPace): TokenPace {
    let known = this.#known.get(key);
    if (known === undefined) {
      known = { pace: new TokenPace(tokensPerSecond, this.#clock), streams: 0, timer: undefined };
      this.#known.set(key, known);
    }
    known.timer?.stop();
    known.streams += 1;
    if (known.pace.tokensPerSecond !== tokensPerSecond) known.pace.tokensPerSecond = tokensPerSecond;
    return known.pace;
  }

  #leave(key: string): void {
    const known = this.#known.get(key);
    if (known === undefined) return;
    known.streams -= 1;
    if (known.streams > 0) return;
    const keptMs = Math.min(known.pace.freshInMs, maxKeptMs);
    known.timer = this.#clock.after(keptMs, () => void this.#known.delete(key));
    known.timer.unref();
  }
}
