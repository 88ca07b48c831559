/** What a response is asked for with. */
export interface ResponseWish {
  /** Instructions for this response alone. */
  readonly instructions?: string | undefined;
}

/** What carries the wishes to the model. */
export interface ResponseAsker {
  /** Asks for a response. Returns the id of the event that asks. */
  create(wish: ResponseWish): string;
  /** Stops a response; `undefined`: the one that was asked for and has not begun. */
  cancel(responseId: string | undefined): void;
}

/**
 * The responses of a session, one at a time: the API refuses a second one beside it. A response that is asked for meanwhile
 * waits, and several that wait are one. The API also begins responses by itself, when the human has stopped speaking.
 */
export class ResponseTurns {
  readonly #asker: ResponseAsker;
  /** The event that asked for a response that has not begun. */
  #asked: { readonly eventId: string; readonly wish: ResponseWish } | undefined;
  #runningId: string | undefined;
  #isStopping = false;
  #waiting: ResponseWish | undefined;

  constructor(asker: ResponseAsker) {
    this.#asker = asker;
  }

  /** Asks for a response, or for one after the present one. */
  ask(wish: ResponseWish): void {
    if (this.#runningId === undefined && this.#asked === undefined) this.#create(wish);
    // Several that wait are one, with the last instructions.
    else this.#waiting = wish.instructions === undefined ? (this.#waiting ?? wish) : wish;
  }

  /** Stops the present response, once, and forgets the one that waits: who speaks into an answer gets the next one anyway. */
  stop(): void {
    this.#waiting = undefined;
    if (this.#isStopping || (this.#runningId === undefined && this.#asked === undefined)) return;
    this.#isStopping = true;
    // By its id: the API may have begun another one meanwhile, which nobody has spoken into.
    this.#asker.cancel(this.#runningId);
  }

  began(responseId: string): void {
    // It is the one that was asked for, or else the refusal of that follows.
    if (this.#asked === undefined) this.#isStopping = false;
    this.#runningId = responseId;
  }

  ended(responseId: string): void {
    if (this.#runningId !== responseId) return;
    this.#runningId = undefined;
    this.#asked = undefined;
    this.#isStopping = false;
    this.#next();
  }

  /** The API has refused what the event asked for, or `undefined`: what it wanted to begin by itself. */
  refused(eventId: string | undefined, isBusy: boolean): void {
    const asked = this.#asked;
    if (asked !== undefined && asked.eventId === eventId) {
      this.#asked = undefined;
      if (isBusy && this.#runningId !== undefined) this.ask(asked.wish);
      else if (this.#runningId === undefined) {
        this.#isStopping = false;
        this.#next();
      }
    } else if (isBusy && this.#runningId !== undefined) this.ask({});
  }

  #next(): void {
    const wish = this.#waiting;
    this.#waiting = undefined;
    if (wish !== undefined) this.#create(wish);
  }

  #create(wish: ResponseWish): void {
    this.#asked = { eventId: this.#asker.create(wish), wish };
  }
}
