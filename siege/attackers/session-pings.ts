import type { Assault } from '../assault.ts';
import { message, openSession } from '../web-socket.ts';

/** Asks for signs of life without end, by frames and by WebSocket pings, and takes none of them. */
export function sessionPings(assault: Assault): void {
  const frames = Buffer.concat(Array.from({ length: 3000 }, () => message('{"type":"ping"}')));
  const pings = Buffer.concat(Array.from({ length: 400 }, () => message('x'.repeat(125), { opcode: 9 })));
  for (const flood of [frames, pings]) {
    assault.keep(6, 6, () => {
      const socket = openSession(assault);
      assault.pump(socket, 40, () => flood);
      return socket;
    });
  }
}
