import { Admission } from '@spillway/server/admission/admission';
import { FixedLimit } from '@spillway/server/admission/concurrency-limit';
import { GradientLimit } from '@spillway/server/admission/gradient-limit';
import type { Entrant } from '@spillway/server/admission/entry';
import type { Place } from '@spillway/server/admission/place';
import { GatewayError } from '@spillway/server/errors';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Provider } from '../../config/provider.ts';
import { rest } from '../../process/rest.ts';
import { statedDelayMs } from '../retry-hints.ts';
import { Breaker, type BreakerState } from './breaker.ts';
import { isFailure } from './failures.ts';
import { type HintedReply, pauseMs } from './rate-hints.ts';

/** Who waits, as others may see it. */
export interface Waiter {
  /** The place that is awaited; `undefined`: none is. */
  wait: Pick<Place, 'position'> | undefined;
}

/** The part of the mean that the latest first token is. */
const newPart = 0.2;

/** What was seen longer ago says nothing: a provider that is asked for nothing is not slow for ever. */
const knownMs = 10_000;

/** A provider as a gate sees it. */
export interface GatedProvider extends Pick<Provider, 'api' | 'breakMs' | 'name' | 'streams'> {
  /** Whether all its requests have the same credential, so that what one of them is told is true for all. */
  readonly isShared: boolean;
}

interface ProviderGateOptions {
  readonly clock: ServerClock;
  readonly provider: GatedProvider;
  readonly model: string;
  /** Called when its breaker has changed. */
  readonly onChange: (gate: ProviderGate, state: BreakerState, why: string) => void;
  /** Called for each request that may not enter. */
  readonly onRefused: () => void;
}

/** Where nothing bounds the streams, they are counted all the same: a bound may come with a reload. */
const unbounded = { limit: new FixedLimit(Infinity), maxWaiting: 0 } as const;

/**
 * Stands before one model of one provider: how many of its streams run at once, who waits, and whether it is asked at all.
 * A request enters it, and the visit that it gets ends with it. It is one and the same for as long as anything is known of that model:
 * other settings change its bounds.
 */
export class ProviderGate {
  readonly model: string;
  readonly #clock: ServerClock;
  readonly #onChange: ProviderGateOptions['onChange'];
  readonly #onRefused: () => void;
  readonly #admission: Admission;
  #provider: GatedProvider;
  #breaker: Breaker | undefined;
  /** The limit of `admission`, if there is a bound. */
  #gradient: GradientLimit | undefined;
  #pausedUntilMs = 0;
  /** A moving mean of the times to the first token. */
  #ttftMs: number | undefined;
  #ttftAtMs = 0;
  #lastFailure = '';
  #visits = 0;
  #hasServed = false;

  constructor({ clock, model, onChange, onRefused, provider }: ProviderGateOptions) {
    this.model = model;
    this.#provider = provider;
    this.#clock = clock;
    this.#onChange = onChange;
    this.#onRefused = onRefused;
    const what = `streams of the model ${model.slice(0, 100)} of the provider ${provider.name}`;
    this.#admission = new Admission({ clock, ...unbounded, what });
    this.setProvider(provider);
  }

  get provider(): GatedProvider {
    return this.#provider;
  }

  /**
   * Puts other settings of the provider in force. What runs is counted on; what was found, a breaker that is open and a pause that
   * the provider asked for stay. A limit that was fixed, and finds itself now, begins with what it was. See
   * {@link Admission.setBounds} for those that wait, and {@link Breaker.breakMs}.
   */
  setProvider(provider: GatedProvider): void {
    this.#provider = provider;
    const { breakMs, streams } = provider;
    if (breakMs === undefined) this.#breaker = undefined;
    else if (this.#breaker === undefined) this.#breaker = this.#newBreaker(breakMs);
    else this.#breaker.breakMs = breakMs;
    if (streams === undefined) {
      this.#gradient = undefined;
      this.#admission.setBounds(unbounded);
      return;
    }
    const { max, maxWaiting, min, waitMs } = streams;
    if (this.#gradient === undefined) this.#gradient = new GradientLimit({ clock: this.#clock, min, max });
    else this.#gradient.setBounds({ min, max });
    this.#admission.setBounds({ limit: this.#gradient, maxStreams: max, maxWaiting, waitMs });
  }

  #newBreaker(breakMs: number): Breaker {
    const breaker = new Breaker({
      clock: this.#clock,
      breakMs,
      onChange: (state) => {
        // Requests of one that is no more may end later.
        if (breaker === this.#breaker) this.#onChange(this, state, this.#lastFailure);
      },
    });
    return breaker;
  }

  /** Whether it has ever had a first token: a name that any client may invent has none. */
  get hasServed(): boolean {
    return this.#hasServed;
  }

  /** Whether nobody is in it, or waits for it. */
  get isIdle(): boolean {
    return this.#visits === 0;
  }

  /** In how many milliseconds it may be asked, as its failures and its own words say; 0: now. */
  get closedMs(): number {
    return Math.max(this.#breaker?.waitMs ?? 0, this.#pausedUntilMs - this.#clock.nowMs(), 0);
  }

  get breaker(): BreakerState | undefined {
    return this.#breaker?.state;
  }

  /** Whether it is not asked because it fails too often. */
  get isBroken(): boolean {
    return (this.#breaker?.waitMs ?? 0) > 0;
  }

  /** Its latest failure, as a code of this gateway's and a status; empty: there was none. */
  get lastFailure(): string {
    return this.#lastFailure;
  }

  /** `undefined`: nothing bounds its streams. */
  get admission(): Admission | undefined {
    return this.#gradient && this.#admission;
  }

  /** The time to the first token, by which its limit finds itself; `undefined`: it does not, or there was none yet. */
  get firstToken(): { readonly latestMs: number; readonly bestMs: number } | undefined {
    const { max = 0, min = 0 } = this.provider.streams ?? {};
    const { bestMs, latestMs } = (min < max ? this.#gradient : undefined) ?? {};
    return bestMs === undefined || latestMs === undefined ? undefined : { latestMs, bestMs };
  }

  /** In how many milliseconds the first token of a request that comes now is expected, as far as is known. */
  expectedMs(entrant: Entrant): number {
    const waitMs = this.#admission.expectedWaitMs(entrant);
    const isKnown = this.#clock.nowMs() - this.#ttftAtMs < knownMs;
    return this.closedMs + waitMs + (isKnown ? (this.#ttftMs ?? 0) : 0);
  }

  /**
   * Waits for the right to send a request. The visit has to be ended.
   *
   * @throws {GatewayError} `provider_unavailable` at once while it is not asked, `overloaded` for what would wait too long.
   * @throws the signal's reason as soon as it is aborted.
   */
  async enter(entrant: Entrant, waiter: Waiter): Promise<ProviderVisit> {
    this.#visits += 1;
    let place: Place | undefined;
    try {
      this.#checkOpen(this.provider.streams?.waitMs ?? 0);
      place = this.#admission.enter(entrant);
      waiter.wait = place;
      await place.given;
      // Its turn may come while it is paused for a moment. The others wait behind it.
      const restMs = this.closedMs;
      if (restMs > 0) {
        this.#checkOpen(this.provider.streams?.waitMs ?? 0);
        await rest(this.#clock, restMs, entrant.signal);
        entrant.signal.throwIfAborted();
        this.#checkOpen(0);
      }
      const time = this.#breaker?.enter();
      if (this.#breaker !== undefined && time === undefined) this.#refuse();
      return new ProviderVisit(this, { breaker: this.#breaker, place, time });
    } catch (error) {
      place?.release();
      if (!entrant.signal.aborted) this.#onRefused();
      this.#visits -= 1;
      throw error;
    } finally {
      waiter.wait = undefined;
    }
  }

  /** @throws {GatewayError} if it is closed for longer than `waitMs`. */
  #checkOpen(waitMs: number): void {
    if (this.closedMs > waitMs) this.#refuse();
  }

  #refuse(): never {
    const { closedMs } = this;
    const isOpen = this.#breaker !== undefined && this.#breaker.state !== 'closed';
    const why = isOpen
      ? `failed too often and is not asked for breakMs (${this.provider.breakMs} ms); the last failure: ${this.#lastFailure}`
      : 'asks to be left alone, by its Retry-After or its rate limits';
    throw new GatewayError(
      'provider_unavailable',
      `The model ${this.model.slice(0, 100)} of the provider ${this.provider.name} ${why}. It is asked again in ${Math.ceil(closedMs)} ms.`,
      { retryAfterS: Math.max(1, Math.ceil(closedMs / 1000)) },
    );
  }

  // --- for visits

  /** The provider's answer has come, whatever it is. */
  answered(reply: HintedReply): void {
    // What a client's own key is told is not true for others.
    if (!this.provider.isShared) return;
    const dateMs = this.#clock.dateMs();
    const ms = pauseMs(reply, statedDelayMs(reply, dateMs), dateMs);
    if (ms > 0) this.#pausedUntilMs = Math.max(this.#pausedUntilMs, this.#clock.nowMs() + ms);
  }

  began(ttftMs: number): void {
    this.#hasServed = true;
    this.#ttftAtMs = this.#clock.nowMs();
    this.#ttftMs = this.#ttftMs === undefined ? ttftMs : this.#ttftMs + newPart * (ttftMs - this.#ttftMs);
  }

  failed(error: GatewayError): void {
    this.#lastFailure = `${error.code}${isAnswerStatus(error.status) ? ` (status ${error.status})` : ''}`;
  }

  left(): void {
    this.#visits -= 1;
  }
}

function isAnswerStatus(status: number): boolean {
  return status >= 400 && status < 600;
}

interface Entered {
  readonly breaker: Breaker | undefined;
  readonly place: Place;
  readonly time: number | undefined;
}

/** One request at a provider, from the right to send it until its answer has ended. */
export class ProviderVisit {
  readonly #gate: ProviderGate;
  readonly #entered: Entered;
  #isJudged = false;

  constructor(gate: ProviderGate, entered: Entered) {
    this.#gate = gate;
    this.#entered = entered;
  }

  answered(reply: HintedReply): void {
    this.#gate.answered(reply);
  }

  /** The first token has come, so many milliseconds after the provider was asked. */
  began(ttftMs: number): void {
    if (this.#isJudged) return;
    this.#judge(undefined);
    this.#gate.began(ttftMs);
    this.#entered.place.answered(ttftMs);
  }

  /** The answer is over. `error`: why it was none; of one that a client left, its own. */
  end(error?: GatewayError): void {
    if (!this.#isJudged) this.#judge(error);
    else if (error !== undefined && isFailure(error)) this.#failed(error);
    this.#entered.place.release();
    this.#gate.left();
  }

  #judge(error: GatewayError | undefined): void {
    this.#isJudged = true;
    const { breaker, place, time } = this.#entered;
    if (error !== undefined && isFailure(error)) {
      this.#failed(error);
      place.failed();
    } else if (error?.isCancel === true) {
      if (time !== undefined) breaker?.left(time);
    } else {
      if (time !== undefined) breaker?.succeeded(time);
      // A busy provider is well, and wants fewer.
      if (error?.status === 429) place.failed();
    }
  }

  #failed(error: GatewayError): void {
    const { breaker, time } = this.#entered;
    this.#gate.failed(error);
    if (time !== undefined) breaker?.failed(time);
  }
}
