import type { Socket } from 'node:net';

const carriers = new WeakMap<Socket, Socket>();

/** Notes the TCP connection that carries a TLS connection. Call it once, before the TLS connection is used. */
export function setTcp(secure: Socket, tcp: Socket): void {
  carriers.set(secure, tcp);
}

/** The TCP connection that carries the bytes of a socket: the connection under TLS, or else the socket itself. */
export function tcpOf(socket: Socket): Socket {
  return carriers.get(socket) ?? socket;
}
