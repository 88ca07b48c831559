import type { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { DataPointType, type MetricData, MetricReader } from '@opentelemetry/sdk-metrics';

/** The words for units in metric names: OpenTelemetry's "Prometheus and OpenMetrics Compatibility". */
const unitWords: Readonly<Record<string, string>> = { By: 'bytes', s: 'seconds' };

/** The reader for Prometheus: metrics are collected when Prometheus asks. */
export class PrometheusReader extends MetricReader {
  readonly #onError: (error: unknown) => void;

  /** `onError` gets the error of each metric that could not be read. That metric is left out. */
  constructor(onError: (error: unknown) => void) {
    super();
    this.#onError = onError;
  }

  async text(): Promise<string> {
    const exporter = await loadExporter();
    // No labels for the scope and no series for the resource: there is only one of each.
    const serializer = new exporter.PrometheusSerializer(undefined, false, undefined, true, true);
    const { errors, resourceMetrics } = await this.collect();
    for (const error of errors) this.#onError(error);
    const scopeMetrics = resourceMetrics.scopeMetrics.map(({ metrics, scope }) => ({
      scope,
      metrics: metrics.map(named),
    }));
    return serializer.serialize({ ...resourceMetrics, scopeMetrics });
  }

  protected override async onForceFlush(): Promise<void> {}

  protected override async onShutdown(): Promise<void> {}
}

/**
 * Loads the exporter. That takes a tenth of the start's time, so it happens after the start. The first scrape would
 * be too late: no descriptor may be free then.
 */
export function loadExporter(): Promise<{ readonly PrometheusSerializer: typeof PrometheusSerializer }> {
  return import('@opentelemetry/exporter-prometheus');
}

/** Adds the unit to the metric's name, unless the name has it already. */
function named(metric: MetricData): MetricData {
  const { name, unit } = metric.descriptor;
  const isGauge = metric.dataPointType === DataPointType.GAUGE;
  const word = unit === '1' && isGauge ? 'ratio' : unitWords[unit];
  const suffix = word === undefined || name.split(/[._]/).includes(word) ? '' : `.${word}`;
  return { ...metric, descriptor: { ...metric.descriptor, name: name + suffix, unit: '' } };
}
