import { invalid } from '../invalid.ts';

/**
 * The source of chunks: anything that can be iterated asynchronously (a generator, a Node stream, an SDK's stream) or a
 * WHATWG `ReadableStream`. Chunks are pulled from it one at a time.
 */
export type Source<T> = AsyncIterable<T> | ReadableStream<T>;

/** A source that is being read. */
export interface SourceReader<T> {
  next(): Promise<{ readonly done?: false; readonly value: T } | { readonly done: true }>;
  /**
   * Cancels the rest. Does not wait for a `next` that hangs. Also cleans up after a failed `next`. Not called after the
   * end.
   */
  cancel(reason: Error): void;
}

/**
 * @throws {SpillwayError} `invalid_option` for a value that is no source, such as the body of a response that has none.
 */
export function checkSource(source: unknown): void {
  const expected = 'source: expected an async iterable or a ReadableStream';
  if (source === null) throw invalid(`${expected}, got null.`);
  if (typeof source !== 'object') throw invalid(`${expected}, got ${typeof source}.`);
  if (!('getReader' in source || Symbol.asyncIterator in source))
    throw invalid(`${expected}, got an object that is neither.`);
}

/** Opens the source when it is first read. If the source is locked or cannot be opened, that read fails. */
export function readSource<T>(source: Source<T>): SourceReader<T> {
  // Not every browser can iterate over a stream. Leaving a loop would also not pass on the reason.
  if ('getReader' in source) {
    let reader: ReadableStreamDefaultReader<T> | undefined;
    return {
      next: async () => {
        reader ??= source.getReader();
        const result = await reader.read();
        if (!result.done) return { value: result.value };
        reader.releaseLock();
        return { done: true };
      },
      cancel: (reason) => {
        (reader ?? source).cancel(reason).catch(ignore);
        reader?.releaseLock();
      },
    };
  }
  let iterator: AsyncIterator<T> | undefined;
  let hasFailed = false;
  return {
    next: async () => {
      try {
        iterator ??= source[Symbol.asyncIterator]();
        const result = await iterator.next();
        return result.done === true ? { done: true } : { value: result.value };
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    },
    // As in a `for await` loop, a source that has failed is not stopped.
    cancel: () => {
      if (!hasFailed) void stop(source, iterator);
    },
  };
}

/**
 * The part of a Node stream that ends it. Its iterator would stop the stream only after a `next` that may hang, and not
 * at all if nothing was read.
 */
interface Destroyable {
  /** Destroys the stream without an error, because nobody may listen for one. */
  destroy(): unknown;
}

function isDestroyable(source: object): source is Destroyable {
  return 'destroy' in source && typeof source.destroy === 'function';
}

/** Stops an iterator. A program's own iterator may throw here, or return no promise. */
async function stop(source: AsyncIterable<unknown>, begun?: AsyncIterator<unknown>): Promise<void> {
  try {
    if (isDestroyable(source)) source.destroy();
    else await (begun ?? source[Symbol.asyncIterator]()).return?.();
  } catch (error) {
    ignore(error);
  }
}

/** Ignores an error of a source that was cancelled. */
function ignore(_error: unknown): void {}
