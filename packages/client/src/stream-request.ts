/** A request as a session sends it: all its parts are text. */
export interface TextRequest {
  readonly method: string;
  /** The path with its query. */
  readonly path: string;
  readonly body: string;
}

/**
 * Whether the answer to a request is a stream of events. OpenAI and Anthropic requests say so in the body. Gemini
 * requests say so in the address, where another `alt` than `sse` means one JSON array.
 */
export function isStreamRequest({ body, method, path }: TextRequest): boolean {
  if (method !== 'POST') return false;
  const [pathname = '', query] = path.split('?', 2);
  if (pathname.includes(':streamGenerateContent')) return new URLSearchParams(query).get('alt') === 'sse';
  // Most bodies that do not stream need not be parsed.
  if (!body.includes('"stream"')) return false;
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === 'object' && value !== null && 'stream' in value && value.stream === true;
  } catch {
    return false;
  }
}

/** The text of a body that is text; `undefined` for any other body, and for none. */
export function textOf(body: unknown): string | undefined {
  if (typeof body === 'string') return body;
  if (!(body instanceof ArrayBuffer) && !(body instanceof Uint8Array)) return undefined;
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
  } catch {
    return undefined;
  }
}
