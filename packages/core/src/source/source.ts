/**
 * Where chunks come from: anything that can be iterated asynchronously (a generator, a Node stream, an
 * SDK's stream) or a WHATWG `ReadableStream`. It is pulled one chunk at a time.
 */
export type Source<T> = AsyncIterable<T> | ReadableStream<T>;

/** A source that is being read. */
export interface SourceReader<T> {
  next(): Promise<{ readonly done?: false; readonly value: T } | { readonly done: true }>;
  /** Nobody wants the rest. Does not wait for a `next` that hangs. */
  cancel(reason: Error): void;
}

export function readSource<T>(source: Source<T>): SourceReader<T> {
  // Not every browser can iterate over a stream, and iterating would not pass on the reason.
  if ('getReader' in source) {
    const reader = source.getReader();
    return {
      next: async () => {
        const result = await reader.read();
        if (!result.done) return { value: result.value };
        reader.releaseLock();
        return { done: true };
      },
      cancel: (reason) => void reader.cancel(reason).catch(ignore),
    };
  }
  const iterator = source[Symbol.asyncIterator]();
  return {
    next: async () => {
      const result = await iterator.next();
      return result.done === true ? { done: true } : { value: result.value };
    },
    cancel: () => void returnTo(iterator),
  };
}

/** Tells an iterator to stop. An iterator that somebody wrote may throw here, or give no promise. */
async function returnTo(iterator: AsyncIterator<unknown>): Promise<void> {
  try {
    await iterator.return?.();
  } catch (error) {
    ignore(error);
  }
}

/** What a source says after it was cancelled interests nobody. */
function ignore(_error: unknown): void {}
