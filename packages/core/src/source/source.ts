import { invalid } from '../invalid.ts';

/**
 * Where chunks come from: anything that can be iterated asynchronously (a generator, a Node stream, an
 * SDK's stream) or a WHATWG `ReadableStream`. It is pulled one chunk at a time.
 */
export type Source<T> = AsyncIterable<T> | ReadableStream<T>;

/** A source that is being read. */
export interface SourceReader<T> {
  next(): Promise<{ readonly done?: false; readonly value: T } | { readonly done: true }>;
  /** Nobody wants the rest. Does not wait for a `next` that hangs. Also gives back what has failed. Not after the end. */
  cancel(reason: Error): void;
}

/** @throws {SpillwayError} `invalid_option` for what is no source, such as the body of a response that has none. */
export function checkSource(source: unknown): void {
  const expected = 'source: expected an async iterable or a ReadableStream';
  if (source === null) throw invalid(`${expected}, got null.`);
  if (typeof source !== 'object') throw invalid(`${expected}, got ${typeof source}.`);
  if (!('getReader' in source || Symbol.asyncIterator in source))
    throw invalid(`${expected}, got an object that is neither.`);
}

/** Opens the source when it is first read: one that is locked, or that cannot be opened, fails that read. */
export function readSource<T>(source: Source<T>): SourceReader<T> {
  // Not every browser can iterate over a stream, and iterating would not pass on the reason.
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
    // As in a loop: one that has failed is not told to stop.
    cancel: () => {
      if (!hasFailed) void stop(source, iterator);
    },
  };
}

/** A Node stream. Its iterator stops it only behind a `next` that may hang, and does not if nothing was read. */
interface Destroyable {
  /** Without an error: nobody may listen for one. */
  destroy(): unknown;
}

function isDestroyable(source: object): source is Destroyable {
  return 'destroy' in source && typeof source.destroy === 'function';
}

/** Tells whoever iterates to stop. What somebody wrote may throw here, or give no promise. */
async function stop(source: AsyncIterable<unknown>, begun?: AsyncIterator<unknown>): Promise<void> {
  try {
    if (isDestroyable(source)) source.destroy();
    else await (begun ?? source[Symbol.asyncIterator]()).return?.();
  } catch (error) {
    ignore(error);
  }
}

/** What a source says after it was cancelled interests nobody. */
function ignore(_error: unknown): void {}
