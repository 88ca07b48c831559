import type { FastifyInstance, FastifyRequest } from 'fastify';
import { setCaller } from '@spillway/server/access/caller';
import type { Guard } from '../access/guard.ts';
import { GatewayError } from '@spillway/server/errors';
import type { Connections } from '../http/connections.ts';
import { rewriteRefusal } from '../http/request-target.ts';
import { routeOf } from '../http/route.ts';
import { answerError } from './answer-error.ts';

/** Refuses what has no canonical target. Before everything else that a server has. */
export function putTargets(server: FastifyInstance): void {
  putRefusal(server, ({ raw }) => rewriteRefusal(raw));
}

/**
 * Puts the guard in front of everything that a server has: behind it, each request has a caller. Whoever it lets in by a key is no
 * stranger any more.
 */
export function putGuard(
  server: FastifyInstance,
  guard: Guard,
  connections: Pick<Connections, 'known'>,
): void {
  putRefusal(server, (request) => {
    const caller = guard.admit(request.headers, routeOf(request).queryKey);
    if (caller instanceof GatewayError) return caller;
    if (guard.needsKey) connections.known(request.raw.socket);
    setCaller(request.raw, caller);
    return undefined;
  });
}

/** Answers requests with the error for which they are refused, before anybody else looks at them. */
export function putRefusal(
  server: FastifyInstance,
  refusalOf: (request: FastifyRequest) => GatewayError | undefined,
): void {
  server.addHook('onRequest', (request, reply, next) => {
    const refusal = refusalOf(request);
    if (refusal === undefined) next();
    else answerError(request, reply, refusal);
  });
}
