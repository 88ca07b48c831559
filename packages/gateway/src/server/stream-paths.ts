import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { callerOf } from '@spillway/server/access/caller';
import { hijack } from './hijack.ts';
import { routeOf } from '../http/route.ts';
import {
  answerDelete,
  answerGet,
  answerHead,
  type ReadOptions,
  type ReadRequest,
} from '@spillway/server/read/read-answers';
import type { Streams } from '@spillway/server/stream/streams';

/** Adds the paths at which streams are read, by the caller that opened them. */
export function addStreamPaths(server: FastifyInstance, streams: Streams, options: ReadOptions): void {
  const url = '/streams/:token';
  const readRequest = (request: FastifyRequest, reply: FastifyReply): ReadRequest => ({
    raw: request.raw,
    query: request.query,
    find: () => {
      const { token } = request.params as { readonly token: string };
      const stream = streams.find(token);
      const { headers, raw } = request;
      const { queryKey } = routeOf(request);
      const mayRead = stream?.mayRead({ caller: callerOf(raw), headers, queryKey }) === true;
      return mayRead ? stream : undefined;
    },
    response: reply.raw,
    take: () => hijack(reply),
  });
  server.get(url, { exposeHeadRoute: false }, async (request, reply) => {
    await answerGet(readRequest(request, reply), options);
  });
  server.head(url, async (request, reply) => {
    await answerHead(readRequest(request, reply));
  });
  server.delete(url, async (request, reply) => {
    answerDelete(readRequest(request, reply));
    return reply;
  });
}
