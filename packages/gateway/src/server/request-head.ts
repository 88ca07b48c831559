import { randomUUID } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { requestIdHeader, setRequestId } from '@spillway/server/http/request-id';
import type { Guard } from '../access/guard.ts';
import { methods } from '../source/reply.ts';

/**
 * Gives every request its id, and says it in the answer's head. The head is set before any other code sees the
 * request, so whoever writes the answer, also an error or a stream, sends it. Call it after the owner of the
 * connections has taken over the server.
 */
export function putRequestIds(server: Server): void {
  server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    const id = randomUUID();
    setRequestId(request, id);
    response.setHeader(requestIdHeader, id);
  });
  server.prependListener('upgrade', (request: IncomingMessage) => setRequestId(request, randomUUID()));
  // By itself Node would ask the client for every body, even if the headers lead to a refusal; and it would answer an
  // expectation that it does not know, without this head.
  for (const event of ['checkContinue', 'checkExpectation']) {
    server.on(event, (request, response) => server.emit('request', request, response));
  }
}

/**
 * Lets pages of allowed origins read every answer (CORS), errors of any kind included: without these headers a
 * browser hides an error from the page, and calls it a fault of CORS.
 */
export function putCors(server: FastifyInstance, guard: Pick<Guard, 'allows'>): void {
  server.server.prependListener('request', (request: IncomingMessage, response: ServerResponse) => {
    // An answer for one origin must not be given to another one by a cache.
    response.setHeader('vary', 'Origin');
    for (const [name, value] of corsHeaders(request.headers.origin, guard)) response.setHeader(name, value);
  });
  // Before the guard: a browser's preflight request has no key.
  server.addHook('onRequest', ({ headers, method }, reply, next) => {
    const { origin, 'access-control-request-method': asked } = headers;
    if (method !== 'OPTIONS' || asked === undefined || origin === undefined || !guard.allows(origin)) {
      next();
      return;
    }
    const allowed = headers['access-control-request-headers'];
    void reply
      .code(204)
      .headers({
        'access-control-allow-methods': [...methods, 'HEAD'].join(', '),
        'access-control-max-age': '600',
        ...(allowed === undefined ? {} : { 'access-control-allow-headers': allowed }),
      })
      .send();
  });
}

/** The headers that let a page of that origin read an answer; none for an origin that may not. */
export function corsHeaders(
  origin: string | undefined,
  guard: Pick<Guard, 'allows'>,
): readonly (readonly [string, string])[] {
  if (origin === undefined || !guard.allows(origin)) return [];
  return [
    ['access-control-allow-origin', origin],
    // A page that may ask may read all headers of the answer: request ids, limits, `Retry-After`.
    ['access-control-expose-headers', '*'],
  ];
}
