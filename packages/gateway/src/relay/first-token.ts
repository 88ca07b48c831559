import type { Format } from '@spillway/core/format/format';
import { payloadsOf } from '@spillway/core/format/payloads';
import { type EventRun, EventScanner } from '@spillway/core/format/sse';
import type { GatewayStream } from '@spillway/server/stream/stream';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Reply } from '../source/reply.ts';
import { ReportedError } from '../source/reported-error.ts';

/** The bytes in which a first token is looked for before an answer is handed on. */
export const maxTokenlessBytes = 65_536;

/** What is larger is not parsed. It is more than what begins an answer has, which may repeat what it was asked. */
const maxParsedBytes = 1_048_576;

/** Whether one of the events has content of the model. */
export function hasToken(run: EventRun, { hasContent }: Format): boolean {
  if (run.events === 0) return false;
  return run.byteLength > maxParsedBytes || payloadsOf([run]).some(hasContent);
}

/**
 * Waits for the first event of an event stream with content of the model. An answer that is over without any, as that of a model
 * that refuses, counts as one that has some, and so does one with 64 KiB of events without it. `consume` of the reply still
 * hands on all that was read.
 *
 * @returns the error that came in its place, or `end` where the stream ended before it.
 */
export async function firstToken(
  stream: GatewayStream,
  reply: Reply,
  format: Format,
  clock: Pick<ServerClock, 'nowMs'>,
): Promise<'end' | 'token' | ReportedError> {
  const scanner = new EventScanner({ maxEventBytes: maxTokenlessBytes, classify: format.classify });
  let isThere = false;
  let seen = 0;
  const look = (bytes: Buffer): true | undefined => {
    let isProgress = false;
    const take = (run: EventRun): void => {
      isProgress ||= run.events > 0;
      isThere ||= hasToken(run, format);
    };
    try {
      scanner.push(bytes.subarray(seen), take);
    } catch {
      // It is larger than what is waited for, and no error.
      isThere = true;
    }
    seen = bytes.length;
    stream.heard(isProgress, clock.nowMs());
    isThere ||= scanner.hasEnded || scanner.hasFinished || seen >= maxTokenlessBytes;
    return isThere || scanner.hasFailed ? true : undefined;
  };
  const isFound = await reply.first<boolean>(look, false);
  if (!isFound) scanner.end(() => undefined);
  if (isThere || scanner.hasEnded) return 'token';
  if (!scanner.hasFailed) return 'end';
  return new ReportedError('The provider reported an error in place of a first token.', scanner.errorData);
}
