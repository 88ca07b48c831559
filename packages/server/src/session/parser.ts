import type { Socket } from 'node:net';

/**
 * Takes the place of a WebSocket's parser as the one who listens to the socket: the parser handles all that it is given at
 * once, with no way to stop it.
 */
export function takeParser(tcp: Socket): (bytes: Buffer) => void {
  const listener = tcp.listeners('data').at(-1) as ((bytes: Buffer) => void) | undefined;
  if (listener === undefined) throw new Error('expected a listener: the parser of ws');
  tcp.off('data', listener);
  return (bytes) => listener.call(tcp, bytes);
}
