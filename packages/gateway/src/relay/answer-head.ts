import type { Format } from '@spillway/core/format/format';
import { EventScanner } from '@spillway/core/format/sse';
import { GatewayError } from '@spillway/server/errors';
import type { GatewayStream } from '@spillway/server/stream/stream';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { isBusyStatus } from '../provider/gate/failures.ts';
import { undoCodings } from '../source/codings.ts';
import { beginsEvents } from '../source/first-bytes.ts';
import type { Reply } from '../source/reply.ts';

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
}

/** The bytes in which a first token is looked for. */
const maxTokenlessBytes = 65_536;

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
  if (isBusy ? hasNext : isPage && hasOther) {
    if (!isBusy) isWrong();
    reply.discard();
    throw unexpectedReply(reply, contentType);
  }
  if (isFinal && reply.status >= 400) reply.forbidRetry();
  if (!awaitsToken || asked.format === undefined || reply.status >= 300) return undefined;
  const isEvents = await isEventStream(stream, reply, contentType, asked);
  if (!isEvents) return false;
  const first = await firstToken(reply, asked.format);
  signal.throwIfAborted();
  if (hasOther && first !== 'token') {
    isWrong();
    reply.discard();
    throw first === 'error'
      ? new GatewayError('upstream_reported', 'The provider reported an error in place of a first token.')
      : new GatewayError('upstream_cut', 'The provider ended its answer before a first token.');
  }
  return true;
}

/** Waits for the first event with data of an event stream. What came of it: that event, an error in its place, or the end. */
async function firstToken(reply: Reply, { classify }: Format): Promise<'end' | 'error' | 'token'> {
  const scanner = new EventScanner({ maxEventBytes: maxTokenlessBytes, classify });
  let events = 0;
  let seen = 0;
  const look = (bytes: Buffer): true | undefined => {
    try {
      scanner.push(bytes.subarray(seen), (run) => (events += run.events));
    } catch {
      // It is larger than what is waited for, and no error.
      return true;
    }
    seen = bytes.length;
    return events > 0 || seen >= maxTokenlessBytes ? true : undefined;
  };
  const isThere = await reply.first(look, false);
  if (scanner.hasFailed) return 'error';
  return isThere ? 'token' : 'end';
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
