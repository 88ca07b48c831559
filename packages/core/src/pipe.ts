import { asError } from './as-error.ts';
import type { ChannelEnd } from './channel/channel.ts';
import { openChannel } from './channel/open-channel.ts';
import type { ChannelOptions } from './channel/channel-options.ts';
import { Gap } from './channel/gap.ts';
import { errorOf } from './channel/iterate.ts';
import type { Overflow } from './channel/overflow.ts';
import type { LosslessReaderOptions, ReaderOptions } from './channel/reader.ts';
import type { SpillPolicy } from './channel/spill-policy.ts';
import { toReadableStream } from './sink/readable-stream.ts';
import { checkSink, type ChunkSink, openSink, type Sink } from './sink/sink.ts';
import { checkSource, readSource, type Source } from './source/source.ts';
import { toWritableStream } from './source/writable-stream.ts';

/** A channel's options, and the overflow policy and callbacks of its one reader. */
export interface PipeOptions<T> extends ChannelOptions<T> {
  /** The overflow policy of the reader. Default: `block`. */
  readonly overflow?: Overflow | SpillPolicy<T>;
  /**
   * Called for every gap, in order between the chunks: for losses in the channel, and for gaps that come from the
   * source. The sink gets only chunks.
   */
  readonly onGap?: (gap: Gap) => void;
  /** An abort cancels the source and the sink. */
  readonly signal?: AbortSignal;
}

/** How a pipe ended, and how many chunks passed through it. */
export type PipeEnd = ChannelEnd & {
  /** The chunks that came from the source. */
  readonly writtenItems: number;
  /** The chunks that the sink took; merged ones count as one. */
  readonly deliveredItems: number;
  /** The chunks that were dropped. */
  readonly droppedItems: number;
};

/**
 * Carries a source through a bounded channel to a sink. The source is read ahead of the sink by no more than the
 * channel's bound and the one chunk that waits for room in it. A source that fails aborts the sink, after the chunks
 * that waited. A function of the options that fails (`weigh`, `durationMs`, `merge`) does the same, and cancels the
 * source. A sink that fails, or the signal, cancels the source at once. After the signal the pipe resolves at once,
 * too, whatever source and sink still do.
 *
 * Rejects only for wrong arguments. Every other end is the result, also for a source or a sink that cannot be opened.
 *
 * @throws {SpillwayError} `invalid_option`, before anything is read. Also for a function or a Node stream as the sink
 *   ({@link toNodeWritable} makes a sink from a Node stream). Also for a value that is no source, such as the body of a
 *   response that has none.
 * @example
 * ```ts
 * if (response.body === null) throw new Error('The response has no body.');
 * const options = { maxBytes: 65_536, weigh: (bytes: Uint8Array) => bytes.byteLength };
 * const end = await pipe(response.body, options, toNodeWritable(createWriteStream('answer.txt')));
 * if (end.state !== 'completed') console.error(end.error);
 * ```
 */
export async function pipe<T>(source: Source<T>, options: PipeOptions<T>, sink: Sink<T>): Promise<PipeEnd> {
  checkSource(source);
  checkSink(sink);
  const { onGap, overflow = 'block', signal } = options;
  const channel = openChannel<T>(options);
  const reader = channel.reader({ overflow });
  const from = readSource(source);
  let to: ChunkSink<T> | undefined;
  let deliveredItems = 0;
  const reading = new StoppableWait();
  const writing = new StoppableWait();
  const { promise: aborted, resolve: noteAbort } = Promise.withResolvers<void>();

  /** Cancels the source of a channel that has failed or was cancelled: such a channel takes no more chunks. */
  const stopSource = (): void => {
    const { end } = channel;
    if (end === undefined || !('error' in end) || reading.isStopped) return;
    from.cancel(end.error);
    reading.stop(end.error);
  };
  /** Cancels the channel, the source and the waits: nobody wants the rest, nor the waiting chunks. */
  const stop = (error: Error): void => {
    channel.cancel(error);
    stopSource();
    reader.detach();
    writing.stop(error);
  };
  const onAbort = (): void => {
    stop(asError(signal?.reason));
    noteAbort();
  };

  const next = (): ReturnType<typeof from.next> => reading.wait(() => from.next());
  const read = async (): Promise<void> => {
    try {
      for (let result = await next(); result.done !== true; result = await next()) {
        if (channel.offer(result.value) !== 'accepted') await channel.write(result.value);
      }
      channel.complete();
    } catch (error) {
      // Does nothing if the channel has ended already.
      channel.fail(asError(error));
      stopSource();
    }
  };
  const write = async (): Promise<ChannelEnd> => {
    try {
      const opened = openSink(sink);
      to = opened;
      while (await reader.ready()) {
        const item = reader.take();
        if (item instanceof Gap) onGap?.(item);
        else if (item !== undefined) {
          await writing.wait(() => opened.write(item));
          deliveredItems += 1;
        }
        stopSource();
      }
      const { end } = reader;
      const error = errorOf(end);
      if (error === undefined) {
        // Throws if the signal was aborted meanwhile.
        await writing.wait(() => opened.close?.());
        return { state: 'completed' };
      }
      stop(error);
      return { state: end?.state === 'cancelled' ? 'cancelled' : 'failed', error };
    } catch (reason) {
      const error = asError(reason);
      stop(error);
      return { state: 'cancelled', error };
    }
  };

  if (signal?.aborted === true) onAbort();
  signal?.addEventListener('abort', onAbort, { once: true });
  const [, end] = await Promise.all([read(), write()]);
  // After the signal, the pipe does not wait for a sink that hangs.
  if ('error' in end) await Promise.race([abort(to, end.error), aborted]);
  signal?.removeEventListener('abort', onAbort);
  const { droppedItems } = reader;
  return {
    ...end,
    writtenItems: channel.nextOffset - (options.firstOffset ?? 0),
    deliveredItems,
    droppedItems,
  };
}

/**
 * Waits for one promise at a time, until it is stopped. So a source or a sink that hangs does not hold up a cancelled
 * pipe. Not `Promise.race`, which would keep memory for each wait as long as the pipe runs.
 */
class StoppableWait {
  #stopped: Error | undefined;
  #reject: ((error: Error) => void) | undefined;

  async wait<R>(start: () => Promise<R> | R): Promise<R> {
    if (this.#stopped !== undefined) throw this.#stopped;
    const started = start();
    if (!isPromise(started)) return started;
    return new Promise<R>((resolve, reject) => {
      this.#reject = reject;
      started.then(resolve, reject);
    });
  }

  get isStopped(): boolean {
    return this.#stopped !== undefined;
  }

  stop(error: Error): void {
    this.#stopped ??= error;
    this.#reject?.(error);
  }
}

function isPromise<R>(value: Promise<R> | R): value is Promise<R> {
  return typeof value === 'object' && value !== null && 'then' in value;
}

async function abort(sink: ChunkSink<never> | undefined, error: Error): Promise<void> {
  try {
    await sink?.abort?.(error);
  } catch {
    // The error that the sink is aborted with is reported; this one is not.
  }
}

/**
 * A channel with one reader as a pair of streams, for `pipeThrough`. The pair is used like a WHATWG `TransformStream`,
 * but has a bound and an overflow policy instead of two buffers. With a policy that can lose chunks, the readable side
 * also gives gaps. An abort of the writable side fails the readable side, after the waiting chunks. Cancelling the
 * readable side cancels the channel, which fails the next write.
 *
 * @throws {SpillwayError} `invalid_option`
 * @example
 * ```ts
 * const merged = deltas.pipeThrough(createTransformStream({ maxItems: 100, weigh, merge }, { overflow: 'coalesce' }));
 * ```
 */
export function createTransformStream<T>(
  channelOptions: ChannelOptions<T>,
  readerOptions?: LosslessReaderOptions<T>,
): ReadableWritablePair<T, T>;
export function createTransformStream<T>(
  channelOptions: ChannelOptions<T>,
  readerOptions: ReaderOptions<T>,
): ReadableWritablePair<T | Gap, T>;
export function createTransformStream<T>(
  channelOptions: ChannelOptions<T>,
  readerOptions: ReaderOptions<T> = {},
): ReadableWritablePair<T | Gap, T> {
  const channel = openChannel<T>(channelOptions);
  const reader = channel.reader(readerOptions);
  return {
    readable: toReadableStream(reader, (reason) => {
      // The stream is the only reader, so nobody wants the rest.
      channel.cancel(asError(reason));
      // In a channel that had ended before, chunks may still wait: they are dropped, too.
      reader.detach();
    }),
    writable: toWritableStream(channel),
  };
}
