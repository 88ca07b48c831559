import type { Format } from '@spillway/core/format/format';
import { EventScanner } from '@spillway/core/format/sse';
import { dataOf, eventsIn } from '@spillway/core/format/sse-events';
import type { z } from 'zod';
import type { ModelUsage } from '../../model/model-leg.ts';
import { StageError } from '../stage-error.ts';
import { who } from './text-model.ts';

/** How an answer is read. */
export interface ReadAnswerOptions<T> {
  /** Finds its end, its errors and its usage. */
  readonly format: Format;
  /** What is read of an event. An API may say more. */
  readonly shape: z.ZodType<T>;
  /** The largest event, in bytes. Default: 1 MiB. */
  readonly maxEventBytes: number | undefined;
  readonly signal: AbortSignal;
}

/** What an event of an answer says. */
export interface AnswerPayload<T> {
  readonly payload: T;
  /** What the answer has used so far, in all; `undefined`: the event does not say. */
  readonly usage: ModelUsage | undefined;
}

/**
 * The events of an answer, as they come and as they are taken. Ends when the answer is whole.
 *
 * @throws {StageError} `lost`: it has an error in it, or no end; `bad_message`. And the signal's reason when it was aborted.
 */
export async function* readAnswer<T>(
  response: Response,
  { format, maxEventBytes = 1_048_576, shape, signal }: ReadAnswerOptions<T>,
): AsyncGenerator<AnswerPayload<T>> {
  const scanner = new EventScanner({ maxEventBytes, classify: format.classify });
  let used: ModelUsage = { inputTokens: 0, outputTokens: 0 };
  for await (const bytes of bodyOf(response, signal)) {
    for (const data of payloadsIn(bytes, scanner)) {
      signal.throwIfAborted();
      const told = format.usage(data);
      if (told !== undefined)
        used = {
          inputTokens: told.inputTokens ?? used.inputTokens,
          outputTokens: told.outputTokens ?? used.outputTokens,
        };
      yield { payload: understood(() => shape.parse(data)), usage: told && used };
    }
    if (scanner.hasFailed) throw new StageError('lost', `${who} failed in the middle of its answer.`);
    if (scanner.hasEnded) return;
  }
  if (!scanner.hasFinished) throw new StageError('lost', `${who} did not end its answer.`);
}

/** A body, bit by bit; a connection that ends in the middle is `lost`. */
async function* bodyOf({ body }: Response, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    for await (const bytes of body ?? []) yield bytes;
  } catch (error) {
    signal.throwIfAborted();
    throw new StageError('lost', `${who} was cut in the middle of its answer.`, { cause: error });
  }
}

function payloadsIn(bytes: Uint8Array, scanner: EventScanner): readonly unknown[] {
  const found: unknown[] = [];
  understood(() =>
    scanner.push(bytes, (run) => {
      for (const span of eventsIn(run.bytes)) {
        const data = Buffer.from(dataOf(run.bytes, span)).toString();
        if (data === '' || data === '[DONE]' || scanner.hasFailed) continue;
        found.push(JSON.parse(data));
      }
    }),
  );
  return found;
}

function understood<R>(read: () => R): R {
  try {
    return read();
  } catch (error) {
    throw new StageError('bad_message', `${who} sent what is not understood.`, { cause: error });
  }
}
