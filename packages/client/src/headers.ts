// Headers that only a transport may set; a browser's `fetch` leaves them out as well.
const transportHeaders = new Set([
  'connection',
  'content-length',
  'host',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
]);
const keyNames = new Set(['authorization', 'x-api-key', 'x-goog-api-key']);

/** Merges the client's own headers with a request's, which replace the client's of the same name. */
export function mergeHeaders(own: HeadersInit | undefined, request: HeadersInit | undefined): Headers {
  const merged = new Headers(own);
  for (const [name, value] of new Headers(request)) merged.set(name, value);
  return merged;
}

/** The headers as a frame carries them. */
export function toRecord(headers: Headers): Record<string, string> {
  return Object.fromEntries([...headers].filter(([name]) => !transportHeaders.has(name)));
}

/** The headers that carry the key: a reader comes back with the same key. Gemini allows the key in the query too. */
export function keyHeadersOf(
  headers: Readonly<Record<string, string>>,
  path: string,
): Record<string, string> {
  const keys = Object.fromEntries(Object.entries(headers).filter(([name]) => keyNames.has(name)));
  const key = new URLSearchParams(path.split('?', 2)[1]).get('key');
  if (key !== null) keys['x-goog-api-key'] ??= key;
  return keys;
}

// Limits of the gateway: a longer path or header in a frame would end the whole session, while HTTP answers with an
// error.
const maxChars = 8192;
const valueOfFrame = /^[\t\x20-\x7e\x80-\xff]{0,8192}$/;
const maxNameChars = 256;

/** Whether a frame can carry the path and the headers. */
export function fitsFrame(path: string, headers: Readonly<Record<string, string>>): boolean {
  return (
    path.length <= maxChars &&
    Object.entries(headers).every(([name, value]) => name.length <= maxNameChars && valueOfFrame.test(value))
  );
}
