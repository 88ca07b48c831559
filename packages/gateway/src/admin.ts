import Fastify, { type FastifyInstance } from 'fastify';
import { addPage } from './console/page.ts';
import { addPlainPipe } from './console/plain-pipe.ts';
import type { Console } from './console/console.ts';
import type { About } from './console/snapshot.ts';
import type { Defects } from './defects.ts';
import { answerError, fromFastify } from './answer-error.ts';
import { type Guard, putGuard } from './guard.ts';
import type { Metrics } from './telemetry/metrics.ts';

export interface AdminOptions {
  readonly guard: Guard;
  /** Whether only this machine can reach it. */
  readonly isLoopback: boolean;
  readonly console: Console;
  readonly defects: Defects;
  readonly metrics: Metrics;
  readonly about: () => About;
  /** Where the simulated models are, if they are what is served: then there is a playground. */
  readonly simulatorUrl: string | undefined;
}

/** The listener for those who run the gateway: the console, and metrics. */
export function createAdminServer(options: AdminOptions): FastifyInstance {
  const { about, guard, isLoopback, metrics, simulatorUrl } = options;
  const admin = Fastify({ forceCloseConnections: true });
  admin.setErrorHandler((thrown, request, reply) => {
    const error = fromFastify(thrown, 0);
    if (error.code === 'internal_error') options.defects.caught('request of the admin listener', thrown);
    answerError(request, reply, error);
  });
  // Beyond loopback the page itself needs no key, or nobody could be asked for one. There is nothing in it.
  if (isLoopback) putGuard(admin, guard);
  addPage(admin);
  admin.get('/about', () => about());

  admin.register((guarded, _options, done) => {
    if (!isLoopback) putGuard(guarded, guard);
    guarded.get('/metrics', async (_request, reply) =>
      reply.type(metrics.contentType).send(await metrics.text()),
    );
    guarded.get('/history', () => options.console.history.samples);
    if (simulatorUrl !== undefined) addPlainPipe(guarded, simulatorUrl);
    done();
  });
  return admin;
}
