import type { Logger } from 'pino';
import { createAdminServer } from './server/admin.ts';
import { type ApplySettings, ClientKeys } from './server/client-keys.ts';
import { ApiKeys } from './access/api-keys.ts';
import { apiKey, digest } from './config/api-key.ts';
import { shownVariable } from './config/values.ts';
import { needsClientKey, type Settings } from './config/load.ts';
import { isLoopback } from './config/loopback.ts';
import type { Provider } from './config/provider.ts';
import { Reload, type ReloadResult } from './config/reload.ts';
import { Console } from '@spillway/server/console/console';
import type { Refusal } from '@spillway/server/access/refusal';
import { survey } from '@spillway/server/stream/survey';
import { Defects } from '@spillway/server/defects';
import { Guard } from './access/guard.ts';
import { listenAt, ListenFailure } from './server/listen-at.ts';
import { openCertificate } from './server/open-certificate.ts';
import { TrustedProxies } from './http/trusted-proxies.ts';
import { openConnections } from './server/open-connections.ts';
import { otherSockets } from './server/other-sockets.ts';
import { listeningUrl } from './http/listening-url.ts';
import { boundsFor } from './memory/bounds-for.ts';
import { EventMemory } from '@spillway/server/memory/event-memory';
import { Meter } from '@spillway/server/stream/meter';
import { Drain, drainTogether } from './process/drain.ts';
import { gatewayFacts } from './config/gateway-facts.ts';
import { openPressure } from './pressure/open-pressure.ts';
import { ownVersion } from './process/own-version.ts';
import { channelBytes } from './relay/fill.ts';
import type { LogDestination } from './process/log-destination.ts';
import { Intake } from './access/intake.ts';
import { openPlaces } from './access/open-places.ts';
import { HeldLimits } from './limit/held-limits.ts';
import type { StreamUsage } from './limit/stream-usage.ts';
import { ModelLists } from './provider/models/model-lists.ts';
import { Targets } from './provider/targets.ts';
import { Relay } from './relay/relay.ts';
import type { Served } from './config/read-models.ts';
import { relaySessionRequests } from './relay/relay-session-requests.ts';
import { sessionDoor } from './server/session-door.ts';
import { otherPoolFor } from './source/other-pool-for.ts';
import { ProviderPools } from './source/provider-pools.ts';
import { RequestMemory } from '@spillway/server/memory/request-memory';
import { createServer } from './server/server.ts';
import { RealtimeSessions } from './realtime/realtime-sessions.ts';
import { Sessions } from '@spillway/server/session/sessions';
import { openCanaryProvider, openOwnSimulator, simulatedProviders } from './simulated-providers.ts';
import { nodeClock as clock } from '@spillway/server/time/node-clock';
import { openLinks } from '@spillway/server/sink/open-links';
import { openPaces } from './server/open-paces.ts';
import { Streams } from '@spillway/server/stream/streams';
import { Canary, canaryName } from './telemetry/canary.ts';
import { openTaps } from './tap/taps.ts';
import { Metrics } from './telemetry/metrics.ts';
import { refusedBy } from './telemetry/refused-by.ts';
import { Refusals } from './telemetry/refusals.ts';
import { openUpstreams } from './telemetry/open-upstreams.ts';
import { StreamLines } from './telemetry/stream-lines.ts';
import { metricReaders, openTracing } from './telemetry/otlp.ts';
import { logTelemetryProblems } from './telemetry/log-problems.ts';
import { pushLast } from './telemetry/push-last.ts';
import { serviceResource } from './telemetry/service-resource.ts';
import { callPages } from './voice/call-pages.ts';
import { type CallsText, openVoice, prepareVoice } from './voice/open-voice.ts';
import { recordCalls } from './voice/record-calls.ts';
import { watchBoth, watchCalls } from './voice/watch-calls.ts';

/** A running gateway. */
export interface Gateway {
  /** The URL for clients, without a slash at the end. */
  readonly url: string;
  readonly adminUrl: string;
  readonly providers: readonly Provider[];
  /** Whether clients need one of the gateway's API keys. */
  readonly needsKey: boolean;
  /** What answers calls, with or without a configuration of them. */
  readonly calls: CallsText | undefined;
  readonly shutdownMs: number;
  /**
   * Loads the configuration again, and puts keys, limits, providers, taps and the log's level in force. Running streams go
   * on. If `load` throws, everything stays as it is. Never rejects: the result, the log and the metrics say how it went.
   */
  reload(load: () => Settings): Promise<ReloadResult>;
  /**
   * Stops the gateway. It is not ready from now on and takes no new streams. Running streams may finish
   * within `shutdownMs`; then they are ended. A second call ends them now. `say` gets a sentence for each step,
   * beside the lines of the log.
   */
  stop(say?: (sentence: string) => void): Promise<void>;
}

/**
 * Starts a gateway. `load`: loads the settings anew, for operators who ask for that. It listens when the promise resolves. One file, because it is the one place where all parts are
 * put together, and each of them needs others.
 */
export async function openGateway(
  asked: Settings,
  log: Logger,
  logDestination?: Pick<LogDestination, 'droppedLines'>,
  load?: () => Settings,
): Promise<Gateway> {
  const calls = await prepareVoice(asked);
  const taps = await openTaps(asked.taps, {
    clock,
    log,
    isOwn: ({ origin }) => origin.isOwn === true,
  });
  const simulator = asked.providers.length === 0 ? await openOwnSimulator() : undefined;
  const simulated = simulator && simulatedProviders(simulator);
  let served: Served = { providers: simulated ?? asked.providers, models: asked.models };
  const bounds = boundsFor(asked.config, simulator !== undefined, log);
  const config = { ...asked.config, maxStreams: bounds.maxStreams };
  const dateMs = (): number => clock.dateMs();
  const defects = new Defects(log);
  const meter = new Meter();
  const lines = new StreamLines(log, clock);
  const links = openLinks();
  const streams = new Streams({
    config,
    meter,
    links,
    observer: {
      streamBegan: (stream, ttftMs) => metrics.streams.streamBegan(stream, ttftMs),
      readerEnded: (reason, reader, stream) => {
        metrics.streams.readerEnded(reason, reader, stream);
        lines.readerEnded(stream, reader, reason);
      },
      streamDropped: (stream) => console.dropped(stream),
    },
    defects,
    clock,
    taps,
  });
  const limits = await HeldLimits.open(asked.limits, {
    clock,
    config,
    defects,
    log,
    streams: () => streams.all(),
    talking: () => [...realtime.tenants, ...(voice?.calls.tenants ?? [])],
    storeCalled: (ms, hasFailed) => metrics.limitStore.called(ms, hasFailed),
  });
  let say: (sentence: string) => void = () => undefined;
  const drain = new Drain({
    streams: drainTogether(() => [streams, realtime]),
    calls: () => voice?.calls,
    clock,
    shutdownMs: config.shutdownMs,
    close: () => close(),
    tell: ({ figures, message, text }) => {
      log.info(figures, message);
      say(text);
    },
  });
  const eventMemory = new EventMemory({
    maxBytes: config.maxEventMemoryBytes,
    maxEventBytes: config.maxEventBytes,
  });
  const waitingLimitBytes = config.maxStreams * channelBytes(config) + config.maxEventMemoryBytes;
  const heldLimitBytes = waitingLimitBytes + config.maxRetainedBytes;
  const memory = new RequestMemory(config.maxRequestMemoryBytes);
  const admission = openPlaces(config, clock);
  const areKeysOurs = needsClientKey(asked);
  const upstreams = openUpstreams({ clock, log, areKeysOurs, aliases: () => served.models });
  const measured = { admission, memory, waitingLimitBytes, providers: upstreams.load };
  const pressure = openPressure(config, { clock, log, limits, streams, served: () => served, ...measured });
  const refusals = new Refusals(log, clock);
  const onRefused = (refusal: Refusal): void => {
    refusals.refused('client', refusal);
    limits.accounts?.usage.refused(refusal);
    taps.refused(refusal);
  };
  const onAdminRefused = (refusal: Refusal): void => refusals.refused('admin', refusal);
  const canary = config.canaryMs > 0 ? await openCanaryProvider() : undefined;
  const canaryKeys = canary === undefined ? [] : [apiKey(digest(canary.key), canaryName)];
  const clientKeys = new ClientKeys(asked, canaryKeys, dateMs);
  const stored = await clientKeys.watch({ clock, defects, limits, log });
  const put: ApplySettings = async (next, putKeys) => {
    const otherPool = await otherPoolFor(next.providers);
    const putVoice = next.voice && voice?.prepare(next.voice);
    const otherLimits = await limits.prepare(next.limits);
    const otherTaps = await taps.prepare(next.taps).catch(async (error: unknown) => {
      await otherLimits.discard();
      throw error;
    });
    // From here to the end nothing waits: no request meets the half of a configuration.
    putKeys();
    otherLimits.commit();
    adminKeys.replace(next.adminKeys);
    served = { providers: simulated ?? next.providers, models: next.models };
    upstreams.gates.renew(served.providers);
    pools.renew(otherPool);
    putVoice?.();
    otherTaps.commit();
    pressure.use(next.config.pressure);
  };
  const change = (next: Settings): Promise<void> => clientKeys.change(next, put);
  const reload = new Reload({ settings: asked, log, dateMs, apply: change });
  const adminKeys = new ApiKeys(asked.adminKeys, dateMs);
  const certificate = openCertificate('tls', config, log, defects);
  const adminCertificate = openCertificate('adminTls', config, log, defects);
  const { admin: adminConnections, client: connections } = openConnections(config, bounds, defects, {
    client: { keys: clientKeys.accepted, certificate, onRefused },
    admin: { keys: adminKeys, certificate: adminCertificate, onRefused: onAdminRefused },
  });
  const intake = new Intake();
  const watched = {
    clock,
    defects,
    meter,
    heldLimitBytes,
    streams: () => streams.all(),
    sessions: (): number => sessions.size,
    untaken: () => sessions.untaken(),
    ended: () => ({ ...metrics.streams.ended }),
    refused: () => refusedBy(connections, memory, refusals),
    intakeClosedAtMs: () => intake.closedAtMs,
    hasReloadFailed: () => !reload.isSuccessful,
    hasKeyStoreFailed: () => stored?.isUp === false,
    draining: () => drain.dates ?? null,
    taps: () => taps.status,
    pressure,
  };
  const pages = { ...callPages(clock, () => voice), ...upstreams.pages };
  const console = new Console(config, { ...watched, pages, broken: upstreams.broken });
  const resource = serviceResource();
  const metrics: Metrics = new Metrics({
    ...watched,
    connections: { client: connections, admin: adminConnections },
    calls: () => voice?.calls,
    realtime: () => realtime.metered,
    reload,
    keys: () => stored,
    limits: () => limits.accounts,
    upstreams,
    certificates: { client: certificate, admin: adminCertificate },
    requestMemory: memory,
    refusals,
    canary: () => singing,
    retained: streams.retained,
    eventMemory,
    log: logDestination,
    survey: () => survey(streams.all(), clock.nowMs()),
    loopDelayMs: () => console.history.loopDelayMs,
    resource,
    readers: await metricReaders(process.env),
  });
  const tracing = await openTracing(process.env, resource);
  logTelemetryProblems(log);
  const paces = openPaces(links, log);
  const onDefect = (error: unknown): void => defects.caught('provider connection', error);
  const pools = new ProviderPools(config, onDefect, await otherPoolFor(served.providers));
  const provider = { admission, targets: new Targets({ pools, areKeysOurs }) };
  const observers = { clock, streams, metrics, paces, tracing, lines, defects, eventMemory };
  const settings = { ...asked, config };
  const usage = (): StreamUsage | undefined => limits.accounts?.usage;
  const relay = new Relay({ settings, ...observers, ...provider, gates: upstreams.gates, usage });
  const guard = new Guard(clientKeys.accepted, config.allowedOrigins);
  const isStopping = (): boolean => drain.dates !== undefined;
  const isReady = (): boolean => !isStopping() && intake.isOpen;
  const shared = { clock, config, defects, memory, paces, isReady, isStopping, taps };
  const models = new ModelLists({ ...provider, clock, log });
  const consoleUrl = (): string | undefined =>
    isLoopback(config.adminHost) ? listeningUrl(admin.server, adminCertificate && 'https') : undefined;
  const server = createServer({
    ...shared,
    relay,
    pressure,
    limiter: () => limits.limiter,
    connections,
    guard,
    models,
    served: () => served,
    streams,
    log,
    onRefused,
    report: () => limits.accounts?.report,
    consoleUrl,
    canary,
    voice: () => voice,
  });
  const relayed = {
    ...shared,
    isCounted: () => limits.accounts !== undefined,
    limiter: () => limits.limiter,
    pressure,
    relay,
    served: () => served,
  };
  const voice = await openVoice({
    ...calls,
    clock,
    defects,
    door: sessionDoor(connections, guard, onRefused),
    isReady,
    limiter: () => limits.limiter,
    log,
    usage,
    served: () => served,
    requests: relaySessionRequests({ ...relayed, areWithin: true }),
    openSimulator: openOwnSimulator,
    simulatorUrl: simulator?.url,
    // A demonstration calls as a carrier on this machine does: without TLS, and without a proxy's header.
    ownUrl: certificate || config.proxyProtocol ? undefined : () => listeningUrl(server.server),
    watch: watchBoth(
      watchCalls(metrics, tracing),
      recordCalls({ taps, windowBytes: config.windowBytes, clock, defects }),
    ),
  });
  const realtime = new RealtimeSessions({
    admission,
    clock,
    config,
    defects,
    door: sessionDoor(connections, guard, onRefused),
    guard,
    isReady,
    limiter: () => limits.limiter,
    log,
    links,
    memory,
    metrics,
    gates: upstreams.gates,
    served: () => served,
    taps,
    targets: provider.targets,
    tracing,
    usage,
  });
  const requests = relaySessionRequests(relayed);
  const sessions = new Sessions({
    ...shared,
    meter,
    retained: streams.retained,
    door: sessionDoor(connections, guard, onRefused),
    onRefused,
    guard,
    requests,
    find: (token, caller, headers) => {
      const stream = streams.find(token);
      return stream?.mayRead({ caller, headers }) === true ? stream : undefined;
    },
  });
  sessions.listen(server.server, otherSockets(realtime, voice));

  // The version is read once: later there may be no file descriptor to read it.
  const version = ownVersion();
  const adminGuard = new Guard(adminKeys, []);
  const admin = createAdminServer({
    guard: adminGuard,
    connections: adminConnections,
    console,
    defects,
    metrics,
    onRefused: onAdminRefused,
    about: () => ({
      version,
      startedAtMs: Math.round(performance.timeOrigin),
      gatewayUrl: listeningUrl(server.server, certificate && 'https'),
      isSimulated: simulator !== undefined,
      needsKey: adminKeys.areRequired,
      keyVariable: shownVariable(config.adminKeysEnv),
    }),
    simulatorUrl: simulator?.url,
    voice,
    report: () => limits.accounts?.report,
    // Those that were loaded last.
    facts: () => gatewayFacts(reload.settings, bounds.maxStreams),
    intake,
    clock,
    log,
    reload: load && (() => reload.run(load)),
  });
  // The console reads streams by a session, as clients do. It may send requests only to simulated models.
  const adminSessions = new Sessions({
    ...shared,
    meter,
    retained: streams.retained,
    door: sessionDoor(adminConnections, adminGuard, onAdminRefused),
    onRefused: onAdminRefused,
    guard: adminGuard,
    requests: simulator === undefined ? undefined : requests,
    find: (token) => console.find(token) ?? (simulator === undefined ? undefined : streams.find(token)),
  });
  adminSessions.listen(admin.server);

  let singing: Canary | undefined;
  const close = async (): Promise<void> => {
    singing?.close();
    await stored?.close();
    streams.stopWatching();
    console.close();
    sessions.close();
    await voice?.close();
    realtime.close();
    adminSessions.close();
    connections.closeAll();
    adminConnections.closeAll();
    certificate?.close();
    adminCertificate?.close();
    await Promise.all([server.close(), admin.close()]);
    await taps.close();
    await limits.close();
    pools.destroy();
    refusals.close();
    lines.close();
    await simulator?.close();
    await canary?.simulator.close();
    await pushLast([metrics, tracing], log);
  };

  let setting: ListenFailure['setting'] = 'port';
  try {
    await listenAt(server, connections, config.host, config.port, bounds.listeners);
    setting = 'adminPort';
    await listenAt(admin, adminConnections, config.adminHost, config.adminPort, bounds.adminListeners);
  } catch (error) {
    await close();
    throw new ListenFailure(setting, error);
  }

  void metrics.prepare();
  if (canary !== undefined) {
    singing = new Canary({
      everyMs: config.canaryMs,
      url: listeningUrl(server.server, certificate && 'https'),
      key: canary.key,
      hasProxyHeader: config.proxyProtocol && new TrustedProxies(config.trustedProxies).trusts('127.0.0.1'),
      clock,
      log,
    });
  }
  return {
    url: listeningUrl(server.server, certificate && 'https'),
    adminUrl: listeningUrl(admin.server, adminCertificate && 'https'),
    providers: served.providers,
    needsKey: areKeysOurs,
    calls: voice?.text,
    shutdownMs: config.shutdownMs,
    reload: (loadOther) => reload.run(loadOther),
    stop(tell = say) {
      say = tell;
      singing?.close();
      return drain.stop();
    },
  };
}
