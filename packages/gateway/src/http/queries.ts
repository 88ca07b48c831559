/**
 * The query of a request to a provider: the query of the provider's configured URL, and the client's pairs
 * whose names are not in it.
 */
export function joinQueries(configured: string | undefined, asked: string): string {
  if (configured === undefined) return asked === '' ? '' : `?${asked}`;
  const fixed = new URLSearchParams(configured);
  const rest = asked
    .split('&')
    .filter((pair) => pair !== '' && !namesIn(pair).some((name) => fixed.has(name)));
  return `?${[configured, ...rest].join('&')}`;
}

/** The name in a pair of a query, decoded. */
function namesIn(pair: string): string[] {
  return [...new URLSearchParams(pair).keys()];
}
