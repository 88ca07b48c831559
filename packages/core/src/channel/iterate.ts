import { SpillwayError } from '../errors.ts';
import type { Reader, ReaderEnd } from './reader.ts';

/**
 * A reader as an iterator. The iterator ends with the reader, throws the reader's error, and detaches the reader when
 * the loop is left. Not a generator: a waiting item costs one promise, where a generator takes three.
 *
 * @param asked called with every `next`: entries written before it count as waiting.
 */
export function iterate<Item>(
  reader: Reader<Item>,
  asked: () => void,
): AsyncIterableIterator<Item, undefined> {
  const nextLater = async (): Promise<IteratorResult<Item, undefined>> => {
    while (await reader.ready()) {
      const value = reader.take();
      if (value !== undefined) return { value };
    }
    const error = errorOf(reader.end);
    reader.detach();
    if (error !== undefined) throw error;
    return { done: true, value: undefined };
  };
  return {
    next: () => {
      asked();
      const value = reader.take();
      return value === undefined ? nextLater() : Promise.resolve({ value });
    },
    return: () => {
      reader.detach();
      return Promise.resolve({ done: true, value: undefined });
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** The error for code that reads, if the reader did not end well. */
export function errorOf(end: ReaderEnd | undefined): Error | undefined {
  if (end?.state === 'disconnected') {
    return new SpillwayError(
      'reader_disconnected',
      `The reader fell behind and was disconnected. It can come back at offset ${end.offset}.`,
    );
  }
  return end !== undefined && 'error' in end ? end.error : undefined;
}
