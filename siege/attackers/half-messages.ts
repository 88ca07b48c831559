import type { Assault } from '../assault.ts';
import { message, messageHead, openSession } from '../web-socket.ts';

const bytes = 1_000_000;

/** Sends most of a message, or fragments of one that never ends, and then nothing more. */
export function halfMessages(assault: Assault): void {
  const most = Buffer.concat([messageHead(bytes), Buffer.alloc(bytes - 1000, 0x20)]);
  const tiny = Buffer.concat(
    Array.from({ length: 20_000 }, (_, index) =>
      message('x', { isFinal: false, opcode: index === 0 ? 1 : 0 }),
    ),
  );
  let count = 0;
  assault.keep(400, 40, () => {
    count += 1;
    const socket = openSession(assault);
    socket.write(count % 4 === 0 ? tiny : most);
    return socket;
  });
}
