import type { PrometheusSerializer } from '@opentelemetry/exporter-prometheus';
import { DataPointType, type MetricData, MetricReader } from '@opentelemetry/sdk-metrics';

/** How units are spelled in names: OpenTelemetry's "Prometheus and OpenMetrics Compatibility". */
const unitWords: Readonly<Record<string, string>> = { By: 'bytes', s: 'seconds' };

/** Prometheus' way to metrics: they are read when it asks. */
export class PrometheusReader extends MetricReader {
  readonly #onError: (error: unknown) => void;

  /** `onError` is told of a metric that could not be read, and is left out. */
  constructor(onError: (error: unknown) => void) {
    super();
    this.#onError = onError;
  }

  async text(): Promise<string> {
    const exporter = await loadExporter();
    // Neither labels for the scope nor a series of its own for the resource: there is one of each.
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
 * The exporter's code. Loading it is a tenth of the time to start, so it is loaded behind the start, and not when somebody asks:
 * there may be no descriptor then.
 */
export function loadExporter(): Promise<{ readonly PrometheusSerializer: typeof PrometheusSerializer }> {
  return import('@opentelemetry/exporter-prometheus');
}

/** Puts the unit into the name, unless it is there already. */
function named(metric: MetricData): MetricData {
  const { name, unit } = metric.descriptor;
  const isGauge = metric.dataPointType === DataPointType.GAUGE;
  const word = unit === '1' && isGauge ? 'ratio' : unitWords[unit];
  const suffix = word === undefined || name.split(/[._]/).includes(word) ? '' : `.${word}`;
  return { ...metric, descriptor: { ...metric.descriptor, name: name + suffix, unit: '' } };
}
