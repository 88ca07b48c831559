import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import { hasBody } from '../http/receive-body.ts';

/** How long a client may send the rest of an unwanted body after its answer. */
const lingerMs = 2000;
/** Of a body that is no longer the rest is dropped, and the connection stays: a new one costs both sides more. */
const smallBytes = 65_536;
/** How long an unwanted body may take to arrive when the request is answered with a stream. */
const maxUnwantedMs = 60_000;

/**
 * Leaves bodies to the routes that want them: the server itself reads none. A request that is answered before its
 * whole body has come is the connection's last, unless the body is small. The connection closes when the rest has come, or
 * after 2 s. The rest is read and dropped, because a connection that closes with unread bytes may lose the answer. Many
 * clients send head and body one after the other: with a small body they keep their connection if the rest comes in time.
 */
export function leaveBodies(server: FastifyInstance): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', (_request, _payload, done) => done(null));
  server.addHook('onSend', async ({ method, raw }, reply, payload) => {
    if (!hasBody(raw)) return payload;
    // A body that came together with its head is complete in the next turn.
    if (!raw.complete) await nextTurn();
    if (raw.complete) return payload;
    const isLast = !reply.raw.shouldKeepAlive || reply.getHeader('connection') === 'close';
    if (!isLast && Number(raw.headers['content-length'] ?? Infinity) <= smallBytes) {
      throwAway(raw, lingerMs);
      return payload;
    }
    void reply.header('connection', 'close');
    // The answer to a HEAD is written only at its end, so it cannot wait here for the rest.
    if (method === 'HEAD' || (typeof payload !== 'string' && !Buffer.isBuffer(payload))) return payload;
    void reply.header('content-length', Buffer.byteLength(payload));
    return Readable.from(lingering(payload, raw), { objectMode: false });
  });
}

/** Reads and drops a body while its request is answered. Ends the connection if that takes too long. */
export function throwAway(request: IncomingMessage, timeoutMs = maxUnwantedMs): void {
  if (request.complete || !hasBody(request)) return;
  const timer = setTimeout(() => request.destroy(), timeoutMs);
  const stop = (): void => clearTimeout(timer);
  request.once('end', stop).once('close', stop).resume();
}

/** The answer, which ends only when the rest of the body has come. */
async function* lingering(
  answer: string | Buffer,
  request: IncomingMessage,
): AsyncGenerator<string | Buffer> {
  yield answer;
  const timer = setTimeout(() => request.destroy(), lingerMs);
  try {
    for await (const bytes of request.iterator({ destroyOnReturn: false })) {
      void bytes;
      await nextTurn();
    }
  } catch {
    // The client has left.
  } finally {
    clearTimeout(timer);
  }
}
