import { invalid } from '../invalid.ts';

/**
 * Takes chunks. The next chunk comes when the promise of a `write` has resolved, which makes the source wait. A `write`
 * that throws cancels the source.
 */
export interface ChunkSink<T> {
  /** Takes a chunk. The next chunk comes when the promise has resolved. */
  write(chunk: T): Promise<void> | void;
  /** Called after the last chunk, when the stream has completed. */
  close?(): Promise<void> | void;
  /** Called when the stream has failed or was cancelled. */
  abort?(error: Error): Promise<void> | void;
}

/** A sink, or a WHATWG `WritableStream`. A Node stream is no sink: {@link toNodeWritable} makes one from it. */
export type Sink<T> = ChunkSink<T> | WritableStream<T>;

/** The part of a Node `Writable` that is used: this package imports nothing of Node. */
export interface NodeWritable<T> {
  write(chunk: T, callback: (error?: Error | null) => void): boolean;
  end(callback: (error?: Error | null) => void): unknown;
  destroy(error?: Error): unknown;
  readonly destroyed?: boolean;
  readonly errored?: Error | null;
  on(event: 'close' | 'error', listener: (error?: Error) => void): unknown;
  off(event: 'close' | 'error', listener: (error?: Error) => void): unknown;
}

/**
 * A sink that writes to a Node stream. Each write waits until the stream has taken the chunk, and the end waits until
 * all is flushed. A stream that fails, or is closed elsewhere, fails the write that waits. If none waits, the stream
 * fails the next write, or the end.
 *
 * @example
 * ```ts
 * await pipe(model, { maxItems: 100 }, toNodeWritable(process.stdout));
 * ```
 */
export function toNodeWritable<T>(writable: NodeWritable<T>): ChunkSink<T> {
  let broken: Error | undefined;
  let fail: ((error: Error) => void) | undefined;
  // Also for an error that a callback got already: without a listener the error event would end the process.
  const onError = (error?: Error): void => {
    broken ??= error ?? new Error('The stream was closed before its end.');
    fail?.(broken);
  };
  const onClose = (): void => {
    onError();
    stopListening();
  };
  const stopListening = (): void => {
    writable.off('error', onError);
    writable.off('close', onClose);
  };
  writable.on('error', onError);
  writable.on('close', onClose);
  /**
   * Settles also if the stream closes or fails. Not every stream calls back when it is destroyed, and hardly any that
   * was destroyed before.
   */
  const settled = async (start: (callback: (error?: Error | null) => void) => void): Promise<void> => {
    if (writable.destroyed === true)
      broken ??= writable.errored ?? new Error('The stream was closed already.');
    if (broken !== undefined) throw broken;
    await new Promise<void>((resolve, reject) => {
      fail = reject;
      start((error) => {
        if (error === undefined || error === null) resolve();
        else reject(error);
      });
    });
    fail = undefined;
  };
  return {
    write: (chunk) => settled((callback) => void writable.write(chunk, callback)),
    close: async () => {
      await settled((callback) => void writable.end(callback));
      stopListening();
    },
    abort: (error) => void writable.destroy(error),
  };
}

/**
 * A Node stream has a `write`, too. But that returns `false` where a sink returns a promise, so a pipe would neither
 * wait for the stream nor end it.
 */
function isNodeStream(sink: object): boolean {
  return ['write', 'end', 'on'].every(
    (name) => typeof (sink as Record<string, unknown>)[name] === 'function',
  );
}

/**
 * @throws {SpillwayError} `invalid_option` for a value that is no sink.
 */
export function checkSink(sink: unknown): void {
  const expected = 'sink: expected an object with write or a WritableStream';
  if (typeof sink === 'function') throw invalid(`${expected}, got a function: hand over { write }.`);
  if (sink === null) throw invalid(`${expected}, got null.`);
  if (typeof sink !== 'object') throw invalid(`${expected}, got ${typeof sink}.`);
  if (isNodeStream(sink)) throw invalid(`${expected}, got a Node stream: hand over toNodeWritable(stream).`);
  if ('getWriter' in sink || ('write' in sink && typeof sink.write === 'function')) return;
  throw invalid(`${expected}, got an object without.`);
}

/**
 * Opens any sink, so that chunks can be written to it.
 *
 * @throws {SpillwayError} `invalid_option` for a value that is no sink.
 */
export function openSink<T>(sink: Sink<T>): ChunkSink<T> {
  checkSink(sink);
  if (!('getWriter' in sink)) return sink;
  const writer = sink.getWriter();
  // The write that fails reports the same error; here the rejection would be unhandled.
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
      try {
        await writer.abort(error);
      } finally {
        writer.releaseLock();
      }
    },
  };
}
