import type { FastifyInstance, FastifyRequest } from 'fastify';
import { answerError, routeOf } from './answer-error.ts';
import type { ApiKeys } from './api-keys.ts';
import { isLoopback } from './config/load.ts';
import { keysOf } from './credential.ts';
import { GatewayError } from './errors.ts';

/**
 * Lets only those in who may: with API keys, who has one; without, who is on this machine. A web page
 * could reach a loopback address under a name of its own (DNS rebinding) or send it a form, so the name and
 * the page's origin are checked too.
 */
export function guard(server: FastifyInstance, keys: ApiKeys): void {
  server.addHook('onRequest', (request, reply, next) => {
    const refusal = keys.areRequired ? checkKey(keys, request) : checkHost(request);
    if (refusal === undefined) next();
    else answerError(request, reply, refusal);
  });
}

function checkKey(keys: ApiKeys, request: FastifyRequest): GatewayError | undefined {
  if (keys.accept(keysOf(request.headers, routeOf(request).queryKey))) return undefined;
  return new GatewayError(
    'invalid_api_key',
    'Expected one of this gateway\'s API keys as "Authorization: Bearer …", "x-api-key" or "x-goog-api-key".',
  );
}

function checkHost(request: FastifyRequest): GatewayError | undefined {
  const { origin } = request.headers;
  if (isThisMachine(request.hostname) && (origin === undefined || isThisMachine(hostnameOf(origin)))) {
    return undefined;
  }
  return new GatewayError(
    'host_not_allowed',
    'Without API keys, only requests to localhost, 127.0.0.1 or [::1] are answered, and only from pages there.',
  );
}

function isThisMachine(hostname: string): boolean {
  return isLoopback(hostname.replace(/^\[(.*)\]$/, '$1'));
}

function hostnameOf(origin: string): string {
  return URL.canParse(origin) ? new URL(origin).hostname : origin;
}
