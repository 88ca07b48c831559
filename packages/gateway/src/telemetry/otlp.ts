import type { IMetricReader } from '@opentelemetry/sdk-metrics';
import type { Resource } from '@opentelemetry/resources';
import type { Sampler } from '@opentelemetry/sdk-trace';
import type { Tracing } from './tracing.ts';

type Environment = Readonly<Record<string, string | undefined>>;

const defaultMetricIntervalMs = 60_000;
const maxExportMs = 30_000;

/** Who pushes metrics, if OpenTelemetry's variables name somebody to push them to. */
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
 * Spans for whoever OpenTelemetry's variables name, `undefined` if nobody: then streams have none. At most 2048 wait
 * to be pushed; more are dropped.
 */
export async function openTracing(env: Environment, resource: Resource): Promise<Tracing | undefined> {
  if (!isAsked(env, 'TRACES')) return undefined;
  const { OTLPTraceExporter } = await import('@opentelemetry/exporter-trace-otlp-proto');
  const { BatchSpanProcessor } = await import('@opentelemetry/sdk-trace');
  const { Tracing } = await import('./tracing.ts');
  const processor = new BatchSpanProcessor({ exporter: new OTLPTraceExporter() });
  return new Tracing(resource, [processor], await samplerOf(env));
}

/** The exporters read the other variables (headers, timeouts, compression, certificates) themselves. */
function isAsked(env: Environment, signal: 'METRICS' | 'TRACES'): boolean {
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return false;
  if (env[`OTEL_${signal}_EXPORTER`] === 'none') return false;
  const endpoint = env[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`] ?? env['OTEL_EXPORTER_OTLP_ENDPOINT'];
  return endpoint !== undefined && endpoint !== '';
}

/** `OTEL_TRACES_SAMPLER`, with the default that it has: whoever sampled the request decides, else all are taken. */
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
