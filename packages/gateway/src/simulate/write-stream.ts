import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Behaviour } from './behaviour.ts';
import type { ByteWriter } from './byte-writer.ts';
import type { Place } from './capacity.ts';
import type { ReplyFormat, SimulatedReply } from './reply-format.ts';
import type { RequestStats } from './stats.ts';
import { replyText, tokenText } from './tokens.ts';

/** The tokens of a reply, and what is around them. */
interface Events {
  readonly tokens: number;
  first(): string;
  token(index: number): string;
  end(): readonly string[];
  error(): string;
}

/** What a reply has instead of tokens by their number. */
interface ReplyContent {
  readonly recording: readonly string[] | undefined;
  readonly words: readonly string[] | undefined;
}

/** A reply with the faults that were asked for. */
export function eventsOf(
  format: ReplyFormat,
  reply: SimulatedReply,
  { line, size, tokens: asked }: Behaviour,
  { recording, words }: ReplyContent,
): Events {
  const events = format.events(reply);
  const failed = { status: 500, message: 'The simulated model failed.', code: 'simulated_failure' };
  const error = (): string => events.error({ ...failed, type: 'server_error' });
  if (recording !== undefined) {
    return {
      tokens: recording.length,
      first: () => '',
      token: (index) => format.frame(recording[index] ?? ''),
      end: () => format.recordedEnd,
      error,
    };
  }
  const token = (index: number): string => {
    if (index > 0 || line === undefined) return events.token(words?.[index] ?? tokenText(index, size));
    const empty = format.events(reply).token('').length;
    return events.token('x'.repeat(Math.max(0, line - empty)));
  };
  const tokens = words?.length ?? asked;
  const end = (): readonly string[] => events.end(() => words?.join('') ?? replyText(tokens, size), tokens);
  return { tokens, first: () => events.first(), token, end, error };
}

/** Writes a reply at the speed and with the faults that were asked for. */
export async function writeStream(
  events: Events,
  behaviour: Behaviour,
  writer: ByteWriter,
  place: Place,
  stats: RequestStats,
  response: ServerResponse,
): Promise<void> {
  const { batch, comments, early, error, stall, tps, trailing, ttft, unfinished, unmarked, unterminated } =
    behaviour;
  const tokens = Math.min(events.tokens, comments ?? Infinity, error ?? Infinity, stall ?? Infinity);
  let pending = events.first();
  if (early && pending !== '') {
    if (!(await writer.write(pending))) return;
    pending = '';
  }
  await pause(ttft * place.share, response);
  let dueMs = performance.now();
  for (let index = 0; index < tokens; index += batch) {
    if (tps > 0 && index > 0) {
      dueMs += (batch * 1000 * place.share) / tps;
      await pause(dueMs - performance.now(), response);
    }
    for (let next = index; next < Math.min(index + batch, tokens); next += 1) pending += events.token(next);
    if (!(await writer.write(pending))) return;
    stats.tokens = Math.min(index + batch, tokens);
    pending = '';
  }
  if (stall !== undefined && stall <= tokens) {
    if (pending !== '') await writer.write(pending);
    stats.state = 'stalled';
    return;
  }
  if (comments !== undefined) {
    while (await writer.write(': keep-alive\n\n')) await pause(10, response);
    return;
  }
  if (error === undefined) {
    const end = events.end();
    pending += (unfinished ? [] : unmarked ? end.slice(0, -1) : end).join('');
    if (unterminated) pending = pending.slice(0, -1);
  } else {
    pending += events.error();
  }
  if (await writer.write(pending)) response.end('x'.repeat(trailing ?? 0));
}

/** Waits, but not for somebody who has left. */
export async function pause(delayMs: number, response: ServerResponse): Promise<void> {
  if (delayMs <= 0 || response.destroyed) return;
  const left = new AbortController();
  const leave = (): void => left.abort();
  response.once('close', leave);
  await sleep(delayMs, undefined, { signal: left.signal }).catch(() => undefined);
  response.off('close', leave);
}
