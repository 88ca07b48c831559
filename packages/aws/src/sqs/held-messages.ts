import { ChangeMessageVisibilityBatchCommand, type Message } from '@aws-sdk/client-sqs';
import type { SqsQueue } from './sqs-queue.ts';

/** A message that was received and is not deleted. SQS gives it to nobody else for a while. */
export interface HeldMessage {
  readonly id: string;
  /** When it was sent, by the clock of SQS. */
  readonly sentMs: number;
  /** By which it is deleted; another one each time that it is received. */
  receipt: string;
  receivedMs: number;
}

/** How many messages one call is about. */
const batchSize = 10;
const batchesAtOnce = 4;

/**
 * The messages that a source has in hand. SQS is told again and again that they are, each for so long at most. Then it gives
 * them to whoever asks, and so it does soon after the process has ended.
 */
export class HeldMessages {
  readonly #queue: Pick<SqsQueue, 'client' | 'connections' | 'url'>;
  readonly #visibilityMs: number;
  readonly #maxHoldMs: number;
  /** The earliest received first. */
  readonly #held = new Map<string, HeldMessage>();
  readonly #timer: NodeJS.Timeout;
  readonly #closing = new AbortController();
  #renewing: Promise<void> | undefined;

  constructor(
    queue: Pick<SqsQueue, 'client' | 'connections' | 'url'>,
    visibilityMs: number,
    maxHoldMs: number,
  ) {
    this.#queue = queue;
    this.#visibilityMs = visibilityMs;
    this.#maxHoldMs = maxHoldMs;
    this.#timer = setInterval(() => this.#renew(), visibilityMs / 3);
    this.#timer.unref();
  }

  /** When the oldest was sent; `undefined`: there is none. */
  get oldestSentMs(): number | undefined {
    let oldest: number | undefined;
    for (const { sentMs } of this.#held.values()) oldest = Math.min(sentMs, oldest ?? sentMs);
    return oldest;
  }

  /** Takes a message. `undefined`: it is in hand already, and was received again. */
  add({ Attributes, MessageId: id = '', ReceiptHandle: receipt = '' }: Message): HeldMessage | undefined {
    const receivedMs = performance.now();
    const known = this.#held.get(id);
    if (known !== undefined) {
      known.receipt = receipt;
      known.receivedMs = receivedMs;
      return undefined;
    }
    const sentMs = Number(Attributes?.SentTimestamp ?? Date.now());
    const message = { id, receipt, sentMs, receivedMs };
    this.#held.set(id, message);
    return message;
  }

  /** It is deleted, or whoever asks may have it. */
  remove({ id }: HeldMessage): void {
    this.#held.delete(id);
  }

  /** Whether SQS was told for as long as it is told that the message is in hand. */
  isOver({ receivedMs }: HeldMessage): boolean {
    return performance.now() - receivedMs >= this.#maxHoldMs;
  }

  /** Lets all go, so that others have them at once. Never rejects. */
  async close(timeoutMs: number): Promise<void> {
    clearInterval(this.#timer);
    this.#closing.abort();
    await this.#renewing;
    const signal = AbortSignal.timeout(timeoutMs);
    const all = [...this.#held.values()];
    this.#held.clear();
    await this.#tell(all, 0, signal, 1).catch(() => undefined);
  }

  #renew(): void {
    const due = [...this.#held.values()].filter((message) => !this.isOver(message));
    if (this.#renewing !== undefined || due.length === 0) return;
    this.#renewing = this.#tell(due, this.#visibilityMs, this.#closing.signal, batchesAtOnce)
      // The next one tells again. If none does in time, SQS gives the messages to whoever asks, and to this source.
      .catch(() => undefined)
      .finally(() => {
        this.#renewing = undefined;
      });
  }

  async #tell(
    messages: readonly HeldMessage[],
    ms: number,
    signal: AbortSignal,
    atOnce: number,
  ): Promise<void> {
    await inBatches(messages, atOnce, async (batch) => {
      const { client, connections, url } = this.#queue;
      const command = new ChangeMessageVisibilityBatchCommand({
        QueueUrl: url,
        Entries: batch.map(({ receipt }, index) => ({
          Id: String(index),
          ReceiptHandle: receipt,
          VisibilityTimeout: ms / 1000,
        })),
      });
      await connections.onceMore(() => client.send(command, { abortSignal: signal }), signal);
    });
  }
}

/** Calls for ten at a time, with so many calls under way. Rejects when one does, after the others have settled. */
export async function inBatches<Entry>(
  entries: readonly Entry[],
  atOnce: number,
  call: (batch: readonly Entry[]) => Promise<void>,
): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < entries.length) {
      const batch = entries.slice(next, next + batchSize);
      next += batchSize;
      await call(batch);
    }
  };
  const settled = await Promise.allSettled(Array.from({ length: atOnce }, work));
  const failed = settled.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
