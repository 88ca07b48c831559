import type { GatewayStream } from '@spillway/server/stream/stream';
import type { Provider } from '../config/provider.ts';
import type { Limiter } from '../limit/limiter.ts';
import { spellings } from './pressed-for.ts';
import type { RunningAnswer } from './stop-answers.ts';

/** Those of the streams that can be ended as a whole message: some of their events have come, and more are to. */
export function* runningAnswers(
  streams: Iterable<GatewayStream>,
  limiter: Pick<Limiter, 'priorityOf'> | undefined,
  providers: readonly Pick<Provider, 'api' | 'name'>[],
): Generator<RunningAnswer> {
  for (const stream of streams) {
    if (!canBeWhole(stream) || stream.origin.isOwn === true) continue;
    const { client, model, origin, startedMs } = stream;
    const { api, name, others } = origin;
    // As for its request: a name of the operator's own is the model of none, and of an API the first provider needs no name.
    const isFirst = others !== undefined || providers.find((provider) => provider.api === api)?.name === name;
    yield {
      tenant: client.tenant,
      priority: limiter?.priorityOf({ tenant: client.tenant, owner: undefined }) ?? 'normal',
      names: spellings(model, name, isFirst),
      startedMs,
      stop(error) {
        stream.journal.add('gave_way', null, 'stopped');
        stream.cut(error, stream.limits?.limit?.counted);
      },
    };
  }
}

function canBeWhole({ body, end, events, limits, signal }: GatewayStream): boolean {
  const isStopped = end !== undefined || signal.aborted || limits?.cut !== undefined;
  return !isStopped && events > 0 && body?.format !== undefined;
}
