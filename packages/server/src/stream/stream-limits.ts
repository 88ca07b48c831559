import type { StreamLimit } from '../limit/stream-limit.ts';
import type { StreamPace } from '../limit/stream-pace.ts';
import type { LimitCut } from './limit-cut.ts';

/** What may be done to one stream in the name of limits. Given to it before there is a body. */
export interface StreamLimitsOptions {
  /** Holds the stream against limits. Default: nothing does. */
  readonly limit?: StreamLimit | undefined;
  /** How fast the stream may go. Default: as fast as its readers. */
  readonly pace?: StreamPace | undefined;
}

/** What limits have to do with one stream. A stream that no limit concerns has none. */
export class StreamLimits {
  readonly limit: StreamLimit | undefined;
  /** Whoever writes the stream's events asks it. The stream releases it when it is stopped, or has ended. */
  readonly pace: StreamPace | undefined;
  /** What the format's closing needs of the first event: an id at most. It is kept, because that event may not be. */
  identity: unknown;
  /** The limit that ends the answer in its midst; `undefined`: none does. */
  cut: LimitCut | undefined;

  /** `signal`: the stream's own. */
  constructor(signal: AbortSignal, { limit, pace }: StreamLimitsOptions = {}) {
    this.limit = limit;
    this.pace = pace;
    if (pace !== undefined) signal.addEventListener('abort', () => pace.release(), { once: true });
  }

  /** What the provider waits for, if that is a limit. */
  get waitsFor(): { readonly cause: 'limit'; readonly reader: null } | undefined {
    return this.pace?.isHolding === true ? { cause: 'limit', reader: null } : undefined;
  }
}
