import type { Api } from '../../api.ts';
import type { Settings } from '../../config/load.ts';
import { nearest } from '@spillway/core/nearest';
import type { Provider } from '../../config/provider.ts';
import { pressureTargets } from '../../config/pressure-targets.ts';
import type { ModelTarget } from '../../config/read-models.ts';
import { collectReply } from '../../source/collect-reply.ts';
import type { Reply } from '../../source/reply.ts';
import type { Finding } from './finding.ts';

/** The longest list that is read. */
const maxListBytes = 8_388_608;

/** What makes a list whole that has pages otherwise. */
export const wholeList: Readonly<Record<Api, string>> = {
  openai: '',
  anthropic: 'limit=1000',
  gemini: 'pageSize=1000',
  azure: '',
  ollama: '',
};

/** Models by the names that their provider lists; `undefined`: it gave no list, or one from which nothing follows. */
export type ListedModels = ReadonlySet<string> | undefined;

/**
 * The names in a list of models. `undefined`: it is something else, or has more pages, or is that of a simulated provider, which has
 * any model. Azure lists models, and is asked for deployments.
 */
export async function readListedModels(reply: Reply, api: Api, timeoutMs: number): Promise<ListedModels> {
  const isSimulated = reply.header('x-spillway-simulated') !== undefined;
  const body = await collectReply(reply, maxListBytes, timeoutMs).catch(() => undefined);
  return body === undefined || isSimulated || api === 'azure' ? undefined : namesIn(body.toString());
}

function namesIn(text: string): ListedModels {
  try {
    const list = JSON.parse(text) as {
      readonly data?: readonly { readonly id: string }[];
      readonly models?: readonly { readonly name: string }[];
      readonly has_more?: boolean;
      readonly nextPageToken?: string;
    };
    const names = list.data?.map(({ id }) => id) ?? list.models?.map(({ name }) => name) ?? [];
    const hasMore = list.has_more === true || (list.nextPageToken ?? '') !== '';
    if (hasMore || names.length === 0) return undefined;
    // Gemini's have a folder, and Ollama's a tag that may be left out.
    return new Set(names.flatMap((name) => [name, name.replace(/^models\/|:latest$/, '')]));
  } catch {
    return undefined;
  }
}

/** Whether the targets of each model are models of their providers, as far as these list them. */
export function checkModels(
  { models }: Pick<Settings, 'models'>,
  listed: ReadonlyMap<Provider, ListedModels>,
): Finding[] {
  return models.map(({ name, targets }) => {
    const check = `model ${name}`;
    const absent = targets.filter((target) => listed.get(target.provider)?.has(target.model) === false);
    if (absent.length > 0) {
      const message = `${absent.map((target) => absence(target, listed.get(target.provider))).join(' ')} Requests for it fail there, unless it is one that the provider does not list.`;
      return { check, status: 'warn', message };
    }
    const unknown = targets.filter(({ provider }) => listed.get(provider) === undefined);
    const message =
      unknown.length === 0
        ? `Its providers list ${namesOf(targets)}.`
        : `It goes to ${namesOf(targets)}; not looked for, because there is no list: ${namesOf(unknown)}.`;
    return { check, status: 'ok', message };
  });
}

/** Whether the models that answer under pressure are ones of their providers, as far as these list them. */
export function checkPressureModels(
  settings: Pick<Settings, 'config' | 'models' | 'providers'>,
  listed: ReadonlyMap<Provider, ListedModels>,
): Finding[] {
  return modelsOfRules(settings).flatMap(({ level, model, targets }): Finding[] => {
    const absent = targets.filter((target) => listed.get(target.provider)?.has(target.model) === false);
    if (absent.length === 0 || absent.length < targets.length) return [];
    const message = `${absent.map((target) => absence(target, listed.get(target.provider))).join(' ')} Requests that get ${model} under pressure fail there, unless it is one that the provider does not list.`;
    return [{ check: `pressure ${level}`, status: 'warn', message }];
  });
}

/** The models of rules that are no names of the operator's own: those are checked as such. */
export function modelsOfRules(
  settings: Pick<Settings, 'config' | 'models' | 'providers'>,
): { readonly level: number; readonly model: string; readonly targets: readonly ModelTarget[] }[] {
  return settings.config.pressure.flatMap(({ level, model }) =>
    model === undefined || settings.models.some(({ name }) => name === model)
      ? []
      : [{ level, model, targets: pressureTargets(model, settings) }],
  );
}

function absence({ model, provider }: ModelTarget, names: ListedModels): string {
  const near = nearest(model, [...(names ?? [])]);
  const hint = near === undefined ? '' : ` Did you mean ${near}?`;
  return `${provider.name} (${provider.api}) does not list ${model}.${hint}`;
}

function namesOf(targets: readonly ModelTarget[]): string {
  return [...new Set(targets.map(({ model, provider }) => `${provider.name}/${model}`))].join(', ');
}
