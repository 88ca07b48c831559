import type { Format } from '@spillway/core/format/format';
import { type EventRun, EventScanner } from '@spillway/core/format/sse';
import { frameOverheadBytes } from '@spillway/core/session';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { BusyLoop } from '@spillway/server/time/busy-loop';
import type { Config } from '../config/schema.ts';
import { GatewayError } from '@spillway/server/errors';
import { clientHeaders, gaveWayHeader } from '../http/headers.ts';
import { isLimitHeader } from '@spillway/server/limit/limit-headers';
import { upstreamRequestId } from '../http/request-ids.ts';
import type { EventMemory } from '@spillway/server/memory/event-memory';
import { refusalEvent, RefusedError } from '../http/error-shapes.ts';
import { readRefusal } from '../http/read-refusal.ts';
import { plainStart, undoKnownCodings } from '../source/codings.ts';
import { wholeCharacters } from '../http/whole-characters.ts';
import { maxReadBytes } from '../source/connect.ts';
import { awaitAnswer, isEventStream, type Turn, unexpectedReply } from './answer-head.ts';
import { BodyUsage } from './body-usage.ts';
import { hasToken } from './first-token.ts';
import { openReply, type RetryOptions } from '../provider/open-reply.ts';
import type { RetryBudget } from '../provider/retry-budget.ts';
import type { ReplyPool } from '../source/exchange.ts';
import { isRedirect, redirectError } from '../provider/redirect.ts';
import type { ProviderRequest, Reply } from '../source/reply.ts';
import { maxRefusalBytes, maxRefusalMs } from '../provider/retry-hints.ts';
import { largeEventTokens } from '../limit/token-estimate.ts';
import { emptyBody } from '../source/reported-error.ts';
import { ReplySource } from '../source/reply-source.ts';
import { RunMemory } from '@spillway/server/memory/run-memory';
import { openRunChannel } from '@spillway/server/stream/run-channel';
import type { GatewayStream } from '@spillway/server/stream/stream';

/** The options that join a provider's request with a stream's readers. */
export interface FillOptions {
  readonly clock: ServerClock;
  readonly config: Pick<
    Config,
    'maxEventBytes' | 'maxStreamBytes' | 'responseTimeoutMs' | 'retries' | 'windowBytes'
  >;
  /** The connections to the provider. They are for this credential alone. */
  readonly pool: ReplyPool;
  readonly request: ProviderRequest;
  /** The format of the events; `undefined`: the reply is handed on as bytes. */
  readonly format: Format | undefined;
  /** Whether the client asked for events. */
  readonly wantsEvents: boolean;
  readonly loop: BusyLoop;
  readonly eventMemory: EventMemory;
  readonly onRetry: RetryOptions['onRetry'];
  /** The tries after the first that the provider gets. */
  readonly retries: RetryBudget;
  /** What it is asked for in turn; `undefined`: the request has one target, and nothing stands before it. */
  readonly turn?: Turn | undefined;
}

/**
 * Tries after the first to connect to a provider; `retries`, if that is more. Without a connection nothing was sent,
 * so nothing is sent twice.
 */
const connectRetries = 2;

/** How long a provider may take to end its reply after its end marker. Its connection can then be used again. */
const closeGraceMs = 1000;

/**
 * Writes the provider's reply into the stream's channel, from which readers take. Returns when the reply was whole;
 * readers may still have chunks to take.
 *
 * @throws {GatewayError} if the reply was not whole.
 */
export async function fill(stream: GatewayStream, options: FillOptions): Promise<void> {
  const { config, format, pool, request, onRetry, turn } = options;
  stream.asked();
  const reply = await openReply(pool, request, {
    clock: options.clock,
    retries: config.retries,
    connectRetries: Math.max(connectRetries, config.retries),
    budget: options.retries,
    signal: turn?.signal ?? stream.signal,
    onAnswer: (answer) => {
      stream.isAnswered = true;
      turn?.answered(answer);
    },
    onRetry,
  });
  stream.upstreamRequestId = upstreamRequestId(reply.headers);
  const contentType = reply.header('content-type')?.toLowerCase() ?? '';
  const isEvents = turn && (await awaitAnswer(stream, reply, contentType, options, turn));
  turn?.began();
  // A provider may answer before it has read the whole request, so the body is held until it is sent.
  reply.whenSent(() => request.body?.release());
  if (isRedirect(reply)) {
    reply.discard();
    throw redirectError(reply, stream.errors);
  }
  if (format === undefined) {
    await undoForReaders(stream, reply, options.clock);
    await fillChannel(stream, reply, undefined, options);
    if (reply.status >= 400) throw unexpectedReply(reply, contentType);
  } else if (reply.status >= 300) {
    await refuse(stream, reply, options);
  } else if (isEvents ?? (await isEventStream(stream, reply, contentType, options))) {
    const scanner = new EventScanner({
      maxEventBytes: config.maxEventBytes,
      classify: format.classify,
    });
    // Returned, not awaited: a stream then has one suspended function less for its whole life.
    return fillChannel(stream, reply, scanner, options);
  } else if (contentType.startsWith('text/html')) {
    reply.discard();
    throw unexpectedReply(reply, contentType);
  } else {
    await undoForReaders(stream, reply, options.clock);
    return fillChannel(stream, reply, undefined, options);
  }
}

/** Whether a reader takes bodies as they are: its client would not undo their codings. */
function needsPlainBodies({ audience: { readers } }: GatewayStream): boolean {
  return [...readers].some(({ response }) => !response.undoesCodings);
}

/** Undoes the codings of a body that is handed on, if a reader's client would not. */
async function undoForReaders(stream: GatewayStream, reply: Reply, clock: ServerClock): Promise<void> {
  if (!needsPlainBodies(stream)) return;
  stream.answered(clock.nowMs());
  await undoKnownCodings(reply);
}

/**
 * The bytes that one channel may hold. The rest of the window is for a read that came before the channel's refusal
 * took effect.
 */
export function channelBytes({ windowBytes }: Pick<Config, 'windowBytes'>): number {
  return Math.max(windowBytes - maxReadBytes, windowBytes / 2);
}

/**
 * Ends a stream without an answer. If the client knows the stream's URL already, the stream becomes an event stream
 * that ends with the error. A provider's refusal is then its one event, and counts for the stream's memory.
 */
export function endUnanswered(
  stream: GatewayStream,
  error: GatewayError,
  config: FillOptions['config'],
  clock: ServerClock,
): void {
  if (stream.body !== undefined) return;
  if (!stream.hasEventsBegun) {
    if (error instanceof RefusedError) tellTaps(stream, error, clock);
    return;
  }
  const { errors } = stream;
  const maxBytes = channelBytes(config);
  const channel = openRunChannel(maxBytes, new RunMemory(), errors, clock);
  stream.open({
    log: channel,
    format: errors,
    isEvents: true,
    status: 200,
    reason: '',
    headers: {},
    maxWaitingBytes: maxBytes,
  });
  if (error instanceof RefusedError) {
    // The event is the stream's first chunk. It is kept for readers that come back.
    const bytes = refusalEvent(error, errors, maxBytes - frameOverheadBytes);
    channel.offer({ bytes, byteLength: bytes.length, events: 1 });
    channel.fail(new GatewayError('upstream_reported', 'The provider reported an error in the stream.'));
  } else if (error.isCancel) {
    channel.cancel(error);
  } else {
    channel.fail(error);
  }
}

/** Taps get a provider's refusal as a body that is whole, as its readers get it. */
function tellTaps(stream: GatewayStream, error: RefusedError, clock: ServerClock): void {
  if (stream.audience.taps.size === 0) return;
  const { body, headers, reason } = error.answer(stream.errors, stream.requestId);
  const maxBytes = body.length + frameOverheadBytes;
  const channel = openRunChannel(maxBytes, new RunMemory(), undefined, clock);
  stream.refused({
    log: channel,
    format: undefined,
    isEvents: false,
    status: error.status,
    reason,
    headers,
    maxWaitingBytes: maxBytes,
  });
  if (body.length > 0) channel.offer({ bytes: body, byteLength: body.length, events: 0 });
  stream.bytes += body.length;
  channel.complete();
}

async function fillChannel(
  stream: GatewayStream,
  reply: Reply,
  scanner: EventScanner | undefined,
  { clock, config, eventMemory, format: known, loop, turn }: FillOptions,
): Promise<void> {
  const { signal } = stream;
  // The stream may have ended while its first bytes were awaited.
  signal.throwIfAborted();
  if (scanner === undefined && stream.hasEventsBegun) {
    reply.discard();
    const type = reply.header('content-type') ?? 'no content type';
    const message = `The provider's answer to a request that streams: expected events (text/event-stream), got ${type}.`;
    throw new GatewayError('upstream_invalid', message);
  }
  const format = scanner === undefined ? undefined : known;
  const maxBytes = channelBytes(config);
  const memory = new RunMemory();
  const channel = openRunChannel(maxBytes, memory, format, clock);
  const done = Promise.withResolvers<void>();
  const usage = scanner === undefined ? usageOf(reply, known) : undefined;
  const isToken = (run: EventRun): boolean => {
    // What JSON in one piece says is known at its end.
    const isThere = format === undefined ? usage === undefined : hasToken(run, format);
    if (isThere) turn?.onToken?.();
    return isThere;
  };
  const source = new ReplySource(reply, channel, memory, {
    onBody: usage === undefined ? undefined : (bytes) => usage.take(bytes),
    onLargeEvent: (event) => {
      const { large } = stream;
      large.events += 1;
      large.bytes += event.length;
      large.tokens += largeEventTokens(format?.name ?? 'openai-chat', event);
    },
    isAwaited: turn?.onToken && isToken,
    listener: stream,
    loop,
    scanner,
    pace: scanner === undefined ? undefined : stream.limits?.pace,
    // With one key for all clients, the owner is empty, and the client's address is used.
    openPlace: () => eventMemory.open(stream.owner === '' ? stream.client.address : stream.owner),
    maxEventBytes: config.maxEventBytes,
    maxStreamBytes: config.maxStreamBytes,
    onEnd: done.resolve,
  });
  const headers = clientHeaders(reply.headers);
  if (scanner !== undefined) delete headers['content-encoding'];
  tellWay(headers, stream.gaveWay);
  const { limit } = stream.limits ?? {};
  if (limit !== undefined) tellLimits(headers, limit.headers(stream.errors));
  stream.start(
    {
      log: channel,
      format,
      isEvents: scanner !== undefined,
      status: reply.status,
      reason: reply.reason,
      headers: scanner === undefined && !reply.isDecoded ? withLength(headers, reply) : headers,
      maxWaitingBytes: maxBytes,
    },
    clock.nowMs(),
  );
  // The last reader may have left while the body was opened.
  signal.throwIfAborted();
  reply.consume(source);
  await done.promise;
  if (source.isReplyOpen) closeSoon(reply, clock);
  if (channel.end !== undefined && 'error' in channel.end) throw channel.end.error;
  if (channel.end?.state !== 'completed') return;
  // Whatever its type is: what answers a model's request has something in it.
  if (scanner === undefined && known !== undefined && reply.status < 300 && stream.bytes === 0)
    throw emptyBody();
  if (usage === undefined) return;
  const report = await usage.read();
  stream.reported = report.usage;
  if (report.error !== undefined) throw report.error;
  turn?.onToken?.();
}

/** What gave way here stands beside what gave way at a gateway behind this one. */
function tellWay(headers: Record<string, string>, gaveWay: readonly string[]): void {
  if (gaveWay.length === 0) return;
  headers[gaveWayHeader] = [headers[gaveWayHeader] ?? [], gaveWay].flat().join(', ');
}

/** The client is told of its own limits. Those of the provider's account are not for it. */
function tellLimits(headers: Record<string, string>, own: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(headers)) if (isLimitHeader(name)) delete headers[name];
  Object.assign(headers, own);
}

/** Finds the usage in an answer of a known format; `undefined`: it has none. */
function usageOf(reply: Reply, format: Format | undefined): BodyUsage | undefined {
  const isJson = reply.header('content-type')?.toLowerCase().includes('json') === true;
  if (format === undefined || !isJson || reply.status >= 300) return undefined;
  return new BodyUsage(format, reply.header('content-encoding'));
}

/** Answers with a provider's error as it is. An error that is too large to hold is handed on as it comes. */
async function refuse(stream: GatewayStream, reply: Reply, options: FillOptions): Promise<never> {
  const refused = unexpectedReply(reply, reply.header('content-type')?.toLowerCase() ?? '');
  const { reason } = reply;
  const { clock } = options;
  const untilMs = clock.nowMs() + Math.min(maxRefusalMs, options.config.responseTimeoutMs);
  const peek = (): Promise<Buffer> => reply.peek(maxRefusalBytes, Math.max(0, untilMs - clock.nowMs()));
  const coding = reply.header('content-encoding');
  const start = await peek();
  let body = start;
  const isPlain = needsPlainBodies(stream) || stream.hasEventsBegun;
  if (isPlain && (reply.isWhole || start.length >= maxRefusalBytes)) {
    await undoKnownCodings(reply);
    body = await peek();
  }
  stream.signal.throwIfAborted();
  if (!reply.isWhole && body.length >= maxRefusalBytes && !stream.hasEventsBegun) {
    await fillChannel(stream, reply, undefined, options);
    throw refused;
  }
  const headers = clientHeaders(reply.headers);
  // A part of a body would not match its headers, so only a whole body is sent.
  const whole = reply.isWhole ? body : undefined;
  reply.discard();
  const isAnswer = whole !== undefined && !stream.hasEventsBegun;
  const told = reply.isDecoded ? body.subarray(0, maxRefusalBytes) : undefined;
  const words = await wordsOf(told, start, coding);
  stream.refusal = readRefusal(reply.status, words);
  throw new RefusedError(refused, { reason, headers, body: whole, words: isAnswer ? '' : words });
}

/** The text of a refusal: the decoded body, or if that is empty, what can be decoded of its start. */
async function wordsOf(
  decoded: Buffer | undefined,
  start: Buffer,
  coding: string | undefined,
): Promise<string> {
  const isTold = decoded !== undefined && decoded.length > 0;
  return wholeCharacters(isTold ? decoded : await plainStart(start, coding, maxRefusalBytes));
}

function withLength(headers: Record<string, string>, reply: Reply): Record<string, string> {
  const length = reply.header('content-length');
  return length === undefined ? headers : { ...headers, 'content-length': length };
}

/** Cuts off a provider that goes on after its end marker. */
function closeSoon(reply: Reply, clock: ServerClock): void {
  clock.after(closeGraceMs, () => reply.discard()).unref();
}
