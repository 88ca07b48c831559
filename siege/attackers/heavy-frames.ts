import type { Assault } from '../assault.ts';
import { message, openSession } from '../web-socket.ts';

/** Sends frames with tens of thousands of headers, and some with headers that together are as long as a message may be. */
export function heavyFrames(assault: Assault): void {
  const many = Object.fromEntries(Array.from({ length: 60_000 }, (_, index) => [`x${index}`, '']));
  const long = Object.fromEntries(Array.from({ length: 120 }, (_, index) => [`x${index}`, 'x'.repeat(8000)]));
  // Written once: they are the attacker's work as well.
  const [manyJson, longJson] = [many, long].map((headers) => JSON.stringify(headers).slice(1));
  const authorization = JSON.stringify(`Bearer ${assault.target.key}`);
  let count = 0;
  assault.keep(8, 4, () => {
    const socket = openSession(assault);
    let stream = 0;
    assault.pump(socket, 1, () => {
      count += 1;
      stream += 1;
      const rest = {
        type: 'request',
        stream,
        reader: `siege-reader-that-is-heavy-${count}`,
        windowBytes: 1024,
        method: 'POST',
        path: '/v1/chat/completions',
        body: '{"model":"evil/swallow","stream":true}',
      };
      const headers = `{"authorization":${authorization},${count % 2 === 0 ? manyJson : longJson}`;
      const frame = `${JSON.stringify(rest).slice(0, -1)},"headers":${headers}}`;
      return Buffer.concat([message(frame), message(JSON.stringify({ type: 'detach', stream }))]);
    });
    return socket;
  });
}
