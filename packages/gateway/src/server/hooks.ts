import type { FastifyInstance, FastifyRequest } from 'fastify';
import { setCaller } from '@spillway/server/access/caller';
import type { Guard } from '../access/guard.ts';
import { GatewayError } from '@spillway/server/errors';
import type { Connections } from '../http/connections.ts';
import { rewriteRefusal } from '../http/request-target.ts';
import { routeOf } from '../http/route.ts';

/** Refuses requests without a canonical target. Call it before all else that the server gets. */
export function putTargets(server: FastifyInstance): void {
  putRefusal(server, ({ raw }) => rewriteRefusal(raw));
}

/**
 * Puts the guard in front of the server's routes: after it, each request has a caller. A client with an accepted key
 * is no stranger any more.
 */
export function putGuard(
  server: FastifyInstance,
  guard: Guard,
  connections: Pick<Connections, 'known'>,
): void {
  putRefusal(server, (request) => guardRefusal(request, guard, connections));
}

/** Why the guard refuses a request; `undefined`: it does not, and the request has a caller. */
export function guardRefusal(
  request: FastifyRequest,
  guard: Guard,
  connections: Pick<Connections, 'known'>,
): GatewayError | undefined {
  const caller = guard.admit(request.headers, routeOf(request).queryKey);
  if (caller instanceof GatewayError) return caller;
  if (guard.needsKey) connections.known(request.raw.socket);
  setCaller(request.raw, caller);
  return undefined;
}

/** Throws the error with which `refusalOf` refuses a request, before any later hook or route. */
export function putRefusal(
  server: FastifyInstance,
  refusalOf: (request: FastifyRequest) => GatewayError | undefined,
): void {
  server.addHook('onRequest', (request, _reply, next) => {
    next(refusalOf(request));
  });
}
