import { GatewayError, asGatewayError } from '@spillway/server/errors';
import { nodeClock } from '@spillway/server/time/node-clock';
import type { Api } from '../../api.ts';
import { needsClientKey, type Settings } from '../../config/load.ts';
import type { Provider } from '../../config/provider.ts';
import { providerHeaders } from '../../http/headers.ts';
import { openReply } from '../../provider/open-reply.ts';
import { isRedirect } from '../../provider/redirect.ts';
import { Targets } from '../../provider/targets.ts';
import { ProviderPools } from '../../source/provider-pools.ts';
import type { Finding } from './finding.ts';
import {
  checkModels,
  checkPressureModels,
  type ListedModels,
  modelsOfRules,
  readListedModels,
  wholeList,
} from './listed-models.ts';

/** How long a provider may take, unless `connectTimeoutMs` or `responseTimeoutMs` are shorter. */
const checkTimeoutMs = 10_000;

/** The list of models of each API: to ask for it needs a key and generates nothing. */
const lists: Readonly<Record<Api, string>> = {
  openai: '/v1/models',
  anthropic: '/v1/models',
  gemini: '/v1beta/models',
  azure: '/openai/models',
  ollama: '/api/tags',
};
/** The version of Azure's API that the list is asked in, where the provider's URL names none. */
const azureQuery = 'api-version=2024-10-21';

/**
 * Asks each provider for its list of models, over the connections that the gateway would use: with its proxy,
 * its certificates and HTTP/2. Where models have names of the operator's own, their targets are looked for in these lists.
 */
export async function checkProviders(settings: Settings): Promise<Finding[]> {
  const { config, providers } = settings;
  const isOther = providers.some(({ transport }) => transport !== undefined);
  const otherPool = isOther ? (await import('../../source/undici/undici-pool.ts')).UndiciPool : undefined;
  const defects: unknown[] = [];
  const pools = new ProviderPools(config, (error) => defects.push(error), otherPool);
  // No client asks here, so no client's key could be forwarded.
  const targets = new Targets({ pools, areKeysOurs: true });
  const hasKeys = needsClientKey(settings);
  try {
    const models = [...settings.models, ...modelsOfRules(settings)];
    const named = new Set(models.flatMap((model) => model.targets.map(({ provider }) => provider)));
    const listed = new Map<Provider, ListedModels>();
    const found = await Promise.all(
      providers.map((provider) => {
        const onList = named.has(provider) ? listed.set.bind(listed, provider) : undefined;
        return checkProvider(provider, targets, hasKeys, onList);
      }),
    );
    return [...found, ...checkModels(settings, listed), ...checkPressureModels(settings, listed)];
  } finally {
    pools.destroy();
  }
}

/** `onList`: gets the models that it lists; `undefined`: nobody wants them. */
async function checkProvider(
  provider: Provider,
  targets: Targets,
  hasKeys: boolean,
  onList: ((models: ListedModels) => void) | undefined,
): Promise<Finding> {
  const { api, name } = provider;
  const check = `provider ${name} (${api})`;
  const aborting = new AbortController();
  const timer = setTimeout(() => {
    aborting.abort(
      new GatewayError('upstream_timeout', `The provider did not answer within ${checkTimeoutMs} ms.`),
    );
  }, checkTimeoutMs);
  try {
    const azureVersion = api === 'azure' && !provider.query?.includes('api-version=') ? azureQuery : '';
    const query = azureVersion || (onList === undefined ? '' : wholeList[api]);
    const { credential, path, pool } = targets.find(
      provider,
      { path: lists[api], query, queryKey: undefined },
      {},
    );
    const version = api === 'anthropic' ? { 'anthropic-version': '2023-06-01' } : {};
    const headers = providerHeaders({ accept: 'application/json', ...version }, credential);
    const reply = await openReply(
      pool,
      { method: 'GET', path, headers, body: null },
      {
        clock: nodeClock,
        retries: 0,
        connectRetries: 0,
        signal: aborting.signal,
        onRetry: () => undefined,
      },
    );
    const { status } = reply;
    const redirected = isRedirect(reply);
    if (onList === undefined || status !== 200) reply.discard();
    else onList(await readListedModels(reply, api, checkTimeoutMs));
    return { check, ...(redirected ? elsewhere(status) : judged(status, provider, hasKeys)) };
  } catch (error) {
    const { code, message } = asGatewayError(error);
    return { check, status: 'fail', message: `${message} (${code})` };
  } finally {
    clearTimeout(timer);
  }
}

type Judgement = Omit<Finding, 'check'>;

function elsewhere(status: number): Judgement {
  const message = `It redirects to another place (${status}), where the gateway does not follow: name that place in url.`;
  return { status: 'fail', message };
}

/** What the status of a list of models says about the provider and its key. */
function judged(status: number, { api, apiKey }: Provider, hasKeys: boolean): Judgement {
  if (status >= 200 && status < 300) {
    const key = apiKey === undefined ? 'It answers, without a key.' : 'It answers, and accepts the key.';
    return { status: 'ok', message: key };
  }
  // Gemini answers 400 to a wrong key.
  if (status === 401 || status === 403 || (status === 400 && api === 'gemini')) {
    if (apiKey !== undefined) {
      return { status: 'fail', message: `It refuses the key (${status}): mend the key, or keyHeader.` };
    }
    if (!hasKeys) {
      return { status: 'ok', message: `It answers (${status} without a key): clients send their own.` };
    }
    const message = `It needs a key (${status}), and has none: set apiKeyEnv or apiKeyFile. With keys of its own, the gateway forwards no client's key.`;
    return { status: 'fail', message };
  }
  if (status === 404 || status === 405) {
    const message = `It answers, but has no list of models there (${status}), so the key was not tried: is the base URL right?`;
    return { status: 'warn', message };
  }
  return {
    status: 'warn',
    message: `It answers with status ${status}, so the key was not tried: try again later.`,
  };
}
