import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
  LogController,
} from 'fastify';
import type { Logger } from 'pino';
import type { Refusal } from '@spillway/server/access/refusal';
import { putErrors, refuseConnection } from './answer-error.ts';
import type { Provider } from '../config/provider.ts';
import type { Config } from '../config/schema.ts';
import type { Defects } from '@spillway/server/defects';
import { clientLeft, shuttingDown } from '@spillway/server/errors';
import type { Guard } from '../access/guard.ts';
import { clientAddress } from '@spillway/server/http/client-address';
import { requestIdOf } from '@spillway/server/http/request-id';
import type { Connections } from '../http/connections.ts';
import { rewriteTarget } from '../http/request-target.ts';
import { noSuchPath, routeOf } from '../http/route.ts';
import { putGuard, putRefusal, putTargets } from './hooks.ts';
import { addRoot } from './root.ts';
import { corsHeaders, putCors, putRequestIds } from './request-head.ts';
import { noSchemas } from './no-schemas.ts';
import { leaveBodies } from './unread-body.ts';
import { addOwnUsage } from './usage-paths.ts';
import type { UsageReport } from '../limit/usage-report.ts';
import { hijack } from './hijack.ts';
import { answerModels, isModelList } from './answer-models.ts';
import type { Limiter } from '../limit/limiter.ts';
import type { RequestLease } from '../limit/request-lease.ts';
import type { ModelLists } from '../provider/models/model-lists.ts';
import { readBudgetMs, uploadDeadline } from '../relay/latency-budget.ts';
import type { Relay } from '../relay/relay.ts';
import { callerOf, holderOf } from '@spillway/server/access/caller';
import { pressedRequest, yieldingRequest } from '../relay/pressed-request.ts';
import { receiveRequest } from '../relay/receive-request.ts';
import type { Served } from '../config/read-models.ts';
import type { Pressure } from '../pressure/pressure.ts';
import { gaveWayHeader } from '../http/headers.ts';
import type { BodyHold, RequestMemory } from '@spillway/server/memory/request-memory';
import { addStreamPaths } from './stream-paths.ts';
import { pathPrefixes } from '../http/route.ts';
import { readMergeMs } from '../http/merge-ms.ts';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { Paces } from '@spillway/server/sink/paces';
import { methods } from '../source/reply.ts';
import type { Streams } from '@spillway/server/stream/streams';
import { addVoicePaths, type VoicePathsOptions } from './voice-paths.ts';

export interface ServerOptions {
  readonly config: Config;
  readonly defects: Defects;
  readonly guard: Guard;
  readonly connections: Connections;
  readonly memory: RequestMemory;
  /** What is served now: the configured providers, or the simulated ones. */
  readonly served: () => Served;
  readonly relay: Relay;
  /** What gives way to pressure. */
  readonly pressure: Pick<Pressure, 'active'>;
  /** Holds requests against limits; `undefined`: there are none. */
  readonly limiter: () => Limiter | undefined;
  readonly models: ModelLists;
  readonly streams: Streams;
  readonly paces: Paces;
  readonly clock: ServerClock;
  readonly log: Logger;
  /** The provider of the gateway's own canary, and the key that only its requests have. */
  readonly canary: { readonly key: string; readonly provider: Provider } | undefined;
  /** Calls by telephone; `undefined`: they are not served. */
  readonly voice: VoicePathsOptions['voice'];
  /** The URL of the console, for those on this machine; `undefined`: it is somewhere else. */
  readonly consoleUrl: () => string | undefined;
  /** Called for each request that gets an error instead of a stream. */
  readonly onRefused: (refusal: Refusal) => void;
  /** What tenants have used; `undefined`: there are no limits and no prices. */
  readonly report: () => UsageReport | undefined;
  /** Whether new streams are accepted. */
  readonly isReady: () => boolean;
  /** `areRefusingAll`: whether taps refuse each of them at the moment. */
  readonly taps: { readonly areRefusingAll: boolean };
}

/** The listener for clients. */
export function createServer(options: ServerOptions): FastifyInstance {
  const { clock, config, connections, defects, guard, log, isReady, onRefused, paces, streams } = options;
  const { stallTimeoutMs, windowBytes } = config;
  const logger: FastifyBaseLogger = log;
  const server: FastifyInstance = Fastify({
    ...noSchemas,
    loggerInstance: logger,
    // Instead, one line is logged for each stream when it ends.
    logController: new LogController({ disableRequestLogging: true }),
    rewriteUrl: rewriteTarget,
    // Bodies have a deadline of their own, which is extended while they arrive.
    requestTimeout: 0,
    forceCloseConnections: true,
    clientErrorHandler: (error, socket) =>
      refuseConnection(error, socket, connections.refuse.bind(connections), (origin) =>
        corsHeaders(origin, guard),
      ),
    // A stopping gateway answers requests with an error of its own.
    return503OnClosing: false,
    http: {
      maxHeaderSize: config.maxHeaderBytes,
      headersTimeout: Math.min(60_000, config.requestTimeoutMs),
      connectionsCheckingInterval: Math.min(30_000, config.requestTimeoutMs / 4),
      // Some clients offer an upgrade to HTTP/2 and accept an answer in HTTP/1.1. Node below 24.9 does not know this
      // option.
      shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket',
      // Chunks that a reader does not take should wait in the channel, not in its socket's buffer.
      highWaterMark: 4096,
    },
  });

  connections.own(server.server);
  server.addHook('onSend', (request, reply, payload, next) => {
    connections.answering(request.raw, reply.raw);
    next(null, payload);
  });

  putRequestIds(server.server);
  putCors(server, guard);
  leaveBodies(server);
  putErrors(server, {
    notFound: (request) => noSuchPath(`${request.method} ${routeOf(request).path}`),
    onDefect: (thrown, { raw }) => defects.caught('request', thrown, requestIdOf(raw)),
    onRefused,
  });
  putTargets(server);

  addRoot(server, options.consoleUrl);
  server.get('/health/live', () => ({ status: 'ok' }));
  server.get('/health/ready', (_request, reply) => {
    if (!isReady()) return reply.code(503).send({ status: 'shutting_down' });
    if (options.taps.areRefusingAll) return reply.code(503).send({ status: 'tap_unavailable' });
    return { status: 'ok' };
  });

  server.register((calls, _options, done) => {
    addVoicePaths(calls, options);
    done();
  });
  server.register((api, _options, done) => {
    putGuard(api, guard, connections);
    addStreamPaths(api, streams, { clock, paces, stallTimeoutMs, windowBytes });
    addOwnUsage(api, options.report);
    // A scope of its own: its refusal of new streams does not apply to reads of running ones.
    api.register((provided, _none, added) => {
      addProviderPaths(provided, options);
      added();
    });
    done();
  });
  return server;
}

/** Adds the providers' paths: every path below the prefixes belongs to a provider. */
function addProviderPaths(
  server: FastifyInstance,
  { canary, clock, config, limiter, memory, models, pressure, relay, report, served, isReady }: ServerOptions,
): void {
  const bounds = {
    maxBytes: Math.min(config.maxRequestBytes, memory.maxOwnerBytes),
    timeoutMs: config.requestTimeoutMs,
    minBytesPerSecond: config.minBytesPerSecond,
  };
  server.addHook('onRequest', (_request, _reply, next) => {
    next(isReady() ? undefined : shuttingDown());
  });
  const canaryOf = ({ headers }: FastifyRequest): Provider | undefined =>
    canary !== undefined && headers.authorization === `Bearer ${canary.key}` ? canary.provider : undefined;
  // Who is refused whatever it asks for costs as little as one without a key.
  putRefusal(server, (request) =>
    isModelList(request) || canaryOf(request) !== undefined
      ? undefined
      : limiter()?.refusal(callerOf(request.raw), { method: request.method, path: routeOf(request).path }),
  );

  for (const prefix of pathPrefixes) {
    server.route({
      method: [...methods],
      url: `${prefix}*`,
      exposeHeadRoute: false,
      handler: async (request, reply) => {
        const askedMs = clock.nowMs();
        const route = routeOf(request);
        if (request.method === 'GET') {
          const isAnswered = await answerModels(request, reply, {
            served: served(),
            allowed: limiter()?.modelsOf(callerOf(request.raw)),
            lists: models,
            timeoutMs: config.stallTimeoutMs,
          });
          if (isAnswered) return reply;
        }
        const { headers, raw } = request;
        const address = clientAddress(raw);
        const caller = callerOf(raw);
        const openHold = (): BodyHold => memory.hold(holderOf(caller, address));
        const ownProvider = canaryOf(request);
        const holder = ownProvider === undefined ? limiter() : undefined;
        const active = ownProvider === undefined ? pressure.active : undefined;
        const budgetMs = readBudgetMs(headers);
        const asked = await receiveRequest(route, raw, reply.raw, {
          ...bounds,
          deadline: uploadDeadline(budgetMs, askedMs, clock),
          members: holder?.members ?? noMembers,
          isCounted: report() !== undefined,
          editable: active?.members,
          openHold,
          served: ownProvider === undefined ? served : () => ({ providers: [ownProvider], models: [] }),
        });
        let lease: RequestLease | undefined;
        try {
          const mergeMs = readMergeMs(headers);
          const asker = { headers, address, caller, requestId: requestIdOf(raw) };
          const pressed = { mergeMs, limits: holder, served: served() };
          const given = active?.giveWay(pressedRequest(asked, asker, pressed));
          if (given !== undefined) reply.raw.setHeader(gaveWayHeader, given.changed.join(', '));
          if (given?.refusal !== undefined) throw given.refusal;
          const relayed = given === undefined ? asked : yieldingRequest(asked, given, served());
          if (holder !== undefined) lease = await holder.open(relayed, asker);
          // The client may have left during the wait, and its response emits no further `close`.
          if (reply.raw.destroyed) throw clientLeft('left before it was answered');
          const pace = given?.mergeMs ?? mergeMs;
          const gaveWay = given?.changed;
          relay.answer(relayed, asker, hijack(reply), {
            mergeMs: pace,
            askedMs,
            budgetMs,
            lease,
            gaveWay,
          });
        } catch (error) {
          asked.body.release();
          lease?.settle(undefined);
          throw error;
        }
        return undefined;
      },
    });
  }
}

const noMembers: readonly (readonly string[])[] = [];
