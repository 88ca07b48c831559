import type { Clock, Timer } from '@spillway/core/clock';

/** How long the first request waits that follows one refused as busy. Each refusal in a row doubles it, up to the most. */
const firstPauseMs = 100;
const maxPauseMs = 2000;

/** What a response is asked for with. */
export interface ResponseWish {
  /** Instructions for this response alone. */
  readonly instructions?: string | undefined;
}

/** What carries the wishes to the model. */
export interface ResponseAsker {
  /** Asks for a response. Returns the id of the event that asks. */
  create(wish: ResponseWish): string;
  /** Stops a response; `undefined`: whichever is being made when that arrives. */
  cancel(responseId: string | undefined): void;
}

/**
 * The responses of a session, one at a time: the API refuses a second one beside it. A response that is asked for meanwhile
 * waits, and several that wait are one. The API also begins responses by itself, when the human has stopped speaking, so
 * that a request may cross one of those: a request is open until it has begun or was refused.
 *
 * One that was refused as busy is made again when no response runs that is known, and not before a pause is over: an API that
 * is always busy gets few requests.
 */
export class ResponseTurns {
  readonly #asker: ResponseAsker;
  readonly #clock: Pick<Clock, 'after'>;
  /** The request that is open. */
  #asked: { readonly eventId: string; readonly wish: ResponseWish; isStopped: boolean } | undefined;
  #runningId: string | undefined;
  #isStopping = false;
  #waiting: ResponseWish | undefined;
  /** Whether the API says of a response which request it answers. */
  #isTold = false;
  /** While it runs, nothing is asked for. */
  #pause: Timer | undefined;
  #nextPauseMs = firstPauseMs;

  constructor(asker: ResponseAsker, clock: Pick<Clock, 'after'>) {
    this.#asker = asker;
    this.#clock = clock;
  }

  /** Asks for a response, or for one after the present one. */
  ask(wish: ResponseWish): void {
    this.#waiting = joined(this.#waiting, wish);
    this.#next();
  }

  /** Stops the present response, once, and forgets the one that waits: who speaks into an answer gets the next one anyway. */
  stop(): void {
    this.#waiting = undefined;
    if (this.#runningId !== undefined && !this.#isStopping) {
      this.#isStopping = true;
      // By its id: the API may have begun another one meanwhile, which nobody has spoken into.
      this.#asker.cancel(this.#runningId);
    }
    if (this.#asked === undefined || this.#asked.isStopped) return;
    this.#asked.isStopped = true;
    if (this.#runningId === undefined) this.#asker.cancel(undefined);
  }

  /** A response has begun. `eventId`: the request that it answers, if the API says so. */
  began(responseId: string, eventId: string | undefined): void {
    this.#runningId = responseId;
    this.#isStopping = false;
    this.#isTold ||= eventId !== undefined;
    if (this.#asked === undefined || this.#asked.eventId !== eventId) return;
    const { isStopped } = this.#asked;
    this.#granted();
    // The cancel before may have stopped another one.
    if (isStopped) this.stop();
  }

  ended(responseId: string): void {
    if (this.#runningId !== responseId) return;
    this.#runningId = undefined;
    // An API that never says it leaves a guess: that was the one that was asked for.
    if (!this.#isTold) this.#granted();
    this.#next();
  }

  /** The API has refused a request, or, with `undefined`, to begin a response by itself. `isBusy`: because one is being made. */
  refused(eventId: string | undefined, isBusy: boolean): void {
    const asked = this.#asked;
    if (asked !== undefined && asked.eventId === eventId) {
      this.#asked = undefined;
      if (isBusy) this.#wait();
      if (isBusy && !asked.isStopped) this.#waiting = joined(asked.wish, this.#waiting);
      this.#next();
    } else if (isBusy && eventId === undefined) this.ask({});
  }

  /** No timer is left, and nothing more is asked for by itself. */
  close(): void {
    this.#pause?.stop();
  }

  /** The request that was open has its response. */
  #granted(): void {
    this.#asked = undefined;
    this.#nextPauseMs = firstPauseMs;
  }

  #wait(): void {
    this.#pause = this.#clock.after(this.#nextPauseMs, () => {
      this.#pause = undefined;
      this.#next();
    });
    this.#nextPauseMs = Math.min(2 * this.#nextPauseMs, maxPauseMs);
  }

  /** Asks for what waits, when nothing is being made or asked for, and no pause is due. */
  #next(): void {
    const wish = this.#waiting;
    if (wish === undefined || this.#asked !== undefined || this.#runningId !== undefined) return;
    if (this.#pause !== undefined) return;
    this.#waiting = undefined;
    this.#asked = { eventId: this.#asker.create(wish), wish, isStopped: false };
  }
}

/** Two wishes as one, with the last instructions. */
function joined(first: ResponseWish | undefined, second: ResponseWish | undefined): ResponseWish {
  return { instructions: second?.instructions ?? first?.instructions };
}
