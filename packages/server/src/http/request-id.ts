import type { IncomingMessage } from 'node:http';

/** The header in which every answer has the id of its request. */
export const requestIdHeader = 'x-spillway-request-id';

/** The longest id of somebody else that is kept. */
const foreignId = /^[\w.:/+=@-]{1,128}$/;

const ids = new WeakMap<IncomingMessage, string>();

/** Notes the id of a request. Call it once, when the request comes. */
export function setRequestId(request: IncomingMessage, id: string): void {
  ids.set(request, id);
}

/** The id of a request, for logs and answers; `undefined`: its server gives none. */
export function requestIdOf(request: IncomingMessage): string | undefined {
  return ids.get(request);
}

/** The first of the ids that others gave to a request, if it is short and has no characters that a log could not show. */
export function foreignRequestId(
  headers: Readonly<NodeJS.Dict<string | string[]>>,
  names: readonly string[],
): string | undefined {
  for (const name of names) {
    const value = headers[name];
    if (typeof value === 'string' && foreignId.test(value)) return value;
  }
  return undefined;
}
