import type { FormatName, TokenUsage } from '@spillway/core/format/format';
import type { GatewayStream } from '@spillway/server/stream/stream';
import type { StreamOutcome } from '@spillway/server/stream/stream-body';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Refusal } from '@spillway/server/access/refusal';
import { LimitError } from '@spillway/server/limit/limit-error';
import type { Price, SpeechPrice } from '../config/limits.ts';
import { sumOf } from './conversation-lease.ts';
import type { CountedTokens } from './lease-host.ts';
import type { LimitCounts } from './limit-counts.ts';
import type { LimitedTarget } from './limited-request.ts';
import { modelNames } from './model-names.ts';
import { costOf, type PricedRequest, priceAt, priceOf } from './price-of.ts';
import { countedTokens, spenderOf } from './spender.ts';
import type { UsageBook } from './usage-book.ts';

/** What is known of a stream at its end. */
export interface EndOfStream {
  readonly outcome: StreamOutcome;
  /** Whether a model may have run for it: otherwise it has used no tokens, whatever came and went. */
  readonly ranModel: boolean;
  /** What the provider reported. */
  readonly usage: TokenUsage | undefined;
  /** The estimate of what a cancel has saved. */
  readonly savedTokens: number;
  /** What limits have counted, which the account follows; `undefined`: the stream had none. */
  readonly counted: CountedTokens | undefined;
  /** An estimate of the prompt of a stream without limits; 0: it is not known. */
  readonly promptTokens: number;
  /** Of its answers, whether they are events or in one piece; `undefined`: unknown. */
  readonly format: FormatName | undefined;
  /** {@link StreamUsage.priceNow} at its start. */
  readonly price: Price | undefined;
}

/** What is known of a conversation or a call at its end. */
export interface EndedConversation {
  readonly tenant: string;
  /** {@link StreamUsage.priceNow} at its start. */
  readonly price: Price | undefined;
  /** What the provider reported, in all. */
  readonly usage: TokenUsage | undefined;
  /** An estimate of what it has not reported, because the end came before. Default: nothing. */
  readonly unreported?: TokenUsage | undefined;
  /** What limits have counted, both together; `undefined`: it had none. */
  readonly counted: CountedTokens | undefined;
  /** What its speech has cost beside tokens, and what of that nobody heard, in millionths of the currency. Default: nothing. */
  readonly speech?: { readonly cost: number; readonly wastedCost: number };
  /** The limit that ended it; `undefined`: none did. */
  readonly error: LimitError | undefined;
}

interface StreamUsageOptions {
  readonly book: UsageBook;
  readonly counts: LimitCounts;
  readonly clock: Pick<ServerClock, 'dateMs'>;
  /** The table of prices that is in force. */
  readonly prices: () => readonly Price[];
  readonly speechPrices: () => readonly SpeechPrice[];
}

/** Counts what streams, conversations and calls have used for the tenants that asked. */
export class StreamUsage {
  readonly #book: UsageBook;
  readonly #counts: LimitCounts;
  readonly #clock: Pick<ServerClock, 'dateMs'>;
  readonly #prices: () => readonly Price[];
  readonly #speechPrices: () => readonly SpeechPrice[];

  constructor({ book, clock, counts, prices, speechPrices }: StreamUsageOptions) {
    this.#book = book;
    this.#counts = counts;
    this.#clock = clock;
    this.#prices = prices;
    this.#speechPrices = speechPrices;
  }

  /**
   * The price of a model now, which is asked for when a stream, a conversation or a call begins: it keeps that to its end.
   * `model`: as clients name it; empty: not named. `provider`: the name of the provider that gets it.
   */
  priceNow(model: string, provider: string): Price | undefined {
    return priceOf(this.#prices(), modelNames(model, provider), this.#clock.dateMs());
  }

  /** The price of a stage of a cascade now, by its name as `deepgram/nova-3`. */
  speechPriceNow(name: string): SpeechPrice | undefined {
    return priceOf(this.#speechPrices(), [name], this.#clock.dateMs());
  }

  /** The price of a request now, where `target` answers it; `undefined`: that is no model of the operator's own name. */
  priceAt(request: PricedRequest, target: LimitedTarget | undefined): Price | undefined {
    return priceAt(this.#prices(), request, target, this.#clock.dateMs());
  }

  /** A request was answered with an error, and got no stream. */
  refused({ caller, error }: Pick<Refusal, 'caller' | 'error'>): void {
    if (!(error instanceof LimitError)) return;
    this.#counts.add(error, false);
    this.#book.add(caller?.tenant ?? '', { refused: 1 });
  }

  /** The provider is done with a stream, or is stopped. Call it once for each. */
  ended(stream: GatewayStream, end: EndOfStream): void {
    const { counted, outcome, ranModel } = end;
    const { isAnswered, origin } = stream;
    if (origin.isOwn === true) return;
    const { tenant } = stream.client;
    const { error } = outcome;
    if (error instanceof LimitError) this.#counts.add(error, isAnswered);
    const isRefused = error instanceof LimitError && !isAnswered;
    const used = counted ?? countOf(stream, end);
    const { estimatedTokens, inputTokens, outputTokens } = ranModel ? used : nothing;
    const savedTokens = ranModel ? end.savedTokens : 0;
    const tokens = inputTokens + outputTokens;
    const { price } = counted ?? end;
    this.#book.add(tenant, {
      requests: isRefused ? 0 : 1,
      refused: isRefused ? 1 : 0,
      cut: error instanceof LimitError && isAnswered ? 1 : 0,
      inputTokens,
      outputTokens,
      estimatedTokens,
      cost: costOf(price, inputTokens, outputTokens),
      unpricedTokens: price === undefined ? tokens : 0,
      savedTokens,
      savedCost: costOf(price, 0, savedTokens),
    });
    if (stream.events === 0 || !ranModel) return;
    void this.#delivered(stream, price);
  }

  /** A conversation or a call has ended. Call it once for each. */
  talked({ counted, error, speech, tenant, unreported, usage, ...atStart }: EndedConversation): void {
    const isCut = error instanceof LimitError;
    if (isCut) this.#counts.add(error, true);
    const { inputTokens = 0, outputTokens = 0 } = counted ?? sumOf(usage, unreported) ?? {};
    const { price } = counted ?? atStart;
    this.#book.add(tenant, {
      requests: 1,
      cut: isCut ? 1 : 0,
      inputTokens,
      outputTokens,
      estimatedTokens: (unreported?.inputTokens ?? 0) + (unreported?.outputTokens ?? 0),
      cost: costOf(price, inputTokens, outputTokens) + (speech?.cost ?? 0),
      wastedCost: speech?.wastedCost ?? 0,
      unpricedTokens: price === undefined ? inputTokens + outputTokens : 0,
    });
  }

  /** Whether somebody reads what has come is known when nobody needs more of it. */
  async #delivered(stream: GatewayStream, price: Price | undefined): Promise<void> {
    await stream.delivered;
    const wastedTokens = undelivered(stream);
    if (wastedTokens > 0)
      this.#book.add(stream.client.tenant, { wastedTokens, wastedCost: costOf(price, 0, wastedTokens) });
  }
}

const nothing = { inputTokens: 0, outputTokens: 0, estimatedTokens: 0 };

/** What a provider reported of a stream without limits, and estimates of the rest, as of one that has some. */
function countOf(
  stream: GatewayStream,
  { format, promptTokens, usage }: Pick<EndOfStream, 'format' | 'promptTokens' | 'usage'>,
): Omit<CountedTokens, 'price'> {
  return countedTokens(usage, spenderOf(stream, format), promptTokens);
}

/** Estimate: the tokens of a stream that no reader was written, which are those behind the reader that got furthest. */
function undelivered({ audience, events, log }: GatewayStream): number {
  const { nextOffset = 0 } = log ?? {};
  let share = audience.mostTokens / events;
  for (const { lostTokens, tokens } of audience.readers)
    share = Math.max(share, (tokens + lostTokens) / events);
  // One that joined late was written less, and may still be the one that got furthest.
  for (const { deliveredOffset } of audience.ended)
    share = Math.max(share, (deliveredOffset ?? 0) / nextOffset);
  return Math.max(0, Math.round(events * (1 - share)));
}
