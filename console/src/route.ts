import { useEffect, useState } from 'preact/hooks';
import type { EndedFacet } from '../../packages/server/src/console/snapshot.ts';

/** The documents of the gateway that the page can show. */
export const docNames = ['runbook', 'errors', 'operating', 'providers'] as const;
export type DocName = (typeof docNames)[number];

export type EndedFilter = Readonly<Partial<Record<EndedFacet, string>>>;

/** What the address names. */
export type Route =
  | { readonly view: 'overview' | 'playground' | 'gateway' | 'providers' | 'taps' | 'tenants' | 'calls' }
  | { readonly view: 'ended'; readonly filter: EndedFilter }
  | { readonly view: 'docs'; readonly doc: DocName; readonly section: string }
  | { readonly view: 'stream'; readonly id: string };

export function streamHref(id: string): string {
  return `#/streams/${encodeURIComponent(id)}`;
}

export function endedHref(filter: EndedFilter = {}): string {
  const query = new URLSearchParams(filter).toString();
  return query === '' ? '#/ended' : `#/ended?${query}`;
}

/** A section of a document: a heading's name, as it stands behind `#` in links. */
export function docHref(doc: DocName, section = ''): string {
  return `#/docs/${doc}${section === '' ? '' : `/${section}`}`;
}

const facets = ['state', 'provider', 'model', 'key', 'code'] as const satisfies readonly EndedFacet[];

function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#?\/?/, '').split('?');
  const [first, second = '', third = ''] = path.split('/');
  switch (first) {
    case 'playground':
    case 'gateway':
    case 'providers':
    case 'taps':
    case 'tenants':
    case 'calls':
      return { view: first };
    case 'ended': {
      const given = new URLSearchParams(query);
      const filter: Partial<Record<EndedFacet, string>> = {};
      for (const facet of facets) {
        const value = given.get(facet);
        if (value !== null) filter[facet] = value;
      }
      return { view: 'ended', filter };
    }
    case 'docs': {
      const doc = docNames.find((name) => name === second);
      return doc === undefined ? { view: 'overview' } : { view: 'docs', doc, section: third };
    }
    case 'streams':
      return second === '' ? { view: 'overview' } : { view: 'stream', id: decoded(second) };
    default:
      return { view: 'overview' };
  }
}

/** Anybody may write anything into an address. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function useRoute(): Route {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const onChange = (): void => setHash(location.hash);
    addEventListener('hashchange', onChange);
    return () => removeEventListener('hashchange', onChange);
  }, []);
  return parseRoute(hash);
}
