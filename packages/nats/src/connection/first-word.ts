import { createConnection } from 'node:net';

/**
 * Resolves when a server has said its first word, as every NATS does to whoever connects. The client library leaves a
 * connection open for minutes that it could not make in time: one to a server that is silent is not even tried.
 */
export function hearFirstWord(server: string, signal: AbortSignal): Promise<void> {
  const colon = server.lastIndexOf(':');
  const host = server.slice(0, colon).replace(/^\[|\]$/g, '');
  const { promise, reject, resolve } = Promise.withResolvers<void>();
  const socket = createConnection({ host, port: Number(server.slice(colon + 1)) });
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  socket.once('data', () => resolve());
  socket.once('error', reject);
  socket.once('close', () => reject(new Error('the server has closed the connection')));
  return promise.finally(() => {
    signal.removeEventListener('abort', onAbort);
    socket.destroy();
  });
}
