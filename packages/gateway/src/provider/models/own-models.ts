import type { Api } from '../../api.ts';
import { fitsAny } from '../../config/glob.ts';
import type { ModelAlias } from '../../config/read-models.ts';
import type { Route } from '../../http/route.ts';

/** The APIs with a list of models in which names of the operator's own stand, and the member that is the list. */
export const members = { openai: 'data', anthropic: 'data', gemini: 'models' } as const satisfies Partial<
  Record<Api, string>
>;

/** An API that lists models by names of the operator's own. */
export type ListingApi = keyof typeof members;

/** What asks for a further page. OpenAI's list has one. */
const furtherKeys: Readonly<Record<ListingApi, readonly string[]>> = {
  openai: [],
  anthropic: ['after_id', 'before_id'],
  gemini: ['pageToken'],
};

/** What of a client's request for models the gateway answers itself. */
export interface AskedModels {
  readonly api: ListingApi;
  /** The one model that is asked for; `undefined`: a list, from its beginning. */
  readonly name: string | undefined;
}

/** Whether a request is for a list of models or for one model; `undefined`: it is not, or for a further page of a list. */
export function askedModels(
  method: string,
  { api, path, query }: Pick<Route, 'api' | 'path' | 'query'>,
): AskedModels | undefined {
  const found = /^\/v1\w*\/models(?:\/([^:]+))?$/.exec(path);
  if (method !== 'GET' || found === null || !isListing(api)) return undefined;
  const [, name] = found;
  const pages = new URLSearchParams(query);
  const isFurther = furtherKeys[api].some((key) => (pages.get(key) ?? '') !== '');
  if (name === undefined) return isFurther ? undefined : { api, name };
  try {
    return { api, name: decodeURIComponent(name) };
  } catch {
    return undefined;
  }
}

/**
 * The names of the operator's own that a client of an API may ask for: those with a target of that API. `allowed`: the patterns
 * of those that it may use; `undefined`: all.
 */
export function ownNames(
  aliases: readonly ModelAlias[],
  api: ListingApi,
  allowed: readonly string[] | undefined,
): string[] {
  return aliases
    .filter(({ targets }) => targets.some(({ provider }) => provider.api === api))
    .filter(({ name }) => allowed === undefined || fitsAny(allowed, name))
    .map(({ name }) => name);
}

/** A model by a name of the operator's own, as a client of an API gets it. When it was made is not known: 1970. */
export function ownModel(api: ListingApi, name: string): string {
  return JSON.stringify(forms[api](name));
}

const forms: Readonly<Record<ListingApi, (name: string) => object>> = {
  openai: (name) => ({ id: name, object: 'model', created: 0, owned_by: 'spillway' }),
  anthropic: (name) => ({
    type: 'model',
    id: name,
    display_name: name,
    created_at: '1970-01-01T00:00:00Z',
  }),
  gemini: (name) => ({
    name: `models/${name}`,
    displayName: name,
    // All that may be asked of it: which of these its targets can do, is theirs.
    supportedGenerationMethods: ['generateContent', 'countTokens', 'embedContent'],
  }),
};

/** Such models in the form of a list's: JSON objects with commas between them, empty without any. */
export function ownModels(api: ListingApi, names: readonly string[]): Buffer {
  return Buffer.from(names.map((name) => ownModel(api, name)).join(','));
}

function isListing(api: Api): api is ListingApi {
  return Object.hasOwn(members, api);
}
