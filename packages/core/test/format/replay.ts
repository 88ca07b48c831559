import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

/** The body of a streamed reply: in one piece, or as the network cut it. */
export type SseBody = Uint8Array | readonly Uint8Array[];

/** Makes the `fetch` that an SDK is given: it answers every request with the body. */
export type Replay = (body: SseBody) => typeof fetch;

/**
 * Answers in memory. An SDK takes its `fetch` as an option and reads the same `Response` as from a
 * socket; without one, a property test gets through several times as many streams a second.
 */
export const replayInMemory: Replay = (body) => () =>
  Promise.resolve(
    new Response(stream(pieces(body)), { headers: { 'content-type': 'text/event-stream; charset=utf-8' } }),
  );

/** Answers from a real server on a free port, where the pieces meet a real socket. */
export async function openReplayServer(): Promise<{ replay: Replay; close: () => Promise<void> }> {
  const bodies = new Map<string, readonly Uint8Array[]>();
  const server = createServer((request, response) => {
    request.resume();
    const body = bodies.get(request.url ?? '');
    if (body === undefined) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    const writeNext = (index: number): void => {
      const piece = body[index];
      if (piece === undefined) response.end();
      else response.write(piece, () => writeNext(index + 1));
    };
    writeNext(0);
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    replay: (body) => {
      const path = `/${bodies.size}`;
      bodies.set(path, pieces(body));
      return (_input, init) => fetch(`http://127.0.0.1:${port}${path}`, init);
    },
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => (error === undefined ? resolve() : reject(error)));
        server.closeAllConnections();
      }),
  };
}

function pieces(body: SseBody): readonly Uint8Array[] {
  return body instanceof Uint8Array ? [body] : body;
}

function stream(chunks: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  let next = 0;
  return new ReadableStream({
    pull(controller) {
      const chunk = chunks[next];
      next += 1;
      if (chunk === undefined) controller.close();
      // A copy, as from a socket: an SDK may keep what it reads or give its buffer away.
      else controller.enqueue(chunk.slice());
    },
  });
}
