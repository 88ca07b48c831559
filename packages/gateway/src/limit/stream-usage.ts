import type { TokenUsage } from '@spillway/core/format/format';
import type { GatewayStream } from '@spillway/server/stream/stream';
import type { StreamOutcome } from '@spillway/server/stream/stream-body';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Price } from '../config/limits.ts';
import { costOf } from './prices.ts';
import type { UsageBook } from './usage-book.ts';

/** What is known of a stream at its end. */
export interface EndOfStream {
  readonly outcome: StreamOutcome;
  /** What the provider reported. */
  readonly usage: TokenUsage | undefined;
  /** The estimate of what a cancel has saved. */
  readonly savedTokens: number;
}

/** Counts what streams have used for the tenants that asked. */
export class StreamUsage {
  readonly #book: UsageBook;
  readonly #clock: Pick<ServerClock, 'dateMs'>;
  readonly #prices: () => readonly Price[];

  constructor(book: UsageBook, clock: Pick<ServerClock, 'dateMs'>, prices: () => readonly Price[]) {
    this.#book = book;
    this.#clock = clock;
    this.#prices = prices;
  }

  /** The provider is done with a stream, or is stopped. Call it once for each. */
  ended(stream: GatewayStream, { outcome, savedTokens, usage }: EndOfStream): void {
    const { isAnswered, model, origin } = stream;
    if (origin.isOwn === true) return;
    const { tenant } = stream.client;
    const { inputTokens = 0, outputTokens = stream.events } = usage ?? {};
    const tokens = inputTokens + outputTokens;
    const price = (input: number, output: number): number | undefined =>
      costOf(this.#prices(), model, this.#clock.dateMs(), { inputTokens: input, outputTokens: output });
    const cost = price(inputTokens, outputTokens);
    this.#book.add(tenant, {
      requests: 1,
      cut: outcome.error?.code === 'limit_reached' && isAnswered ? 1 : 0,
      inputTokens,
      outputTokens,
      estimatedTokens: usage?.outputTokens === undefined ? outputTokens : 0,
      cost: cost ?? 0,
      unpricedTokens: cost === undefined ? tokens : 0,
      savedTokens,
      savedCost: price(0, savedTokens) ?? 0,
    });
    if (stream.events === 0) return;
    void stream.delivered.then(() => {
      const wastedTokens = undelivered(stream);
      if (wastedTokens > 0) this.#book.add(tenant, { wastedTokens, wastedCost: price(0, wastedTokens) ?? 0 });
    });
  }
}

/** Estimate: the tokens of a stream that no reader was written, which are those behind the reader that got furthest. */
function undelivered({ audience, events, log }: GatewayStream): number {
  const { nextOffset = 0 } = log ?? {};
  let share = 0;
  for (const { deliveredOffset, lostTokens, tokens } of [...audience.readers, ...audience.ended])
    share = Math.max(share, (tokens + lostTokens) / events, (deliveredOffset ?? 0) / nextOffset);
  return Math.max(0, Math.round(events * (1 - share)));
}
