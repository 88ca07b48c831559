/** The query of a request to a provider: what the provider's URL says, and of the client's what that leaves open. */
export function joinQueries(configured: string | undefined, asked: string): string {
  if (configured === undefined) return asked === '' ? '' : `?${asked}`;
  const fixed = new URLSearchParams(configured);
  const rest = asked
    .split('&')
    .filter((pair) => pair !== '' && !namesIn(pair).some((name) => fixed.has(name)));
  return `?${[configured, ...rest].join('&')}`;
}

/** As whoever decodes it reads it. */
function namesIn(pair: string): string[] {
  return [...new URLSearchParams(pair).keys()];
}
