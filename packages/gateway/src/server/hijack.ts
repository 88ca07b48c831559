import type { ServerResponse } from 'node:http';
import type { FastifyReply } from 'fastify';
import { throwAway } from './unread-body.ts';

/**
 * Takes a response from Fastify, to be written directly. Headers that are set already, such as those of CORS, are
 * kept.
 */
export function hijack(reply: FastifyReply): ServerResponse {
  const { raw } = reply.hijack();
  throwAway(reply.request.raw);
  for (const [name, value] of Object.entries(reply.getHeaders())) raw.setHeader(name, value ?? '');
  return raw;
}
