import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Guard } from '../access/guard.ts';
import type { GatewayError } from '../errors.ts';
import type { Connections } from '../http/connections.ts';
import { rewriteRefusal } from '../http/request-target.ts';
import { routeOf } from '../http/route.ts';
import { answerError } from './answer-error.ts';

/** Refuses what has no canonical target. Before everything else that a server has. */
export function putTargets(server: FastifyInstance): void {
  putRefusal(server, ({ raw }) => rewriteRefusal(raw));
}

/** Puts the guard in front of everything that a server has. Whoever it lets in by a key is no stranger any more. */
export function putGuard(
  server: FastifyInstance,
  guard: Guard,
  connections: Pick<Connections, 'known'>,
): void {
  putRefusal(server, (request) => {
    const refusal = guard.refusal(request.headers, routeOf(request).queryKey);
    if (refusal === undefined && guard.needsKey) connections.known(request.raw.socket);
    return refusal;
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
