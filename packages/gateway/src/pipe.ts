import { openChannel } from '@spillway/core';
import { createCoalesce } from '@spillway/core/format/coalesce';
import type { Format } from '@spillway/core/format/format';
import { type EventRun, EventScanner } from '@spillway/core/format/sse';
import type { Dispatcher } from 'undici';
import type { Config } from './config/schema.ts';
import { GatewayError } from './errors.ts';
import { clientHeaders } from './headers.ts';
import type { Meter } from './meter.ts';
import { errorEventOf, readErrorBody } from './provider-error.ts';
import { writeEvents } from './sink/write-events.ts';
import { collectReply } from './source/collect-reply.ts';
import { maxReadBytes } from './source/connect.ts';
import { openReply, type RetryOptions } from './source/open-reply.ts';
import type { ProviderRequest, Reply } from './source/reply.ts';
import { ReplySource } from './source/reply-source.ts';
import type { GatewayStream } from './stream.ts';

/** What joins a provider's request with a client's response. */
export interface PipeOptions {
  readonly config: Pick<Config, 'maxEventBytes' | 'maxStreamBytes' | 'retries' | 'windowBytes'>;
  readonly dispatcher: Dispatcher;
  readonly request: ProviderRequest;
  readonly meter: Meter;
  /** What the events mean; without it whatever comes is handed on as bytes. */
  readonly format: Format | undefined;
  readonly onRetry: RetryOptions['onRetry'];
}

/**
 * What a run of events costs beside its bytes: the objects that hold it. Counted, or a provider that
 * writes tiny events would fill several times the window.
 */
const runOverheadBytes = 256;

/** The longest body of an error that is read. */
const maxErrorBytes = 65_536;

/** How long a provider that said it is done may take to close, so that its connection can be used again. */
const closeGraceMs = 1000;

/**
 * The one place where the stages meet: the provider's reply (source), the channel, and the client's
 * response (sink). Returns when the client got everything.
 *
 * @throws {GatewayError} when it did not; `stream.hasCompleted` tells whether the provider was done.
 */
export async function pipe(stream: GatewayStream, options: PipeOptions): Promise<void> {
  const { config, dispatcher, format, request, onRetry } = options;
  stream.phase = 'opening';
  const reply = await openReply(dispatcher, request, {
    retries: config.retries,
    signal: stream.signal,
    onRetry,
  });
  const contentType = reply.header('content-type')?.toLowerCase() ?? '';
  if (format === undefined) {
    await pipeBody(stream, reply, undefined, options);
    if (reply.status < 400) return;
    stream.hasCompleted = false;
    throw unexpectedReply(reply, contentType);
  } else if (reply.status >= 400) {
    await refuse(stream, reply, format, options.meter);
  } else if (reply.status >= 300 || contentType.startsWith('text/html')) {
    reply.discard();
    throw unexpectedReply(reply, contentType);
  } else if (!contentType.startsWith('text/event-stream')) {
    await pipeBody(stream, reply, undefined, options);
  } else if ((reply.header('content-encoding') ?? 'identity') !== 'identity') {
    reply.discard();
    throw new GatewayError(
      'upstream_invalid',
      'The provider compressed its events, although it was asked not to.',
    );
  } else {
    const scanner = new EventScanner({
      maxEventBytes: config.maxEventBytes,
      classify: format.classify,
    });
    await pipeBody(stream, reply, scanner, options);
  }
}

async function pipeBody(
  stream: GatewayStream,
  reply: Reply,
  scanner: EventScanner | undefined,
  { config, format: known, meter }: PipeOptions,
): Promise<void> {
  const { response, signal } = stream;
  if (scanner === undefined && response.headersSent) {
    reply.discard();
    throw new GatewayError('upstream_invalid', 'The provider answered a streaming request without a stream.');
  }
  const format = scanner === undefined ? undefined : known;
  const channel = openChannel<EventRun>({
    // The window also holds what one read brought before the channel's refusal took effect.
    maxBytes: Math.max(config.windowBytes - maxReadBytes, config.windowBytes / 2),
    weigh: ({ byteLength }) => byteLength + runOverheadBytes,
    ...(format === undefined ? {} : { merge: coalesceFor(format) }),
  });
  const reader = channel.reader({ overflow: format === undefined ? 'block' : 'coalesce' });
  stream.waitingBytes = () => reader.waitingBytes;
  stream.startStreaming(performance.now());
  const source = new ReplySource(reply, channel, {
    scanner,
    maxStreamBytes: config.maxStreamBytes,
    onRun: ({ bytes, events }) => {
      // Comments are no progress; of a body that is no event stream, every byte is.
      stream.received(events, bytes.byteLength, events > 0 || scanner === undefined, performance.now());
      meter.received(events, bytes.byteLength);
    },
    onPause: (isPaused) => {
      stream.paused(isPaused, performance.now());
      if (isPaused) meter.stalls += 1;
    },
  });
  // The source hears of a stop through its reply. This is for what it cannot do: let the client's
  // side go, also when the provider has finished long ago.
  const onStop = (): void => {
    const reason = signal.reason as GatewayError;
    if (reason.isCancel) channel.cancel(reason);
    if (channel.end !== undefined) reader.detach();
  };
  signal.addEventListener('abort', onStop, { once: true });
  const headers = clientHeaders(reply.headers);
  const start = (): void => {
    if (scanner !== undefined) response.startEventStream(headers);
    else if (!response.headersSent) response.start(reply.status, withLength(headers, reply));
  };
  reply.consume(source);
  await writeEvents(reader, response, {
    start,
    onWritten: ({ byteLength, events }) => {
      stream.sent(performance.now());
      meter.sent(events, byteLength);
    },
    // Behind the end nothing can be merged with what waits.
    delayMs: () => (format === undefined || channel.end !== undefined ? 0 : response.delayMs()),
  });
  signal.removeEventListener('abort', onStop);
  stream.hasCompleted = channel.end?.state === 'completed';
  if (source.isReplyOpen) closeSoon(reply);
  if (reader.end?.state === 'detached') throw signal.reason;
  if (channel.end !== undefined && 'error' in channel.end) throw channel.end.error;
  start();
  response.end();
}

/** Hands on what a provider answered instead of a reply, if it is an error that an SDK understands. */
async function refuse(stream: GatewayStream, reply: Reply, format: Format, meter: Meter): Promise<never> {
  const { response } = stream;
  const contentType = reply.header('content-type')?.toLowerCase() ?? '';
  const refused = unexpectedReply(reply, contentType);
  const body = await collectReply(reply, maxErrorBytes).catch(() => undefined);
  stream.signal.throwIfAborted();
  const error = body && readErrorBody(body);
  if (error !== undefined && !response.isClosed) {
    const text = response.headersSent ? errorEventOf(format, error) : JSON.stringify(error);
    meter.sent(0, text.length);
    if (!response.headersSent) {
      const headers = clientHeaders(reply.headers);
      delete headers['content-encoding'];
      response.start(reply.status, { ...headers, 'content-length': String(Buffer.byteLength(text)) });
    }
    response.write(Buffer.from(text));
    response.end();
  }
  throw refused;
}

function unexpectedReply(reply: Reply, contentType: string): GatewayError {
  const seconds = Number(reply.header('retry-after'));
  return new GatewayError(
    'upstream_invalid',
    `The provider answered with status ${reply.status} and ${contentType === '' ? 'no content type' : contentType}.`,
    {
      status: reply.status >= 400 ? reply.status : 502,
      retryAfterS: Number.isInteger(seconds) && seconds > 0 ? seconds : undefined,
    },
  );
}

function withLength(headers: Record<string, string>, reply: Reply): Record<string, string> {
  const length = reply.header('content-length');
  return length === undefined ? headers : { ...headers, 'content-length': length };
}

/** One for each format: it remembers nothing but how far runs that wait were looked at. */
const coalesces = new Map<Format, ReturnType<typeof createCoalesce>>();

function coalesceFor(format: Format): ReturnType<typeof createCoalesce> {
  const known = coalesces.get(format) ?? createCoalesce(format.delta);
  coalesces.set(format, known);
  return known;
}

/** A provider that goes on after its end is cut off. */
function closeSoon(reply: Reply): void {
  setTimeout(() => reply.discard(), closeGraceMs).unref();
}
