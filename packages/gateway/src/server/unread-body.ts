import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import { hasBody } from '../http/receive-body.ts';

/** How long a client may go on to send a body that nobody wants, after its answer. */
const lingerMs = 2000;
/** How long the body of a request may take that is answered with a stream and should have none. */
const maxUnwantedMs = 60_000;

/**
 * Leaves the bodies of requests to whoever wants them: a server reads none by itself. A request that is answered before
 * all of its body has come is the last of its connection, which is closed as soon as the rest has come, or after 2 s.
 * What comes until then is thrown away: a connection that is closed with something unread takes the answer with it.
 */
export function leaveBodies(server: FastifyInstance): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', (_request, _payload, done) => done(null));
  server.addHook('onSend', async ({ method, raw }, reply, payload) => {
    if (!hasBody(raw)) return payload;
    // What came together with its head is there in the next turn.
    if (!raw.complete) await nextTurn();
    if (raw.complete) return payload;
    void reply.header('connection', 'close');
    // Of a HEAD nothing is written before its end.
    if (method === 'HEAD' || (typeof payload !== 'string' && !Buffer.isBuffer(payload))) return payload;
    void reply.header('content-length', Buffer.byteLength(payload));
    return Readable.from(lingering(payload, raw), { objectMode: false });
  });
}

/** Throws a body away that comes while its request is answered, and the connection with it if that takes too long. */
export function throwAway(request: IncomingMessage): void {
  if (request.complete || !hasBody(request)) return;
  const timer = setTimeout(() => request.destroy(), maxUnwantedMs);
  const stop = (): void => clearTimeout(timer);
  request.once('end', stop).once('close', stop).resume();
}

/** An answer that ends when there is nothing more to throw away. */
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
    // It has left.
  } finally {
    clearTimeout(timer);
  }
}
