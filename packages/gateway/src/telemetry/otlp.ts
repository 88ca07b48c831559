import type { IMetricReader } from '@opentelemetry/sdk-metrics';
import type { Resource } from '@opentelemetry/resources';
import type { Sampler } from '@opentelemetry/sdk-trace';
import type { Tracing } from './tracing.ts';

type Environment = Readonly<Record<string, string | undefined>>;

const defaultMetricIntervalMs = 60_000;
const maxExportMs = 30_000;

/** The readers that push metrics: one if OpenTelemetry's variables name an endpoint, else none. */
export async function metricReaders(env: Environment): Promise<readonly IMetricReader[]> {
  if (!isAsked(env, 'METRICS')) return [];
  const { OTLPMetricExporter } = await import('@opentelemetry/exporter-metrics-otlp-proto');
  const { PeriodicExportingMetricReader } = await import('@opentelemetry/sdk-metrics');
  const askedMs = Number(env['OTEL_METRIC_EXPORT_INTERVAL']);
  const exportIntervalMillis = askedMs > 0 ? askedMs : defaultMetricIntervalMs;
  return [
    new PeriodicExportingMetricReader({
      exporter: new OTLPMetricExporter(),
      exportIntervalMillis,
      exportTimeoutMillis: Math.min(maxExportMs, exportIntervalMillis),
    }),
  ];
}

/**
 * Opens tracing if OpenTelemetry's variables name an endpoint; `undefined`: they do not, and streams have no spans.
 * At most 2048 spans wait to be pushed; more are dropped.
 */
export async function openTracing(env: Environment, resource: Resource): Promise<Tracing | undefined> {
  if (!isAsked(env, 'TRACES')) return undefined;
  const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-proto');
  const { BatchSpanProcessor } = await import('@opentelemetry/sdk-trace');
  const { Tracing } = await import('./tracing.ts');
  const processor = new BatchSpanProcessor({ exporter: new OTLPTraceExporter() });
  return new Tracing(resource, [processor], await samplerOf(env));
}

/**
 * Whether the variables ask for this signal. The exporters read the other variables (headers, timeouts, compression,
 * certificates) themselves.
 */
function isAsked(env: Environment, signal: 'METRICS' | 'TRACES'): boolean {
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return false;
  if (env[`OTEL_${signal}_EXPORTER`] === 'none') return false;
  const endpoint = env[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`] ?? env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  return endpoint !== undefined && endpoint !== '';
}

/**
 * The sampler of `OTEL_TRACES_SAMPLER`. Default: as the request's own trace context decides; without one, every span
 * is taken.
 */
async function samplerOf(env: Environment): Promise<Sampler> {
  const { AlwaysOffSampler, AlwaysOnSampler, ParentBasedSampler, TraceIdRatioBasedSampler } =
    await import('@opentelemetry/sdk-trace');
  const [, isParentBased, name] =
    /^(parentbased_)?(.*)$/.exec(env['OTEL_TRACES_SAMPLER'] ?? 'parentbased_always_on') ?? [];
  let root: Sampler = new AlwaysOnSampler();
  if (name === 'always_off') root = new AlwaysOffSampler();
  if (name === 'traceidratio')
    root = new TraceIdRatioBasedSampler(Number(env['OTEL_TRACES_SAMPLER_ARG'] ?? 1));
  return isParentBased === undefined ? root : new ParentBasedSampler({ root });
}
