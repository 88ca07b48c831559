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
 */
export class ResponseTurns {
  readonly #asker: ResponseAsker;
  /** The request that is open. */
  #asked: { readonly eventId: string; readonly wish: ResponseWish; isStopped: boolean } | undefined;
  #runningId: string | undefined;
  #isStopping = false;
  #waiting: ResponseWish | undefined;
  /** Whether the API says of a response which request it answers. */
  #isTold = false;

  constructor(asker: ResponseAsker) {
    this.#asker = asker;
  }

  /** Asks for a response, or for one after the present one. */
  ask(wish: ResponseWish): void {
    if (this.#runningId === undefined && this.#asked === undefined) this.#create(wish);
    else this.#waiting = joined(this.#waiting, wish);
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
    this.#asked = undefined;
    // The cancel before may have stopped another one.
    if (isStopped) this.stop();
  }

  ended(responseId: string): void {
    if (this.#runningId !== responseId) return;
    this.#runningId = undefined;
    // An API that never says it leaves a guess: that was the one that was asked for.
    if (!this.#isTold) this.#asked = undefined;
    this.#next();
  }

  /** The API has refused a request, or, with `undefined`, to begin a response by itself. `isBusy`: because one is being made. */
  refused(eventId: string | undefined, isBusy: boolean): void {
    const asked = this.#asked;
    if (asked !== undefined && asked.eventId === eventId) {
      this.#asked = undefined;
      if (isBusy && !asked.isStopped) this.#waiting = joined(asked.wish, this.#waiting);
      this.#next();
    } else if (isBusy && eventId === undefined) this.ask({});
  }

  /** Asks for what waits, when nothing is being made or asked for. */
  #next(): void {
    const wish = this.#waiting;
    if (wish === undefined || this.#asked !== undefined || this.#runningId !== undefined) return;
    this.#waiting = undefined;
    this.#create(wish);
  }

  #create(wish: ResponseWish): void {
    this.#asked = { eventId: this.#asker.create(wish), wish, isStopped: false };
  }
}

/** Two wishes as one, with the last instructions. */
function joined(first: ResponseWish | undefined, second: ResponseWish | undefined): ResponseWish {
  return { instructions: second?.instructions ?? first?.instructions };
}
