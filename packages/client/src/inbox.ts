import { frameOverheadBytes } from '@spillway/core/session';
import { ClientError } from './errors.ts';
import type { StreamItem } from './stream-reader.ts';

interface Waiter {
  resolve(result: Result): void;
  reject(reason: unknown): void;
}

type Result = IteratorResult<StreamItem, undefined>;

/** Holds the received items until the one consumer takes them. */
export class Inbox {
  /** The offset after the last item taken. */
  takenTo = 0;
  /** The bytes of waiting items that need no credit: the gateway's own bytes, which no window bounds. */
  ownBytes = 0;
  readonly #items: StreamItem[] = [];
  #waiter: Waiter | undefined;
  /** How the stream ends when everything was taken. */
  #end: 'failed' | 'whole' | undefined;
  #error: unknown;

  get isEmpty(): boolean {
    return this.#items.length === 0;
  }

  get isWaiting(): boolean {
    return this.#waiter !== undefined;
  }

  push(item: StreamItem): void {
    if (this.#end !== undefined) return;
    const last = this.#items.at(-1);
    if (this.#waiter !== undefined) {
      this.takenTo = item.to;
      this.#release()?.resolve({ done: false, value: item });
    } else if (item.type === 'gap' && last?.type === 'gap') {
      // Neighbouring gaps become one, so any number of gaps takes the memory of one.
      this.#items[this.#items.length - 1] = { ...item, from: last.from, bytes: last.bytes + item.bytes };
    } else {
      this.#items.push(item);
      this.ownBytes += ownBytesOf(item);
    }
  }

  /** Ends the stream as whole: no more items come. */
  complete(): void {
    this.#end ??= 'whole';
    this.#release()?.resolve({ done: true, value: undefined });
  }

  /** Fails the stream after the waiting items: no more items come. */
  fail(error: unknown): void {
    if (this.#end === undefined) {
      this.#end = 'failed';
      this.#error = error;
    }
    this.#release()?.reject(error);
  }

  /** Drops the waiting items and any earlier end, because the consumer has left. */
  discard(): void {
    this.#items.length = 0;
    this.ownBytes = 0;
    this.#end = undefined;
  }

  next(): Promise<Result> {
    if (this.#waiter !== undefined) {
      return Promise.reject(
        new ClientError('read_pending', 'An earlier call of next still waits: await it.'),
      );
    }
    const value = this.#items.shift();
    if (value !== undefined) {
      this.takenTo = value.to;
      this.ownBytes -= ownBytesOf(value);
      return Promise.resolve({ done: false, value });
    }
    if (this.#end === 'whole') return Promise.resolve({ done: true, value: undefined });
    if (this.#end === 'failed') return Promise.reject(this.#error);
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  #release(): Waiter | undefined {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    return waiter;
  }
}

function ownBytesOf(item: StreamItem): number {
  return item.type === 'chunk' && item.from === item.to ? item.bytes.length + frameOverheadBytes : 0;
}
