import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import { throwAway } from './unread-body.ts';

/** Takes a response over, to be written without Fastify, with the headers that it has got already: CORS is in them. */
export function hijack(reply: FastifyReply): ServerResponse {
  const { raw } = reply.hijack();
  throwAway(reply.request.raw);
  for (const [name, value] of Object.entries(reply.getHeaders())) raw.setHeader(name, value ?? '');
  return raw;
}
