import Fastify, { type FastifyInstance } from 'fastify';
import { addPage } from './page.ts';
import { addActions, addLookups, type OperatorOptions } from './operator-paths.ts';
import { addPlainPipe } from './plain-pipe.ts';
import type { Console } from '@spillway/server/console/console';
import type { About } from '@spillway/server/console/snapshot';
import { answerError, fromFastify, refuseConnection } from './answer-error.ts';
import { GatewayError } from '@spillway/server/errors';
import { routeOf } from '../http/route.ts';
import { leaveBodies } from './unread-body.ts';
import type { Connections } from '../http/connections.ts';
import { rewriteTarget } from '../http/request-target.ts';
import { putGuard, putRefusal, putTargets } from './hooks.ts';
import type { Defects } from '@spillway/server/defects';
import type { Metrics } from '../telemetry/metrics.ts';

export interface AdminOptions extends Omit<OperatorOptions, 'console'> {
  readonly connections: Connections;
  readonly console: Console;
  readonly defects: Defects;
  readonly metrics: Metrics;
  readonly about: () => About;
  /** The URL of the simulated models, if these are served; there is a playground only then. */
  readonly simulatorUrl: string | undefined;
}

/** How long a whole request may take to arrive. */
const requestTimeoutMs = 60_000;

/** The listener for the operators of the gateway: the console and the metrics. */
export function createAdminServer(options: AdminOptions): FastifyInstance {
  const { about, connections, guard, metrics, simulatorUrl } = options;
  const admin = Fastify({
    rewriteUrl: rewriteTarget,
    forceCloseConnections: true,
    requestTimeout: requestTimeoutMs,
    clientErrorHandler: (error, socket) => refuseConnection(error, socket, connections),
  });
  connections.own(admin.server);
  admin.addHook('onSend', (request, reply, payload, next) => {
    connections.answering(request.raw, reply.raw);
    next(null, payload);
  });
  leaveBodies(admin);
  admin.setErrorHandler((thrown, request, reply) => {
    const error = fromFastify(thrown);
    if (error.code === 'internal_error') options.defects.caught('request of the admin listener', thrown);
    answerError(request, reply, error);
  });
  admin.setNotFoundHandler((request, reply) => {
    const what = `${request.method} ${routeOf(request).path}`;
    const message = `The admin listener has no ${what}: the console is at /, the metrics are at /metrics.`;
    answerError(request, reply, new GatewayError('not_found', message));
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
    guarded.get('/history', () => options.console.history.samples);
    addLookups(guarded, options);
    guarded.register((acting, _none, added) => {
      addActions(acting, options);
      added();
    });
    if (simulatorUrl !== undefined) addPlainPipe(guarded, simulatorUrl, connections);
    done();
  });
  return admin;
}
