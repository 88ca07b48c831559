import type { SinkRecord } from '@spillway/core';
import type { RecordSource } from '@spillway/core/source/record-source';
import type { EngineSink } from '@spillway/core/engine';
import type { SourceEngine } from '@spillway/core/testing';
import { openSqsSource } from '@spillway/aws';
import type { AwsEmulator } from './aws-emulator.ts';
import type { AwsFront } from './aws-front.ts';
import { SqsEngine } from './sqs-engine.ts';

/** A queue of one name, who fills it, and what stands before its source. */
interface NamedQueue {
  readonly queue: SqsEngine;
  readonly sink: EngineSink;
  front: AwsFront | undefined;
}

/**
 * Queues with the same records: a queue has one place, so that a name is a queue of its own, as SNS fills them. A source that
 * has crashed is cut off, so that it cannot say any more that its messages are in hand; they come again after a second.
 */
export class SqsSourceEngine implements SourceEngine {
  readonly #emulator: AwsEmulator;
  readonly #isFifo: boolean;
  readonly #maxEntryBytes: number;
  readonly #queues = new Map<string, NamedQueue>();
  readonly #written: SinkRecord[] = [];
  readonly #fronts: AwsFront[] = [];

  constructor(
    emulator: AwsEmulator,
    { isFifo, maxEntryBytes = 262_144 }: { isFifo: boolean; maxEntryBytes?: number },
  ) {
    this.#emulator = emulator;
    this.#isFifo = isFifo;
    this.#maxEntryBytes = maxEntryBytes;
  }

  async open(name: string): Promise<RecordSource> {
    const named = await this.#queueOf(name);
    named.front?.fail();
    named.front = await this.#emulator.front();
    this.#fronts.push(named.front);
    return openSqsSource({
      url: named.queue.urlBehind(named.front),
      visibilityMs: 1000,
      openTimeoutMs: 60_000,
    });
  }

  async write(records: readonly SinkRecord[]): Promise<void> {
    this.#written.push(...records);
    const signal = AbortSignal.timeout(60_000);
    await Promise.all([...this.#queues.values()].map(({ sink }) => sink.write(records, signal)));
  }

  fail(): void {
    for (const { front } of this.#queues.values()) front?.fail();
  }

  hang(): void {
    for (const { front } of this.#queues.values()) front?.hang();
  }

  async heal(): Promise<void> {
    // Long polls may be held there: they go on when they have something.
    for (const { front } of this.#queues.values()) void front?.heal();
    return Promise.resolve();
  }

  async openCount(): Promise<number> {
    const counts = await Promise.all(this.#fronts.map((front) => front.openCount()));
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async remove(): Promise<void> {
    for (const front of this.#fronts) front.cut();
    for (const { queue, sink } of this.#queues.values()) {
      await sink.close();
      await queue.remove();
    }
  }

  async #queueOf(name: string): Promise<NamedQueue> {
    const known = this.#queues.get(name);
    if (known !== undefined) return known;
    const queue = await SqsEngine.create(this.#emulator, {
      isFifo: this.#isFifo,
      maxEntryBytes: this.#maxEntryBytes,
    });
    const named = { queue, sink: await queue.open(), front: undefined };
    this.#queues.set(name, named);
    if (this.#written.length > 0) await named.sink.write(this.#written, AbortSignal.timeout(60_000));
    return named;
  }
}
