import type { Entrant } from '@spillway/server/admission/entry';
import { asGatewayError, GatewayError, overloaded } from '@spillway/server/errors';
import type { DetachPolicy } from '@spillway/server/stream/detach-policy';
import type { GatewayStream } from '@spillway/server/stream/stream';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Provider } from '../config/provider.ts';
import { mayDoBetter } from '../provider/gate/failures.ts';
import type { ProviderVisit } from '../provider/gate/provider-gate.ts';
import { targetsInOrder } from '../provider/gate/targets-in-order.ts';
import type { ProviderGates } from '../provider/gate/provider-gates.ts';
import type { Turn } from './answer-head.ts';
import type { LatencyBudget } from './latency-budget.ts';
import { originOf } from './origin-of.ts';
import { type AttemptBody, bodyWith, type RelayRequest, type RequestTarget } from './relay-request.ts';

/** What asks a provider, and what stands before that. */
export interface AskInTurnOptions {
  readonly clock: ServerClock;
  readonly gates: ProviderGates;
  readonly entrant: Entrant;
  /** How long the answer may take; `undefined`: as long as it takes. */
  readonly budget: LatencyBudget | undefined;
  /** How often one target may be asked for a request, the first time included. */
  readonly tries: number;
  /** What becomes of a model that nobody reads, where its provider says nothing of its own. */
  readonly detach: DetachPolicy;
  /** How long all waiting before a target is asked may take, from the request on. */
  readonly waitTimeoutMs: number;
  /** Waits for the stream's place of maxStreams, if it has none yet. */
  readonly takePlace: () => Promise<void>;
  /** Asks one target, and hands on what it answers. Throws what is no whole answer. */
  readonly ask: (target: RequestTarget, attempt: AttemptBody, turn: Turn) => Promise<void>;
  /** A target could not take the request or failed, and the next one is asked. */
  readonly onFallback: (from: RequestTarget, error: GatewayError, to: RequestTarget) => void;
}

/**
 * Asks the targets of a request in turn, until one of them answers: as long as nothing was sent to the client, a target that cannot
 * take the request, fails, or is late with its first token makes room for the next. Each target is asked once for a request.
 *
 * No provider is asked more often for it than by the SDK of a client alone: at most three times, and once where an SDK would not ask
 * again, because what came is an answer to it, or a late one. Where a provider was asked twice, an error in the end tells the
 * client not to try again.
 *
 * @throws {GatewayError} of the target that was asked last.
 */
export async function askInTurn(
  stream: GatewayStream,
  request: RelayRequest,
  targets: readonly RequestTarget[],
  {
    ask,
    budget,
    clock,
    detach,
    entrant,
    gates,
    onFallback,
    takePlace,
    tries,
    waitTimeoutMs,
  }: AskInTurnOptions,
): Promise<void> {
  const { leftOut, order } = targetsInOrder(targets, gates, clock);
  for (const { provider } of leftOut) gates.fellBack(provider);
  const asked = new Map<Provider, number>();
  let isFinal = false;
  const mayAsk = ({ provider }: RequestTarget): boolean =>
    !asked.has(provider) || (asked.get(provider) ?? 0) + tries <= maxAsked;
  let [target, ...later] = order;
  while (target !== undefined) {
    const { model, provider } = target;
    let visit: ProviderVisit | undefined;
    let hasBegun = false;
    const deadline = new TryDeadline(stream.signal);
    const hasOther = later.some((each) => each.provider !== provider && mayAsk(each));
    const isWrong = (): void => void asked.set(provider, maxAsked);
    stream.origin = originOf(provider);
    stream.detach = provider.detach ?? detach;
    try {
      const gate = gates.find(provider, model);
      const expectedMs = budget && (gate?.expectedMs(entrant) ?? 0);
      if (budget !== undefined && expectedMs !== undefined && expectedMs > budget.leftMs)
        throw budget.tooShort(expectedMs);
      // What hangs, or has a full queue, leaves the other half of the time to the next one.
      if (budget !== undefined && hasOther && request.wantsEvents) {
        deadline.start(clock, budget.leftMs / 2, () => {
          if (asked.has(provider)) isWrong();
          return budget.shareSpent();
        });
      }
      // A long wait leaves the other half of what may be waited to the next one.
      const waitMs = (stream.startedMs + waitTimeoutMs - clock.nowMs()) / 2;
      const isBounded = gate !== undefined && later.some(mayAsk);
      const wait = isBounded ? deadline.after(clock, waitMs, () => waitedHalf(waitMs)) : undefined;
      visit = await gate?.enter({ ...entrant, signal: deadline.signal }, stream).finally(() => wait?.stop());
      await takePlace();
      isFinal ||= asked.has(provider);
      asked.set(provider, (asked.get(provider) ?? 0) + tries);
      const attempt = bodyWith(request, target.edits);
      if (attempt === undefined) throw new Error('the body of a request with a named model can be edited');
      const askedMs = clock.nowMs();
      const { firstTokenMs } = provider;
      if (firstTokenMs !== undefined && request.wantsEvents) {
        deadline.start(clock, firstTokenMs, () => {
          isWrong();
          return late(firstTokenMs);
        });
      }
      await ask(target, attempt, {
        signal: deadline.signal,
        hasNext: later.some(mayAsk),
        hasOther,
        isFinal,
        // What is handed on at once is not kept back only to be measured.
        awaitsToken: hasOther || deadline.isRunning,
        isWrong,
        answered: (reply) => visit?.answered(reply),
        began: () => {
          hasBegun = true;
          deadline.stop();
        },
        onToken: visit && (() => visit?.began(clock.nowMs() - askedMs)),
      });
      visit?.end();
      return;
    } catch (thrown) {
      const error = asGatewayError(stream.signal.aborted ? stream.signal.reason : thrown);
      visit?.end(error);
      // Once an answer has begun, readers may have some of it, and the body is not held any more.
      const next = hasBegun ? undefined : later.find(mayAsk);
      if (next === undefined || stream.signal.aborted || !mayDoBetter(error)) {
        if (isFinal) error.isFinal = true;
        throw error;
      }
      onFallback(target, error, next);
      later = later.slice(later.indexOf(next) + 1);
      target = next;
    } finally {
      deadline.close();
    }
  }
}

/** The SDKs of OpenAI and Anthropic ask at most so often, the first time included. */
const maxAsked = 3;

function waitedHalf(ms: number): GatewayError {
  return overloaded(
    `No place became free within ${Math.round(ms)} ms, half of what may be waited (waitTimeoutMs), and there is another target.`,
  );
}

function late(ms: number): GatewayError {
  const message = `The provider sent no first token within ${ms} ms (firstTokenMs).`;
  return new GatewayError('upstream_timeout', message);
}

/** A signal that is aborted with a stream's, and by the first of its own deadlines. */
class TryDeadline {
  readonly #stream: AbortSignal;
  readonly #controller = new AbortController();
  readonly #onAbort: () => void;
  readonly #timers: { stop(): void }[] = [];

  constructor(stream: AbortSignal) {
    this.#stream = stream;
    this.#onAbort = () => this.#controller.abort(stream.reason);
    stream.addEventListener('abort', this.#onAbort, { once: true });
    if (stream.aborted) this.#onAbort();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get isRunning(): boolean {
    return this.#timers.length > 0;
  }

  /** A deadline until it is stopped, which has to be done. */
  after(clock: ServerClock, ms: number, errorOf: () => GatewayError): { stop(): void } {
    return clock.after(ms, () => this.#controller.abort(errorOf()));
  }

  /** A deadline until all such ones are stopped. */
  start(clock: ServerClock, ms: number, errorOf: () => GatewayError): void {
    this.#timers.push(this.after(clock, ms, errorOf));
  }

  stop(): void {
    for (const timer of this.#timers.splice(0)) timer.stop();
  }

  close(): void {
    this.stop();
    this.#stream.removeEventListener('abort', this.#onAbort);
  }
}
