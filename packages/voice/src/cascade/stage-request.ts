import { StageError } from './stage-error.ts';

/** The longest text of somebody else that is passed on in a message, in characters. */
const maxTextLength = 300;
/** The most of an error's body that is looked at, in bytes. */
const maxErrorBytes = 16_384;

/** What a stage asks for. */
export interface StageRequest {
  /** Who is asked, in messages: `The speaker`. */
  readonly who: string;
  readonly url: URL;
  /** With the key. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: FormData | string;
  readonly signal: AbortSignal;
  /** What is not to be in any message. */
  readonly secret: string | undefined;
  /** Default: the platform's. */
  readonly fetch?: typeof fetch | undefined;
}

/**
 * Asks a stage by HTTP.
 *
 * @returns the response, if its status says that it worked.
 * @throws {StageError} if not, and the signal's reason when it was aborted.
 */
export async function askStage({
  body,
  fetch: ask = fetch,
  headers,
  secret,
  signal,
  url,
  who,
}: StageRequest): Promise<Response> {
  let response: Response;
  try {
    response = await ask(url, { method: 'POST', headers, body, signal, redirect: 'error' });
  } catch (error) {
    signal.throwIfAborted();
    // A socket's message has addresses, and nothing secret.
    const cause = error instanceof Error ? error.cause : undefined;
    const why = cause instanceof Error ? cause.message : '';
    throw new StageError('unreachable', `${who} cannot be reached: ${why}.`, { cause: error });
  }
  if (response.ok) return response;
  const said = await textOf(response, signal);
  const clean = secret === undefined || secret === '' ? said : said.replaceAll(secret, '…');
  throw refusal(response, `${who} answered ${response.status}: ${clean.slice(0, maxTextLength)}`);
}

function refusal({ headers, status }: Response, message: string): StageError {
  if (status === 401 || status === 403) return new StageError('unauthorized', message);
  const seconds = Number(headers.get('retry-after') ?? Number.NaN);
  const wait = seconds >= 0 ? { retryAfterMs: seconds * 1000 } : {};
  if (status === 429) return new StageError('rate_limited', message, wait);
  return new StageError(status >= 500 || status === 408 ? 'unreachable' : 'refused', message, wait);
}

/** What an error says: the message of its JSON, or the beginning of its body. */
async function textOf({ body }: Response, signal: AbortSignal): Promise<string> {
  let bytes = Buffer.alloc(0);
  try {
    // Leaving the loop cancels the body.
    for await (const chunk of body ?? []) {
      bytes = Buffer.concat([bytes, chunk]);
      if (bytes.byteLength > maxErrorBytes) break;
    }
  } catch {
    signal.throwIfAborted();
  }
  const text = bytes.toString('utf8', 0, maxErrorBytes);
  try {
    const parsed = JSON.parse(text) as { readonly error?: { readonly message?: unknown } } | null;
    const message = parsed?.error?.message;
    return typeof message === 'string' ? message : text;
  } catch {
    return text;
  }
}
