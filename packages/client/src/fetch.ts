import { openClient } from './client.ts';
import { checkOptions, type ClientOptions } from './client-options.ts';
import { type SpillwayFetch, withClose } from './session-fetch.ts';

/** The options of a client; without a `url` nothing goes through a gateway. */
export type FetchOptions = Omit<ClientOptions, 'url'> & { readonly url?: string | undefined };

/**
 * Makes a `fetch` whose streams survive a lost connection, and whose streams wait for a slow consumer. Hand it to an
 * official SDK.
 *
 * Requests that stream (`"stream": true`, or Gemini's `:streamGenerateContent?alt=sse`) share one WebSocket to the
 * gateway. All other requests go to the gateway by plain HTTP, and so do streaming requests when no WebSocket can be
 * opened. Only the path and query of a request count: the origin is the gateway's, whatever the SDK was configured
 * with.
 *
 * A chunk of a response counts as consumed when its body is asked for the next one, so a body that nobody reads takes
 * no more than `windowBytes`. To abort, or to cancel the body, stops the model. Without a `url`, the result is the
 * plain `fetch`.
 *
 * The promise rejects and the body fails with a {@link ClientError}, or with an error of the plain `fetch`.
 *
 * @throws {ClientError} `invalid_option`
 * @example
 * ```ts
 * const fetch = createFetch({ url: process.env.SPILLWAY_URL });
 * const openai = new OpenAI({ apiKey: 'none', fetch }); // or the gateway's key
 * ```
 */
export function createFetch(options: FetchOptions = {}): SpillwayFetch {
  const { url } = options;
  if (url !== undefined) return openClient({ ...options, url }).fetch;
  // Wrong options throw even without a `url`.
  checkOptions(options);
  const plain = options.fetch ?? globalThis.fetch;
  // A method of `window` must not be called on anything else.
  return withClose(
    (input, init) => plain(input, init),
    () => Promise.resolve(),
  );
}
