import { clientLeft } from '@spillway/server/errors';
import type { ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Provider } from '../config/provider.ts';
import { hijack } from './hijack.ts';
import type { ModelLists } from '../provider/models/model-lists.ts';

interface AnsweredModels {
  readonly providers: readonly Provider[];
  readonly lists: ModelLists;
  /** Models that are listed before those of providers, as {@link ModelLists.ask} has them. */
  readonly own: Buffer;
  /** A client that does not take the answer within so many milliseconds is disconnected. */
  readonly timeoutMs: number;
  /** As for {@link ModelLists.ask}. */
  readonly nameOf: ((id: string) => string | undefined) | undefined;
}

/**
 * Answers with the models of all these providers, in OpenAI's shape.
 *
 * @throws {GatewayError} if no provider lists any.
 */
export async function answerModels(
  { headers }: FastifyRequest,
  reply: FastifyReply,
  { lists, nameOf, own, providers, timeoutMs }: AnsweredModels,
): Promise<FastifyReply> {
  const leaving = new AbortController();
  const stopWatching = watchLeaving(reply.raw, () => leaving.abort(clientLeft('left')));
  try {
    const found = await lists.ask(providers, headers, leaving.signal, nameOf);
    const raw = hijack(reply);
    if (raw.destroyed) {
      // The response is closed already and does not emit `close` again.
      for (const list of found) list.release();
      return reply;
    }
    const timer = setTimeout(() => raw.destroy(), timeoutMs);
    raw.once('close', () => {
      clearTimeout(timer);
      for (const list of found) list.release();
    });
    send(raw, [own, ...found.map(({ bytes }) => bytes)]);
    return reply;
  } catch (error) {
    if (leaving.signal.aborted) return reply.hijack();
    throw error;
  } finally {
    stopWatching();
  }
}

/** Writes the lists without a copy, so that answers that wait for their clients hold none. */
function send(raw: ServerResponse, lists: readonly Buffer[]): void {
  const comma = Buffer.from(',');
  const filled = lists.filter(({ length }) => length > 0);
  const parts = [
    Buffer.from('{"object":"list","data":['),
    ...filled.flatMap((bytes, index) => (index === 0 ? [bytes] : [comma, bytes])),
    Buffer.from(']}'),
  ];
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  raw.writeHead(200, { 'content-type': 'application/json; charset=utf-8', 'content-length': length });
  for (const part of parts) raw.write(part);
  raw.end();
}

/** Calls `onLeave` when the client closes its connection, or its sending half. Returns a function that ends the watch. */
function watchLeaving(response: ServerResponse, onLeave: () => void): () => void {
  const { socket } = response.req;
  const onHalfClosed = (): void => {
    onLeave();
    response.destroy();
  };
  response.on('close', onLeave);
  socket.on('end', onHalfClosed);
  if (response.destroyed || socket.destroyed) onLeave();
  else if (socket.readableEnded) onHalfClosed();
  return () => {
    response.off('close', onLeave);
    socket.off('end', onHalfClosed);
  };
}
