import type { IncomingHttpHeaders } from 'node:http';

/** The number of headers that Node takes by HTTP. */
export const maxHeaders = 2000;

const name = /^[\w!#$%&'*+.^`|~-]{1,256}$/;
const value = /^[\t\x20-\x7e\x80-\xff]{0,8192}$/;

/** The bytes of a header by HTTP beside its name and value: a colon, a space, and the end of the line. */
const overheadBytes = 4;

/** Whether these are headers of a request, each name once in any case. */
export function areHeaders(headers: unknown): headers is Readonly<Record<string, string>> {
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) return false;
  const entries = Object.entries(headers);
  return (
    entries.every(([key, text]) => name.test(key) && typeof text === 'string' && value.test(text)) &&
    new Set(entries.map(([key]) => key.toLowerCase())).size === entries.length
  );
}

/** Whether a request with this path and these headers is at most as large as one by HTTP may be. */
export function fitHeaders(
  path: string,
  headers: Readonly<Record<string, string>>,
  maxHeaderBytes: number,
): boolean {
  const entries = Object.entries(headers);
  const bytes = entries.reduce(
    (sum, [key, text]) => sum + key.length + text.length + overheadBytes,
    path.length,
  );
  return entries.length <= maxHeaders && bytes <= maxHeaderBytes;
}

/** The headers as Node gives those of a request by HTTP. */
export function lowerCased(headers: Readonly<Record<string, string>>): IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).map(([key, text]) => [key.toLowerCase(), text]));
}
