import type { CallsOptions, CallWatcher } from './calls.ts';
import type { Metrics } from '../telemetry/metrics.ts';
import type { Tracing } from '../telemetry/tracing.ts';

/** Tells metrics and traces what happens in calls. */
export function watchCalls(
  metrics: Pick<Metrics, 'calls'>,
  tracing: Pick<Tracing, 'startCall'> | undefined,
): CallsOptions['watch'] {
  return ({ call }, { api }) => {
    const traced = tracing?.startCall({ call, api });
    return {
      saw: (event) => {
        metrics.calls.saw(event);
        traced?.(event);
      },
    };
  };
}

/** Two that look on. */
export function watchBoth(one: CallsOptions['watch'], other: CallsOptions['watch']): CallsOptions['watch'] {
  return (...call) => {
    const watching: CallWatcher[] = [one(...call), other(...call)];
    const hearing = watching.flatMap(({ heard }) => heard ?? []);
    return {
      saw: (event, limit) => {
        for (const { saw } of watching) saw(event, limit);
      },
      heard:
        hearing.length === 0
          ? undefined
          : (from, audio) => {
              for (const heard of hearing) heard(from, audio);
            },
    };
  };
}
