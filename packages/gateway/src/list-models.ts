import type { IncomingHttpHeaders } from 'node:http';
import { z } from 'zod';
import type { Provider } from './config/load.ts';
import { asGatewayError, GatewayError } from './errors.ts';
import { providerHeaders } from './headers.ts';
import { collectReply } from './source/collect-reply.ts';
import { openReply } from './source/open-reply.ts';
import type { Relay } from './relay.ts';

/** The longest list of one provider. */
const maxListBytes = 4_194_304;
const timeoutMs = 10_000;

const modelList = z.object({ data: z.array(z.looseObject({ id: z.string() })) });
type Model = z.infer<typeof modelList>['data'][number];

/**
 * The models of all these providers, as `provider/model`. A provider that does not answer is left out and
 * named to `onError`.
 *
 * @throws {GatewayError} when none answers: the first one's error.
 */
export async function listModels(
  providers: readonly Provider[],
  headers: IncomingHttpHeaders,
  relay: Relay,
  onError: (provider: string, error: unknown) => void,
): Promise<Model[]> {
  const lists = await Promise.allSettled(providers.map((provider) => listOf(provider, headers, relay)));
  const models: Model[] = [];
  let firstError: GatewayError | undefined;
  for (const [index, list] of lists.entries()) {
    if (list.status === 'fulfilled') {
      models.push(...list.value);
      continue;
    }
    firstError ??= asGatewayError(list.reason);
    onError(providers[index]?.name ?? '', list.reason);
  }
  if (firstError !== undefined && lists.every(({ status }) => status === 'rejected')) throw firstError;
  return models;
}

async function listOf(provider: Provider, headers: IncomingHttpHeaders, relay: Relay): Promise<Model[]> {
  const route = { path: '/v1/models', query: '', queryKey: undefined };
  const { credential, path, pool } = relay.target(provider, route, headers);
  const timeout = new AbortController();
  const timer = setTimeout(
    () =>
      timeout.abort(
        new GatewayError('upstream_timeout', `The provider did not answer within ${timeoutMs} ms.`),
      ),
    timeoutMs,
  );
  try {
    const reply = await openReply(
      pool,
      {
        method: 'GET',
        path,
        headers: providerHeaders({ accept: 'application/json' }, credential),
        body: null,
      },
      { retries: 0, signal: timeout.signal, onRetry: () => undefined },
    );
    const body = await collectReply(reply, maxListBytes, timeoutMs);
    const parsed = reply.status === 200 ? modelList.safeParse(JSON.parse(body.toString('utf8'))) : undefined;
    if (parsed?.success !== true) {
      throw new GatewayError(
        'upstream_invalid',
        `The provider answered its model list with status ${reply.status}.`,
        {
          status: reply.status >= 400 ? reply.status : 502,
        },
      );
    }
    return parsed.data.data.map((model) => ({ ...model, id: `${provider.name}/${model.id}` }));
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new GatewayError(
        'upstream_invalid',
        'The provider answered its model list in something else than JSON.',
        {
          cause: error,
        },
      );
    }
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
