import type { Format } from '@spillway/core/format/format';
import { GatewayError } from '@spillway/server/errors';
import type { GatewayStream } from '@spillway/server/stream/stream';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { isBusyStatus } from '../provider/gate/failures.ts';
import { plainStart, undoCodings } from '../source/codings.ts';
import { beginsEvents } from '../source/first-bytes.ts';
import type { Reply } from '../source/reply.ts';
import { errorIn } from '../source/reported-error.ts';
import { isRedirect, redirectError } from '../provider/redirect.ts';
import { firstToken, maxTokenlessBytes } from './first-token.ts';

/** What was asked for, as far as an answer's head is judged by it. */
interface AskedFor {
  readonly clock: Pick<ServerClock, 'nowMs'>;
  /** The format of the events; `undefined`: the reply is handed on as bytes. */
  readonly format: Format | undefined;
  /** Whether the client asked for events. */
  readonly wantsEvents: boolean;
}

/** One of several tries to get an answer, at one of several places. */
export interface Turn {
  /** Aborted when the stream has to stop, or this try. */
  readonly signal: AbortSignal;
  /** Whether there is another target: what is no answer is then handed to nobody, and the body is kept for the next. */
  readonly hasNext: boolean;
  /** Whether there is one at another provider: only that one is asked where an SDK would not ask again. */
  readonly hasOther: boolean;
  /** What came is no answer, and an SDK would not ask again. */
  readonly isWrong: () => void;
  /** Whether the client's own retry would ask a provider more often than without a gateway. */
  readonly isFinal: boolean;
  /** Whether the head of an answer is kept back until its first token is there. */
  readonly awaitsToken: boolean;
  /** An answer has come, whatever it is. */
  readonly answered: (reply: Reply) => void;
  /** The answer is one that readers get from now on. */
  readonly began: () => void;
  /** Its first token has come; `undefined`: nobody wants to know, and it is not looked for. */
  readonly onToken: (() => void) | undefined;
}

/**
 * Waits until a reply is one that readers may get. Whether it is an event stream; `undefined`: nobody has looked.
 *
 * @throws {GatewayError} if another target may do better.
 */
export async function awaitAnswer(
  stream: GatewayStream,
  reply: Reply,
  contentType: string,
  asked: AskedFor,
  { awaitsToken, hasNext, hasOther, isFinal, isWrong, signal }: Turn,
): Promise<boolean | undefined> {
  const isPage = contentType.startsWith('text/html') && asked.format !== undefined;
  const isBusy = isBusyStatus(reply.status);
  const isForbidden = isBusy && reply.header('x-should-retry')?.toLowerCase() === 'false';
  if (isForbidden) isWrong();
  if (isBusy ? (isForbidden ? hasOther : hasNext) : isPage && hasOther) {
    if (!isBusy) isWrong();
    reply.discard();
    throw unexpectedReply(reply, contentType);
  }
  if (hasOther && isRedirect(reply)) {
    // At the same provider, it would be redirected in the same way.
    isWrong();
    reply.discard();
    throw redirectError(reply, stream.errors);
  }
  if (isFinal && reply.status >= 400) reply.forbidRetry();
  if (!awaitsToken || asked.format === undefined || reply.status >= 300) return undefined;
  const isEvents = await isEventStream(stream, reply, contentType, asked);
  const first = isEvents
    ? await firstToken(stream, reply, asked.format, asked.clock)
    : hasOther && (await failedAtOnce(reply, contentType));
  signal.throwIfAborted();
  const error =
    first === 'end'
      ? new GatewayError('upstream_cut', 'The provider ended its answer before a first token.')
      : first;
  if (hasOther && error instanceof GatewayError) {
    isWrong();
    reply.discard();
    throw error;
  }
  return isEvents;
}

/** How long an answer in one piece is waited for: an error is there at once, and others may begin with white space for long. */
const maxBodyMs = 1000;

/**
 * The error that a body is: one of JSON that is an error, any that is empty, or `end` if it breaks off. If JSON is small, and that is so
 * at once.
 */
async function failedAtOnce(reply: Reply, contentType: string): Promise<GatewayError | 'end' | undefined> {
  const isJson = contentType.includes('json');
  if (isJson && Number(reply.header('content-length')) > maxTokenlessBytes) return undefined;
  // Of what is no JSON, it is enough to know that there is something.
  const start = await reply.peek(isJson ? maxTokenlessBytes : 1, maxBodyMs);
  if (reply.isCut) return 'end';
  if (!reply.isWhole || (!isJson && start.length > 0)) return undefined;
  const coding = start.length === 0 ? undefined : reply.header('content-encoding');
  return errorIn(start, await plainStart(start, coding, maxTokenlessBytes));
}

/**
 * Whether a reply is an event stream: by its content type, or by its first bytes if the client asked for events.
 * Undoes the reply's codings.
 */
export async function isEventStream(
  stream: GatewayStream,
  reply: Reply,
  contentType: string,
  { clock, wantsEvents }: Pick<AskedFor, 'clock' | 'wantsEvents'>,
): Promise<boolean> {
  const isLabelled = contentType.startsWith('text/event-stream');
  if (!isLabelled && !wantsEvents) return false;
  stream.answered(clock.nowMs());
  await undoCodings(reply);
  return isLabelled || (await reply.first(beginsEvents, false));
}

/** The error of a reply that is no answer. */
export function unexpectedReply(reply: Reply, contentType: string): GatewayError {
  const expected = reply.status < 300 ? '; expected were events (text/event-stream) or JSON' : '';
  return new GatewayError(
    'upstream_invalid',
    `The provider answered with status ${reply.status} and ${contentType === '' ? 'no content type' : contentType}${expected}.`,
    { status: reply.status >= 300 ? reply.status : 502 },
  );
}
