import type { Timer } from '@spillway/core/clock';
import type { TokenUsage } from '@spillway/core/format/format';
import type { LimitError } from '@spillway/server/limit/limit-error';
import type { CountedTokens, LeaseHost } from './lease-host.ts';
import { lastedError } from './limit-message.ts';
import { checkParts } from './parts-budget.ts';
import type { RequestLease } from './request-lease.ts';
import type { Spender } from './spender.ts';

/** What a conversation's lease is made of. */
export interface ConversationLeaseOptions {
  readonly lease: RequestLease;
  readonly host: LeaseHost<RequestLease>;
}

/**
 * What one conversation or call holds of its limits. It spends what its provider reports, in one sum, and settles with its
 * end, exactly once.
 */
export class ConversationLease implements Spender {
  readonly mayBeCut = true;
  /** Sound has no length in tokens. Its end says what no provider has reported. */
  readonly estimatedTokens = 0;
  signal: AbortSignal = new AbortController().signal;
  reported: TokenUsage | undefined;
  readonly running = undefined;
  wasServed = false;
  readonly #options: ConversationLeaseOptions;
  readonly #startedMs: number;
  #timer: Timer | undefined;
  #onCut: ((error: LimitError) => void) | undefined;

  constructor(options: ConversationLeaseOptions) {
    this.#options = options;
    this.#startedMs = options.host.clock.nowMs();
  }

  get hasBegun(): boolean {
    return this.wasServed;
  }

  /** Why it waits for its turn; `undefined`: it does not. */
  get awaitedError(): LimitError | undefined {
    return this.#options.lease.awaitedError;
  }

  /** Who gets the next free place of maxStreams. */
  get priority(): RequestLease['priority'] {
    return this.#options.lease.priority;
  }

  /**
   * Takes everything that the conversation needs, and waits for a place until the signal is aborted.
   *
   * @throws {LimitError}
   * @throws {GatewayError} `limits_unavailable`
   */
  async enter(signal: AbortSignal): Promise<void> {
    this.signal = signal;
    await this.#options.lease.enterAs(this);
  }

  /**
   * {@link enter} for a call, which cannot wait: one that would have to wait for a place is refused. So is one whose answers
   * have leases of their own, where too little is left for any of them.
   */
  async enterNow(): Promise<void> {
    const { host, lease } = this.#options;
    const { closing } = host;
    if (lease.parts !== undefined) await checkParts(host, lease.parts, closing);
    await lease.open(closing);
    if (this.awaitedError !== undefined) throw this.awaitedError;
    await this.enter(closing);
  }

  /** It begins. `onCut`: a limit ends it; called once at most. */
  begin(onCut: (error: LimitError) => void): void {
    const { host, lease } = this.#options;
    const { clock } = host;
    const { maxMs } = lease;
    this.wasServed = true;
    this.#onCut = onCut;
    if (maxMs === undefined) return;
    const lastedMs = (): number => clock.nowMs() - this.#startedMs;
    this.#timer = clock.after(Math.max(0, maxMs - lastedMs()), () =>
      this.cut(lastedError(maxMs, Math.round(lastedMs()))),
    );
  }

  /** It has used so much in all, says its provider, with an estimate of what it did not say. */
  used(total: TokenUsage): void {
    this.reported = total;
    this.#options.lease.used(total);
  }

  /**
   * It is over. `total`: what it has used in all, with an estimate of what nobody has reported. Default: what {@link used} was told
   * last. Returns what was counted; `undefined`: the lease had nothing, or has settled before.
   */
  settle(total = this.reported): CountedTokens | undefined {
    this.#timer?.stop();
    return this.#options.lease.settle(total);
  }

  cut(error: LimitError): void {
    const onCut = this.#onCut;
    this.#onCut = undefined;
    onCut?.(error);
  }
}

/** What was used in all; `undefined`: nothing is known. */
export function sumOf(one: TokenUsage | undefined, other: TokenUsage | undefined): TokenUsage | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return {
    inputTokens: (one.inputTokens ?? 0) + (other.inputTokens ?? 0),
    outputTokens: (one.outputTokens ?? 0) + (other.outputTokens ?? 0),
  };
}
