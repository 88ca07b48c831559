import type { Resource } from '@opentelemetry/resources';
import { type IMetricReader, MeterProvider } from '@opentelemetry/sdk-metrics';
import type { Defects } from '@spillway/server/defects';
import type { RequestMemory } from '@spillway/server/memory/request-memory';
import { Figures } from '@spillway/server/telemetry/figures';
import type { TapState } from '@spillway/server/tap/tap-state';
import { StreamMetrics, type StreamMetricsOptions } from '@spillway/server/telemetry/stream-metrics';
import type { LoopDelayMs } from '@spillway/server/time/loop-delay';
import { connectionStates } from '../http/connection.ts';
import type { Connections } from '../http/connections.ts';
import type { Reload } from '../config/reload.ts';
import type { LogDestination } from '../process/log-destination.ts';
import type { Refusals } from './refusals.ts';
import type { Canary } from './canary.ts';
import type { Accounts } from '../limit/accounts.ts';
import { CallMetrics, type MeteredCalls } from './call-metrics.ts';
import { defineRealtimeMetrics, type MeteredRealtime } from './realtime-metrics.ts';
import { defineProcessFigures } from './process-figures.ts';
import { loadExporter, PrometheusReader } from './prometheus-reader.ts';
import { defineProviderMetrics, type MeteredProviders } from './provider-metrics.ts';
import { defineKeyStoreMetrics, type MeteredKeys } from './key-store-metrics.ts';
import { defineLimitMetrics, type MeteredLimits } from './limit-metrics.ts';
import { LimitStoreMetrics } from './limit-store-metrics.ts';
import { definePressureMetrics, type MeteredPressure } from './pressure-metrics.ts';
import { defineTapMetrics } from './tap-metrics.ts';

export interface MetricsOptions extends StreamMetricsOptions {
  readonly defects: Pick<Defects, 'count' | 'caught'>;
  readonly log: Pick<LogDestination, 'droppedLines'> | undefined;
  /** The connections of each listener. */
  readonly connections: Readonly<Record<'admin' | 'client', Pick<Connections, 'closed' | 'count'>>>;
  /** The limits of tenants, and what they use; `undefined`: there are no limits and no prices. */
  readonly limits: () => (MeteredLimits & Pick<Accounts, 'isStoreUp'>) | undefined;
  /** The store of keys; `undefined`: there is none. */
  readonly keys: () => MeteredKeys | undefined;
  readonly upstreams: MeteredProviders;
  readonly reload: Pick<Reload, 'isSuccessful' | 'loadedMs' | 'needRestart'>;
  /** The certificate of each listener that has one. */
  readonly certificates: Readonly<Record<'admin' | 'client', { readonly validUntilMs: number } | undefined>>;
  readonly requestMemory: Pick<RequestMemory, 'heldBytes' | 'refusals'>;
  readonly refusals: Pick<Refusals, 'counts'>;
  /** The canary, once it sings; `undefined`: there is none. */
  readonly canary: () => Pick<Canary, 'firstTokenMs' | 'lastOkAtMs' | 'runs'> | undefined;
  /** The calls; `undefined`: calls are not served. */
  readonly calls: () => MeteredCalls | undefined;
  /** The realtime conversations that are relayed. */
  readonly realtime: () => MeteredRealtime;
  readonly pressure: MeteredPressure;
  /** The taps that are in force at the moment. */
  readonly taps: () => readonly TapState[];
  /** The event loop's delays in the worst second of the last minute. */
  readonly loopDelayMs: () => LoopDelayMs;
  readonly resource: Resource;
  /** Readers that push the metrics, beside the one that is scraped. */
  readonly readers: readonly IMetricReader[];
}

/** The gateway's metrics: those of streams, and its own. Defined once, for scraping and for pushing. */
export class Metrics {
  readonly streams: StreamMetrics;
  readonly calls: CallMetrics;
  readonly limitStore: LimitStoreMetrics;
  /** The requests whose model began with a name before a slash that no provider has. */
  unknownPrefixes = 0;
  readonly #options: MetricsOptions;
  readonly #provider: MeterProvider;
  readonly #scraped: PrometheusReader;
  readonly #figures: Figures;

  constructor(options: MetricsOptions) {
    this.#options = options;
    this.#scraped = new PrometheusReader((error) => options.defects.caught('metrics', error));
    this.#provider = new MeterProvider({
      resource: options.resource,
      readers: [this.#scraped, ...options.readers],
    });
    const instruments = this.#provider.getMeter('spillway');
    this.#figures = new Figures(instruments);
    this.streams = new StreamMetrics(instruments, options);
    this.#defineCounters();
    this.#defineConnections();
    this.#defineCanary();
    this.#defineReloads();
    defineTapMetrics(instruments, options.taps);
    defineLimitMetrics(instruments, options.limits);
    definePressureMetrics(instruments, options.pressure);
    defineKeyStoreMetrics(instruments, options.keys);
    defineProviderMetrics(instruments, options.upstreams);
    this.limitStore = new LimitStoreMetrics(instruments, options.limits);
    this.calls = new CallMetrics(instruments, options.calls);
    defineRealtimeMetrics(instruments, options.realtime);
    defineProcessFigures(instruments, options.loopDelayMs);
  }

  readonly contentType = 'text/plain; version=0.0.4; charset=utf-8';

  /** Loads the exporter in advance. Never rejects: `text` tries again, and reports a failure. */
  async prepare(): Promise<void> {
    await loadExporter().catch(() => undefined);
  }

  /** The metrics in Prometheus' text format. */
  text(): Promise<string> {
    return this.#scraped.text();
  }

  /** Pushes the last metrics. */
  async close(): Promise<void> {
    await this.#provider.shutdown();
  }

  #defineCounters(): void {
    const { defects, log, meter, requestMemory } = this.#options;
    this.#figures.counters({
      'spillway.requests.refused': [
        '{request}',
        'Requests that were refused because maxRequestMemoryBytes was full',
        () => requestMemory.refusals,
      ],
      'spillway.models.unknown_prefix': [
        '{request}',
        'Requests whose model has a name before a slash that is no provider of several: the first one got them',
        () => this.unknownPrefixes,
      ],
      'spillway.retries': ['{retry}', 'How often a provider was asked again', () => meter.retries],
      'spillway.defects': [
        '{defect}',
        'Defects of the gateway: errors that nobody foresaw, each of which ended one stream, session or task',
        () => defects.count,
      ],
      'spillway.log.lines.dropped': [
        '{line}',
        'Log lines that were dropped because they could not be written',
        () => log?.droppedLines ?? 0,
      ],
    });
  }

  #defineReloads(): void {
    const { reload } = this.#options;
    this.#figures.gauge(
      'spillway.config.last_reload.successful',
      '',
      'Whether the last load of the configuration is in force (1) or was refused (0)',
      (result) => result.observe(reload.isSuccessful ? 1 : 0),
    );
    this.#figures.gauge(
      'spillway.config.last_reload.success.timestamp',
      's',
      'When a configuration was loaded and put in force for the last time, in seconds since 1970',
      (result) => result.observe(reload.loadedMs / 1000),
    );
    this.#figures.gauge(
      'spillway.config.restart_needed',
      '{setting}',
      'Settings that a reload found changed and that are in force only after a restart',
      (result) => result.observe(reload.needRestart.length),
    );
  }

  /** Figures of the canary. There are none without one. */
  #defineCanary(): void {
    const { canary } = this.#options;
    this.#figures.gauge(
      'spillway.canary.last_success.timestamp',
      's',
      "When the canary's stream was last as it should be, or the canary began; seconds since 1970",
      (result) => {
        const singing = canary();
        if (singing !== undefined) result.observe(singing.lastOkAtMs / 1000);
      },
    );
    this.#figures.gauge(
      'spillway.canary.time_to_first_token',
      's',
      "How long the first token took in the canary's latest stream that went well",
      (result) => {
        const { firstTokenMs } = canary() ?? {};
        if (firstTokenMs !== undefined) result.observe(firstTokenMs / 1000);
      },
    );
    this.#figures.counter('spillway.canary.runs', '{stream}', "The canary's streams", (result) => {
      for (const [outcome, count] of Object.entries(canary()?.runs ?? {})) {
        result.observe(count, { result: outcome });
      }
    });
  }

  #defineConnections(): void {
    const { connections, refusals, requestMemory } = this.#options;
    this.#figures.counter(
      'spillway.refusals',
      '{request}',
      'Requests that were answered with an error of the gateway instead of a stream, by its code',
      (result) => {
        for (const [listener, counts] of Object.entries(refusals.counts)) {
          for (const [code, count] of Object.entries(counts)) result.observe(count, { listener, code });
        }
      },
    );
    this.#figures.gauge('spillway.connections', '{connection}', 'Open connections, by state', (result) => {
      for (const [listener, open] of Object.entries(connections)) {
        for (const state of connectionStates) result.observe(open.count(state), { listener, state });
      }
    });
    this.#figures.gauge(
      'spillway.certificate.expiry',
      's',
      'When the certificate of a listener ends, in seconds since 1970',
      (result) => {
        for (const [listener, certificate] of Object.entries(this.#options.certificates)) {
          if (certificate !== undefined) result.observe(certificate.validUntilMs / 1000, { listener });
        }
      },
    );
    this.#figures.counter(
      'spillway.connections.closed',
      '{connection}',
      'Connections that were refused or closed by force',
      (result) => {
        for (const [listener, { closed }] of Object.entries(connections)) {
          for (const [cause, count] of Object.entries(closed)) result.observe(count, { listener, cause });
        }
      },
    );
    this.#figures.gauge(
      'spillway.requests.held',
      'By',
      'Request bodies that are held until their answer begins',
      (result) => result.observe(requestMemory.heldBytes),
    );
  }
}
