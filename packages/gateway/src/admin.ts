import Fastify, { type FastifyInstance } from 'fastify';
import { addPage } from './console/page.ts';
import { addPlainPipe } from './console/plain-pipe.ts';
import type { Console } from './console/console.ts';
import type { About } from './console/snapshot.ts';
import { answerError, fromFastify } from './answer-error.ts';
import { putTargets, rewriteTarget } from './http/request-target.ts';
import { type Guard, putGuard, putRefusal } from './guard.ts';
import type { Metrics } from './telemetry/metrics.ts';

export interface AdminOptions {
  readonly guard: Guard;
  readonly console: Console;
  readonly metrics: Metrics;
  readonly about: () => About;
  /** Where the simulated models are, if they are what is served: then there is a playground. */
  readonly simulatorUrl: string | undefined;
}

/** The listener for those who run the gateway: the console, and metrics. */
export function createAdminServer(options: AdminOptions): FastifyInstance {
  const { about, guard, metrics, simulatorUrl } = options;
  const admin = Fastify({ rewriteUrl: rewriteTarget, forceCloseConnections: true });
  admin.setErrorHandler((thrown, request, reply) => answerError(request, reply, fromFastify(thrown, 0)));
  putTargets(admin);
  admin.register((open, _options, done) => {
    // The page itself needs no key, or nobody could be asked for one. There is nothing in it.
    putRefusal(open, ({ headers }) => guard.pageRefusal(headers));
    addPage(open);
    open.get('/about', () => about());
    done();
  });

  admin.register((guarded, _options, done) => {
    putGuard(guarded, guard);
    guarded.get('/metrics', async (_request, reply) =>
      reply.type(metrics.contentType).send(await metrics.text()),
    );
    guarded.get('/history', () => options.console.history.samples);
    if (simulatorUrl !== undefined) addPlainPipe(guarded, simulatorUrl);
    done();
  });
  return admin;
}
