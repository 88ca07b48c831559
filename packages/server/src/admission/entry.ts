import type { Place, Priority } from './place.ts';

/** A tenant that has places, or waits for some. */
export interface TenantPlaces {
  readonly name: string;
  /** The places that it has. */
  held: number;
  /** Its requests that wait, of all priorities. */
  waiting: number;
  /** Which of all places that were given was its latest; 0: it has got none, or that is forgotten. */
  served: number;
}

/** What an entry needs of who gives out places. */
export interface EntryHost {
  /** The signal of a request that waited is aborted. It waits no longer. */
  aborted(entry: Entry): void;
  answered(entry: Entry, ttftMs: number): void;
  failed(entry: Entry): void;
  positionOf(entry: Entry): number;
  release(entry: Entry): void;
}

/** Who asks for a place. */
export interface Entrant {
  /** As soon as it is aborted, the request waits no longer. A place that is held is not given back by that. */
  readonly signal: AbortSignal;
  /** Default: `normal`. */
  readonly priority?: Priority | undefined;
  /** Whose share of the places it takes. Default: that of who has no tenant. */
  readonly tenant?: string | undefined;
}

/** The wait of a request. */
interface Wait {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (reason: Error) => void;
  readonly stop: () => void;
}

/** A request with a place, or one that waits for it. */
export class Entry implements Place {
  readonly tenant: TenantPlaces;
  readonly priority: Priority;
  /** The order in which requests began to wait. */
  readonly number: number;
  /** Since when it waits, or has its place. */
  sinceMs: number;
  /** As {@link Place.position} when all were numbered last. */
  numbered = 0;
  /** Whether its place was given beyond the limit, which had fallen. */
  isPassedOn = false;
  readonly #host: EntryHost;
  #state: 'gone' | 'held' | 'waiting' = 'held';
  #wait: Wait | undefined;

  constructor(host: EntryHost, at: Pick<Entry, 'number' | 'priority' | 'sinceMs' | 'tenant'>) {
    this.#host = host;
    this.tenant = at.tenant;
    this.priority = at.priority;
    this.number = at.number;
    this.sinceMs = at.sinceMs;
  }

  get given(): Promise<void> | undefined {
    return this.#wait?.promise;
  }

  get isHeld(): boolean {
    return this.#state === 'held';
  }

  get isWaiting(): boolean {
    return this.#state === 'waiting';
  }

  get hasLeft(): boolean {
    return this.#state !== 'waiting';
  }

  get position(): number | undefined {
    return this.isWaiting ? this.#host.positionOf(this) : undefined;
  }

  answered(ttftMs: number): void {
    this.#host.answered(this, ttftMs);
  }

  failed(): void {
    this.#host.failed(this);
  }

  release(): void {
    if (this.#state !== 'gone') this.#host.release(this);
  }

  /** Begins to wait. */
  wait(signal: AbortSignal): void {
    this.#state = 'waiting';
    const onAbort = (): void => {
      this.refuse(signal.reason as Error);
      this.#host.aborted(this);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    const stop = (): void => signal.removeEventListener('abort', onAbort);
    const wait = Promise.withResolvers<void>();
    // Whoever gives the wait up before it looks at the promise has heard enough.
    wait.promise.catch(() => undefined);
    this.#wait = { ...wait, stop };
  }

  /** The wait is over, and the place is there. */
  give(nowMs: number): void {
    this.#state = 'held';
    this.sinceMs = nowMs;
    this.#wait?.stop();
    this.#wait?.resolve();
  }

  /** The wait is over without a place. Nothing is told of a place that was given. */
  refuse(reason: Error): void {
    this.leave();
    this.#wait?.reject(reason);
  }

  /** The place is given back, or not waited for any longer. */
  leave(): void {
    this.#state = 'gone';
    this.#wait?.stop();
  }
}
