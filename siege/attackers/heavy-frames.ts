import type { Assault } from '../assault.ts';
import { message, openSession } from '../web-socket.ts';

/** Sends frames with tens of thousands of headers, and with a few that are as long as a message may be. */
export function heavyFrames(assault: Assault): void {
  const many = Object.fromEntries(Array.from({ length: 60_000 }, (_, index) => [`x${index}`, '']));
  const long = Object.fromEntries(Array.from({ length: 120 }, (_, index) => [`x${index}`, 'x'.repeat(8000)]));
  const messages = [many, long].map((headers) => {
    const frame = {
      type: 'request',
      stream: 1,
      reader: 'siege-reader-that-is-heavy',
      windowBytes: 1024,
      method: 'POST',
      path: '/v1/chat/completions',
      headers: { ...headers, authorization: `Bearer ${assault.target.key}` },
      body: '{"model":"evil/swallow","stream":true}',
    };
    return message(JSON.stringify(frame));
  });
  let count = 0;
  assault.keep(8, 2, () => {
    count += 1;
    const socket = openSession(assault);
    socket.write(messages[count % messages.length] ?? '');
    return socket;
  });
}
