import type { Socket } from 'node:net';

/**
 * Stops a WebSocket's parser from listening to its socket, and returns the parser as a function. The parser handles
 * all that it is given at once, and cannot be stopped.
 */
export function takeParser(tcp: Socket): (bytes: Buffer) => void {
  const listener = tcp.listeners('data').at(-1) as ((bytes: Buffer) => void) | undefined;
  if (listener === undefined) throw new Error('expected a listener: the parser of ws');
  tcp.off('data', listener);
  return (bytes) => listener.call(tcp, bytes);
}
