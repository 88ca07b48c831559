import { parseAddress } from './address.ts';
import { checkNumber, checkWindow, type ClientOptions, resolveSessionOptions } from './client-options.ts';
import { ClientError } from './errors.ts';
import { fitsFrame, keyHeadersOf, mergeHeaders, toRecord } from './headers.ts';
import type { Opening } from './opening.ts';
import type { ReaderInit, StreamReadInit, StreamRequestInit } from './reader-init.ts';
import { Session } from './session.ts';
import { createSessionFetch, type SpillwayFetch } from './session-fetch.ts';
import { SessionStream } from './session-stream.ts';
import type { StreamReader } from './stream-reader.ts';

/** A connection to a gateway, opened when it is needed, for any number of streams. */
export interface Client extends AsyncDisposable {
  /** The same function as `createFetch` returns. */
  readonly fetch: SpillwayFetch;
  /**
   * Sends a `POST` over the session, whether its answer streams or not, and reads the answer. The request cannot go by
   * plain HTTP: the reader fails with `no_session`, `message_too_large` or `too_many_streams`.
   */
  request(input: string | URL, init?: StreamRequestInit): StreamReader;
  /**
   * Reads a stream by its URL: a reader's `url`, or the `Content-Location` of a response. The reader fails with
   * `not_found` if there is no such stream for this key. If the gateway does not keep the chunk at `from` any more, the
   * reader fails with `history_gone`.
   */
  read(url: string | URL, init?: StreamReadInit): StreamReader;
  /**
   * Detaches all readers, which fail with `closed`, and closes the connection. No model is stopped at once, but the
   * gateway stops a model whose readers do not come back.
   */
  close(): Promise<void>;
}

// The largest offset that a frame can carry.
const maxOffset = 2 ** 48 - 1;
const maxWindowMs = 2 ** 32 - 1;

/**
 * Opens a client, for programs that acknowledge chunks themselves. To have official SDKs stream through a gateway,
 * `createFetch` is enough.
 *
 * @throws {ClientError} `invalid_option`
 * @example
 * ```ts
 * await using client = openClient({ url: 'http://127.0.0.1:8080' });
 * const body = JSON.stringify({ model: 'gpt-5', stream: true, messages });
 * const reader = client.request('/v1/chat/completions', { body });
 * for await (const item of reader) {
 *   if (item.type === 'chunk') await play(item.bytes);
 *   reader.ack(item.to);
 * }
 * ```
 */
export function openClient(options: ClientOptions): Client {
  const address = parseAddress(options.url);
  const session = new Session(resolveSessionOptions(options, address.sessionUrl));
  const windowBytes = checkWindow('windowBytes', options.windowBytes ?? 16_384);
  const ownLeave = options.leave ?? 'cancel';

  function open(
    opening: Opening,
    init: ReaderInit,
    leave: 'cancel' | 'detach',
    hasFallback = false,
  ): SessionStream {
    const path = opening.type === 'request' ? opening.path : opening.url;
    const merged = mergeHeaders(options.headers, init.headers);
    if (opening.type === 'request' && !merged.has('content-type')) {
      merged.set('content-type', 'application/json');
    }
    const headers = toRecord(merged);
    const stream = new SessionStream(session, {
      opening,
      headers,
      keyHeaders: keyHeadersOf(headers, path),
      windowBytes: checkWindow('windowBytes', init.windowBytes ?? windowBytes),
      windowMs:
        init.windowMs === undefined ? undefined : checkNumber('windowMs', init.windowMs, 1, maxWindowMs),
      autoAck: init.autoAck ?? false,
      leave,
      signal: init.signal,
    });
    if (fitsFrame(path, headers)) void session.open(stream, hasFallback);
    else stream.fail(new ClientError('message_too_large', 'A session takes no path or header like this.'));
    return stream;
  }

  function request(
    input: string | URL,
    { body = '', leave = ownLeave, ...init }: StreamRequestInit = {},
    hasFallback = false,
  ): SessionStream {
    const path = address.pathOf(String(input));
    return open({ type: 'request', method: 'POST', path, body }, init, leave, hasFallback);
  }

  const close = (): Promise<void> => session.close();
  return {
    fetch: createSessionFetch({
      options,
      address,
      request: (path, init) => request(path, init, true),
      close,
    }),
    request: (input, init) => request(input, init),
    read(url, { from = 'start', leave = 'detach', maxBytes, merges, overflow = 'disconnect', ...init } = {}) {
      if (typeof from === 'number') checkNumber('from', from, 0, maxOffset);
      if (maxBytes !== undefined) checkWindow('maxBytes', maxBytes);
      const path = address.pathOf(String(url));
      return open({ type: 'read', url: path, from, overflow, maxBytes, merges }, init, leave);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
