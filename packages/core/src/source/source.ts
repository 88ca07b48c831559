/**
 * Where chunks come from: anything that can be iterated asynchronously (a generator, a Node stream, an
 * SDK's stream) or a WHATWG `ReadableStream`. It is pulled one chunk at a time.
 */
export type Source<T> = AsyncIterable<T> | ReadableStream<T>;

/** A source that is being read. */
export interface SourceReader<T> {
  next(): Promise<{ readonly done?: false; readonly value: T } | { readonly done: true }>;
  /**
   * Nobody wants the rest. Does not wait for a `next` that hangs. A source that has ended, has failed or was cancelled before
   * is not told.
   */
  cancel(reason: Error): void;
}

/** Opens the source when it is first read: one that is locked, or that cannot be opened, fails that read. */
export function readSource<T>(source: Source<T>): SourceReader<T> {
  // Not every browser can iterate over a stream, and iterating would not pass on the reason.
  return 'getReader' in source ? readStream(source) : readIterable(source);
}

/** Gives the stream back, however it ended. */
function readStream<T>(source: ReadableStream<T>): SourceReader<T> {
  let reader: ReadableStreamDefaultReader<T> | undefined;
  let isOver = false;
  const finish = (): void => {
    isOver = true;
    reader?.releaseLock();
  };
  return {
    next: async () => {
      try {
        reader ??= source.getReader();
        const result = await reader.read();
        if (!result.done) return { value: result.value };
      } catch (error) {
        finish();
        throw error;
      }
      finish();
      return { done: true };
    },
    cancel: (reason) => {
      if (isOver) return;
      (reader ?? source).cancel(reason).catch(ignore);
      finish();
    },
  };
}

function readIterable<T>(source: AsyncIterable<T>): SourceReader<T> {
  let iterator: AsyncIterator<T> | undefined;
  let isOver = false;
  return {
    next: async () => {
      try {
        iterator ??= source[Symbol.asyncIterator]();
        const result = await iterator.next();
        if (result.done !== true) return { value: result.value };
      } catch (error) {
        isOver = true;
        throw error;
      }
      isOver = true;
      return { done: true };
    },
    cancel: () => {
      if (isOver) return;
      isOver = true;
      void stop(source, iterator);
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
