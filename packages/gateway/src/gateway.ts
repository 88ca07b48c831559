import Fastify, { type FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { apiNames, apis } from './api.ts';
import { ApiKeys } from './api-keys.ts';
import { isLoopback, type Provider, type Settings } from './config/load.ts';
import { listeningUrl } from './listening-url.ts';
import { Metrics } from './metrics.ts';
import { Relay } from './relay.ts';
import { RequestMemory } from './request-memory.ts';
import { createServer } from './server.ts';
import { Guard, putGuard } from './guard.ts';
import { Sessions } from './session/sessions.ts';
import { openLinks } from './sink/open-links.ts';
import { Paces } from './sink/paces.ts';
import { openSimulator, type Simulator } from './simulate/simulator.ts';
import { Streams } from './streams.ts';

/** A running gateway. */
export interface Gateway {
  /** Where clients reach it, without a slash at the end. */
  readonly url: string;
  readonly adminUrl: string;
  readonly providers: readonly Provider[];
  /**
   * Stops: not ready at once, no new streams, those that run may finish until `shutdownMs` has passed,
   * then they are ended. A second call ends them now.
   */
  stop(): Promise<void>;
}

/** Starts a gateway; it listens when the promise resolves. */
export async function openGateway(settings: Settings, log: Logger): Promise<Gateway> {
  const { config } = settings;
  const simulator =
    settings.providers.length === 0 ? await openSimulator({ host: '127.0.0.1', port: 0 }) : undefined;
  const providers = simulator === undefined ? settings.providers : simulatedProviders(simulator);
  const metrics: Metrics = new Metrics(() => streams);
  const streams = new Streams(config, metrics.meter, (reason) => metrics.readerEnded(reason));
  const paces = new Paces(openLinks());
  if (paces.links !== 'tcp-info') {
    log.warn(
      { links: paces.links },
      'slow links are noticed late: TCP_INFO needs Linux and the package koffi',
    );
  }
  const relay = new Relay(settings, streams, metrics, paces, log);
  let isStopping = false;
  const keys = new ApiKeys(settings.apiKeys);
  const guard = new Guard(keys, config.allowedOrigins);
  const memory = new RequestMemory(config.maxRequestMemoryBytes);
  const isReady = (): boolean => !isStopping;
  const server = createServer({
    config,
    keys,
    guard,
    memory,
    providers,
    relay,
    streams,
    paces,
    log,
    isReady,
  });
  const sessions = new Sessions({ config, guard, keys, memory, paces, providers, relay, streams, isReady });
  sessions.listen(server.server);
  const admin = createAdminServer(metrics, settings);

  const close = async (): Promise<void> => {
    streams.stopWatching();
    sessions.close();
    await Promise.all([server.close(), admin.close()]);
    relay.pools.destroy();
    await simulator?.close();
  };

  try {
    await server.listen({ host: config.host, port: config.port });
    await admin.listen({ host: config.adminHost, port: config.adminPort });
  } catch (error) {
    await close();
    throw error;
  }

  let stopped: Promise<void> | undefined;
  return {
    url: listeningUrl(server.server),
    adminUrl: listeningUrl(admin.server),
    providers,
    stop() {
      if (stopped !== undefined) {
        streams.stopAll();
        return stopped;
      }
      isStopping = true;
      stopped = streams.drain(config.shutdownMs).then(close);
      return stopped;
    },
  };
}

/** The listener for those who run the gateway. Beyond loopback it asks for an API key, as the other does. */
function createAdminServer(metrics: Metrics, { config, apiKeys }: Settings): FastifyInstance {
  const admin = Fastify({ forceCloseConnections: true });
  putGuard(admin, new Guard(new ApiKeys(isLoopback(config.adminHost) ? [] : apiKeys), []));
  admin.get('/metrics', async (_request, reply) =>
    reply.type(metrics.contentType).send(await metrics.text()),
  );
  return admin;
}

/** One simulator has all the APIs. */
function simulatedProviders({ url }: Simulator): Provider[] {
  return apiNames.map((api) => ({
    name: 'simulated',
    api,
    url: url + apis[api].pathInUrl,
    // It asks for none; what clients bring is no matter, so all are the same to it.
    apiKey: 'simulated',
    detach: undefined,
  }));
}
