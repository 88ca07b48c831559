import type { CallsOptions } from './calls.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Tracing } from '../telemetry/tracing.ts';

/** Tells metrics and traces what happens in calls. */
export function watchCalls(
  metrics: Pick<Metrics, 'calls'>,
  tracing: Pick<Tracing, 'startCall'> | undefined,
): CallsOptions['watch'] {
  return ({ call }, { api }) => {
    const traced = tracing?.startCall({ call, api });
    return (event) => {
      metrics.calls.saw(event);
      traced?.(event);
    };
  };
}

/** Two that look on. */
export function watchBoth(one: CallsOptions['watch'], other: CallsOptions['watch']): CallsOptions['watch'] {
  return (...call) => {
    const watching = [one(...call), other(...call)];
    return (event) => {
      for (const saw of watching) saw(event);
    };
  };
}
