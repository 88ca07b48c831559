import { SpillwayError } from '../errors.ts';
import type { Reader, ReaderEnd } from './reader.ts';

/**
 * A reader as an iterator: ends with it, throws its error, and detaches it when the loop is left. Not a
 * generator: what is there costs one promise, where a generator takes three.
 *
 * @param asked told at every call: what came since the last one waited.
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

/** What whoever waits for a reader's chunks is told, if it did not end well. */
export function errorOf(end: ReaderEnd | undefined): Error | undefined {
  if (end?.state === 'disconnected') {
    return new SpillwayError(
      'reader_disconnected',
      `The reader fell behind and was disconnected. It can come back at offset ${end.offset}.`,
    );
  }
  return end !== undefined && 'error' in end ? end.error : undefined;
}
