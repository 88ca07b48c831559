import { invalid } from '../invalid.ts';

/**
 * Where chunks go. A `write` that returns a promise is waited for, which is what makes the source wait;
 * one that throws cancels the source.
 */
export interface ChunkSink<T> {
  /** Takes a chunk. The next one comes when the promise has resolved. */
  write(chunk: T): Promise<void> | void;
  /** Everything was written. */
  close?(): Promise<void> | void;
  /** The stream ended otherwise. */
  abort?(error: Error): Promise<void> | void;
}

/** A sink, or a WHATWG `WritableStream`. A Node stream is none: {@link toNodeWritable} makes one of it. */
export type Sink<T> = ChunkSink<T> | WritableStream<T>;

/** The part of a Node `Writable` that is needed: this package imports nothing of Node. */
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
 * A sink that writes to a Node stream and waits until it has taken each chunk, and at the end until all is flushed. A stream
 * that fails, or is closed by somebody else, fails the write that waits for it, or else the next one, and the end if none comes.
 *
 * @example
 * ```ts
 * await pipe(model, { maxItems: 100 }, toNodeWritable(process.stdout));
 * ```
 */
export function toNodeWritable<T>(writable: NodeWritable<T>): ChunkSink<T> {
  let broken: Error | undefined;
  let fail: ((error: Error) => void) | undefined;
  // Also of a stream whose error was told to a callback: without a listener it would end the process.
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
  /** Not every stream calls back when it is destroyed, and hardly one that was destroyed before. */
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
 * A Node stream has a `write`, too, but it returns `false` where a sink returns a promise: nobody would wait for it, and nobody
 * would end it.
 */
function isNodeStream(sink: object): boolean {
  return ['write', 'end', 'on'].every(
    (name) => typeof (sink as Record<string, unknown>)[name] === 'function',
  );
}

/** @throws {SpillwayError} `invalid_option` for what is no sink. */
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
 * Any sink as one that chunks can be written to.
 *
 * @throws {SpillwayError} `invalid_option` for what is no sink.
 */
export function openSink<T>(sink: Sink<T>): ChunkSink<T> {
  checkSink(sink);
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
      try {
        await writer.abort(error);
      } finally {
        writer.releaseLock();
      }
    },
  };
}
