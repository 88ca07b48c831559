import { randomBytes } from 'node:crypto';
import { type Assault, chat } from '../assault.ts';
import { message, openSession } from '../web-socket.ts';

const model = 'sim:tps=50,ttft=50,tokens=200';

/** Asks for streams with a key and leaves them at any moment; comes back to some over another connection, and leaves again. */
export function leavers(assault: Assault): void {
  const headers = { authorization: `Bearer ${assault.target.key}`, 'content-type': 'application/json' };
  let count = 0;
  assault.every(10, () => {
    count += 1;
    const stayMs = (count * 37) % 1000;
    if (count % 2 === 0) {
      const socket = assault.connect(chat(assault, model), { reads: true });
      setTimeout(() => assault.drop(socket), stayMs);
      return;
    }
    const reader = randomBytes(18).toString('base64url');
    const first = openSession(assault);
    first.write(
      message(
        JSON.stringify({
          type: 'request',
          stream: 1,
          reader,
          windowBytes: 16_384,
          method: 'POST',
          path: '/v1/chat/completions',
          headers,
          body: JSON.stringify({ model, stream: true, messages: [] }),
        }),
      ),
    );
    setTimeout(() => {
      assault.drop(first);
      const second = openSession(assault);
      const resume = { type: 'resume', stream: 1, reader, headers, offset: 0, acked: 0 };
      second.write(message(JSON.stringify(resume)));
      setTimeout(() => assault.drop(second), stayMs);
    }, stayMs);
  });
}
