import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { callerOf } from '@spillway/server/access/caller';
import type { Console } from '@spillway/server/console/console';
import type { GatewayFacts } from '@spillway/server/console/snapshot';
import { GatewayError } from '@spillway/server/errors';
import { clientAddress } from '@spillway/server/http/client-address';
import { requestIdOf } from '@spillway/server/http/request-id';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Guard } from '../access/guard.ts';
import type { Intake } from '../access/intake.ts';
import { endedQuery, noQuery, readQuery } from './admin-query.ts';
import type { ReloadResult } from '../config/reload.ts';
import type { Calls } from '../voice/calls.ts';
import type { UsageReport } from '../limit/usage-report.ts';
import { putRefusal } from './hooks.ts';

export interface OperatorOptions {
  /** What tenants have used; `undefined`: there are no limits and no prices. */
  readonly report: () => UsageReport | undefined;
  readonly clock: Pick<ServerClock, 'dateMs'>;
  readonly console: Pick<
    Console,
    'cancelStream' | 'detachReader' | 'endedStream' | 'endedStreams' | 'history'
  >;
  /** Calls by telephone; `undefined`: none are served. */
  readonly calls: Pick<Calls, 'end' | 'interrupt'> | undefined;
  readonly guard: Guard;
  readonly facts: () => GatewayFacts;
  readonly intake: Intake;
  readonly log: Logger;
  /** Loads the configuration again; `undefined`: the gateway has none to load. */
  readonly reload: (() => Promise<ReloadResult>) | undefined;
}

/** Adds what an operator may look up. */
export function addLookups(
  server: FastifyInstance,
  { console, facts, report }: Pick<OperatorOptions, 'console' | 'facts' | 'report'>,
): void {
  server.get('/ended', ({ query }) => console.endedStreams(readQuery(endedQuery, query)));
  server.get('/gateway', ({ query }) => {
    readQuery(noQuery, query);
    return facts();
  });
  server.get('/history', ({ query }) => {
    readQuery(noQuery, query);
    return console.history.samples;
  });
  server.get('/tenants', ({ query }) => {
    readQuery(noQuery, query);
    return report()?.all() ?? [];
  });
  server.get('/ended/:id', ({ params, query }) => {
    readQuery(noQuery, query);
    const { id } = params as { readonly id: string };
    const story = console.endedStream(id);
    if (story === undefined) throw new GatewayError('not_found', 'No stream of that id is remembered.');
    return story;
  });
}

/** Adds what an operator may do. Each is a POST that only the console's own page can send, and is logged with its sender. */
export function addActions(server: FastifyInstance, options: OperatorOptions): void {
  const { calls, clock, console, guard, intake, log, reload } = options;
  putRefusal(server, ({ headers }) => guard.actionRefusal(headers));
  server.addHook('preHandler', ({ query }, _reply, next) => {
    readQuery(noQuery, query);
    next();
  });
  const note = ({ raw }: FastifyRequest, action: string, figures: object = {}): void => {
    const { name, tenant } = callerOf(raw);
    log.warn(
      {
        action,
        ...figures,
        caller: name || undefined,
        tenant: tenant || undefined,
        address: clientAddress(raw),
        request: requestIdOf(raw),
      },
      'an operator acted',
    );
  };
  server.post('/streams/:id/cancel', (request) => {
    const { id } = request.params as { readonly id: string };
    if (!console.cancelStream(id)) {
      throw new GatewayError('not_found', 'There is no such stream whose provider is at work.');
    }
    note(request, 'cancel_stream', { stream: id });
    return { done: true };
  });
  server.post('/streams/:id/readers/:number/detach', (request) => {
    const { id, number } = request.params as { readonly id: string; readonly number: string };
    if (!console.detachReader(id, Number(number))) {
      throw new GatewayError('not_found', 'There is no such reader: it may have left.');
    }
    note(request, 'detach_reader', { stream: id, reader: Number(number) });
    return { done: true };
  });
  for (const action of ['interrupt', 'end'] as const) {
    server.post(`/calls/:id/${action}`, (request) => {
      const { id } = request.params as { readonly id: string };
      if (calls?.[action](id) !== true) {
        throw new GatewayError('not_found', 'There is no such call: it may have ended.');
      }
      note(request, `${action}_call`, { call: id });
      return { done: true };
    });
  }
  server.post('/drain', (request) => {
    // Who asks for what is so already changes nothing.
    if (intake.close(clock.dateMs())) note(request, 'drain');
    return { done: true };
  });
  server.post('/drain/end', (request) => {
    if (intake.open()) note(request, 'end_drain');
    return { done: true };
  });
  if (reload === undefined) return;
  server.post('/reload', async (request) => {
    // Before it is done: the key that asks may be gone afterwards.
    note(request, 'reload');
    const result = await reload();
    if (result.isLoaded) {
      const { advice, changes, needRestart } = result;
      return { done: true, changes, needRestart, advice };
    }
    if (result.reason === undefined) {
      throw new GatewayError(
        'internal_error',
        'The configuration could not be put in force: the log says why.',
      );
    }
    throw new GatewayError('config_invalid', result.reason);
  });
}
