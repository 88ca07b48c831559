import Fastify, { type FastifyInstance } from 'fastify';
import { addDemonstrations } from './demonstration-paths.ts';
import { addPage } from './page.ts';
import { addActions, addLookups, type OperatorOptions } from './operator-paths.ts';
import { addPlainPipe } from './plain-pipe.ts';
import type { Console } from '@spillway/server/console/console';
import type { About } from '@spillway/server/console/snapshot';
import type { Refusal } from '@spillway/server/access/refusal';
import { requestIdOf } from '@spillway/server/http/request-id';
import { putErrors, refuseConnection } from './answer-error.ts';
import { putRequestIds } from './request-head.ts';
import { GatewayError } from '@spillway/server/errors';
import { routeOf } from '../http/route.ts';
import { noSchemas } from './no-schemas.ts';
import { leaveBodies } from './unread-body.ts';
import type { Connections } from '../http/connections.ts';
import type { Voice } from '../voice/voice.ts';
import { rewriteTarget } from '../http/request-target.ts';
import { putGuard, putRefusal, putTargets } from './hooks.ts';
import type { Defects } from '@spillway/server/defects';
import type { Metrics } from '../telemetry/metrics.ts';

export interface AdminOptions extends Omit<OperatorOptions, 'calls' | 'console'> {
  readonly connections: Connections;
  readonly console: Console;
  readonly defects: Defects;
  readonly metrics: Metrics;
  readonly about: () => About;
  /** Called for each request that gets an error. */
  readonly onRefused: (refusal: Refusal) => void;
  /** The URL of the simulated models, if these are served; there is a playground only then. */
  readonly simulatorUrl: string | undefined;
  /** Calls by telephone; `undefined`: none are served. */
  readonly voice: Pick<Voice, 'calls' | 'demonstrations'> | undefined;
}

/** How long a whole request may take to arrive. */
const requestTimeoutMs = 60_000;

/** The listener for the operators of the gateway: the console and the metrics. */
export function createAdminServer(options: AdminOptions): FastifyInstance {
  const { about, connections, guard, metrics, simulatorUrl, voice } = options;
  const admin = Fastify({
    ...noSchemas,
    rewriteUrl: rewriteTarget,
    forceCloseConnections: true,
    requestTimeout: requestTimeoutMs,
    clientErrorHandler: (error, socket) =>
      refuseConnection(error, socket, connections.refuse.bind(connections)),
  });
  connections.own(admin.server);
  admin.addHook('onSend', (request, reply, payload, next) => {
    connections.answering(request.raw, reply.raw);
    next(null, payload);
  });
  putRequestIds(admin.server);
  leaveBodies(admin);
  putErrors(admin, {
    notFound: (request) => {
      const what = `${request.method} ${routeOf(request).path}`;
      const message = `The admin listener has no ${what}: the console is at /, the metrics are at /metrics.`;
      return new GatewayError('not_found', message);
    },
    onDefect: (thrown, { raw }) =>
      options.defects.caught('request of the admin listener', thrown, requestIdOf(raw)),
    onRefused: options.onRefused,
  });
  putTargets(admin);
  admin.register((open, _options, done) => {
    // The page itself needs no key, because it asks for the key. It contains no data.
    putRefusal(open, ({ headers }) => guard.pageRefusal(headers));
    addPage(open);
    open.get('/about', () => about());
    done();
  });

  admin.register((guarded, _options, done) => {
    putGuard(guarded, guard, connections);
    guarded.get('/metrics', async (_request, reply) =>
      reply.type(metrics.contentType).send(await metrics.text()),
    );
    addLookups(guarded, options);
    guarded.register((acting, _none, added) => {
      addActions(acting, { ...options, calls: voice?.calls });
      if (voice !== undefined) addDemonstrations(acting, voice, connections);
      added();
    });
    if (simulatorUrl !== undefined) addPlainPipe(guarded, simulatorUrl, connections);
    done();
  });
  return admin;
}
