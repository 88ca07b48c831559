import type { Caller } from '@spillway/server/access/caller';
import { asGatewayError, clientLeft, GatewayError } from '@spillway/server/errors';
import { LimitError } from '@spillway/server/limit/limit-error';
import type { SessionRequests } from '@spillway/server/session/session-requests';
import type { GatewayStream } from '@spillway/server/stream/stream';
import type { ServerClock } from '@spillway/server/time/server-clock';
import { OwnResponse } from './own-response.ts';

export interface OwnFetchOptions {
  readonly clock: Pick<ServerClock, 'soon'>;
  /** Opens streams as for clients. */
  readonly requests: SessionRequests;
  /** Whose the requests are. No key is looked at: whoever has this function may ask. */
  readonly caller: Caller;
  /** For log lines, traces and taps: the call that asks. */
  readonly requestId: string;
  /** Called when a limit of the caller refuses or ends an answer. */
  readonly onLimit: (error: LimitError) => void;
}

/** Where {@link openOwnFetch} asks, which looks at the path alone: no such host exists, and none is asked. */
export const ownUrl = 'http://gateway.invalid';

/**
 * A `fetch` that asks this gateway itself, as a client does by its port, and without one: there are no connection, no TLS and no
 * key, and nobody else can reach it. Takes `POST` with a body in text.
 */
export function openOwnFetch({ caller, clock, onLimit, requestId, requests }: OwnFetchOptions): typeof fetch {
  return async (input, { body, headers: given, signal } = {}) => {
    signal?.throwIfAborted();
    const { pathname, search } = new URL(input instanceof Request ? input.url : input);
    const headers = { ...Object.fromEntries(new Headers(given)), 'user-agent': 'spillway-call' };
    const request = requests.read({ method: 'POST', path: pathname + search, headers });
    const asker = { caller, headers, requestId, queryKey: request.queryKey, address: undefined };
    let stream: GatewayStream;
    try {
      if (typeof body !== 'string') throw new TypeError('expected a body in text');
      stream = request.open(body, asker);
    } catch (thrown) {
      if (!(thrown instanceof GatewayError)) throw thrown;
      return answerOf(thrown);
    }
    const response = new OwnResponse({ clock, errors: request.errors, onLeave: () => stop() });
    const reader = stream.attach(response, { wantsEvents: true, via: 'call', requestId });
    const stop = (): void => {
      signal?.removeEventListener('abort', leave);
      reader.detach(clientLeft('does not want the answer any more'));
      // What nobody hears is not made, whatever `detach` says for clients, who may come back.
      stream.cancel(clientLeft('does not want the answer any more'));
    };
    const leave = (): void => {
      stop();
      response.close(clientLeft('has stopped the answer'));
    };
    signal?.addEventListener('abort', leave, { once: true });
    void response.settled.then(() => signal?.removeEventListener('abort', leave));
    stream.signal.addEventListener('abort', () => noteLimit(stream.signal.reason), { once: true });
    try {
      return await response.answer;
    } catch (error) {
      signal?.throwIfAborted();
      throw asGatewayError(error);
    }

    function answerOf(error: GatewayError): Response {
      noteLimit(error);
      const { body: text, headers: told } = error.answer(request.errors);
      return new Response(new Uint8Array(text), { status: error.status, headers: told });
    }
  };

  function noteLimit(error: unknown): void {
    // A bound of one answer ends that one alone.
    if (error instanceof LimitError && error.reached.scope !== 'answer') onLimit(error);
  }
}
