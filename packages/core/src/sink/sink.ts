/**
 * Where chunks go. A `write` that returns a promise is waited for, which is what makes the source wait;
 * one that throws cancels the source.
 */
export interface ChunkSink<T> {
  write(chunk: T): Promise<void> | void;
  /** Everything was written. */
  close?(): Promise<void> | void;
  /** The stream ended otherwise. */
  abort?(error: Error): Promise<void> | void;
}

/** A sink, or a WHATWG `WritableStream`. */
export type Sink<T> = ChunkSink<T> | WritableStream<T>;

/** The part of a Node `Writable` that is needed: this package imports nothing of Node. */
export interface NodeWritable<T> {
  write(chunk: T, callback: (error?: Error | null) => void): boolean;
  end(callback: () => void): unknown;
  destroy(error?: Error): unknown;
}

/**
 * A sink that writes to a Node stream and waits until it has taken each chunk.
 *
 * @example
 * ```ts
 * await pipe(model, { maxItems: 100 }, toNodeWritable(process.stdout));
 * ```
 */
export function toNodeWritable<T>(writable: NodeWritable<T>): ChunkSink<T> {
  return {
    write: (chunk) =>
      new Promise<void>((resolve, reject) => {
        writable.write(chunk, (error) => {
          if (error === undefined || error === null) resolve();
          else reject(error);
        });
      }),
    close: () => new Promise<void>((resolve) => void writable.end(resolve)),
    abort: (error) => void writable.destroy(error),
  };
}

/** Any sink as one that chunks can be written to. */
export function openSink<T>(sink: Sink<T>): ChunkSink<T> {
  if (!('getWriter' in sink)) return sink;
  const writer = sink.getWriter();
  // Also reported by the write that fails; this one would otherwise be nobody's.
  writer.closed.catch(() => undefined);
  return {
    write: async (chunk) => {
      await writer.ready;
      await writer.write(chunk);
    },
    close: async () => {
      await writer.close();
      writer.releaseLock();
    },
    abort: async (error) => {
      await writer.abort(error);
      writer.releaseLock();
    },
  };
}
