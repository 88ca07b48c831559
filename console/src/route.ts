import { useEffect, useState } from 'preact/hooks';

/** What the address names. */
export type Route =
  | { readonly view: 'overview' }
  | { readonly view: 'playground' }
  | { readonly view: 'stream'; readonly id: string };

export function streamHref(id: string): string {
  return `#/streams/${encodeURIComponent(id)}`;
}

function parseRoute(hash: string): Route {
  const [first, second] = hash.replace(/^#?\/?/, '').split('/');
  if (first === 'playground') return { view: 'playground' };
  if (first === 'streams' && second !== undefined && second !== '') {
    return { view: 'stream', id: decodeURIComponent(second) };
  }
  return { view: 'overview' };
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
