import type { Socket } from 'node:net';
import { type Assault, chat } from '../assault.ts';
import { message, openSession } from '../web-socket.ts';

const model = 'sim:tps=2000,ttft=0,tokens=1000000,size=100';

/** Asks for streams without end and reads none of them, by HTTP and over sessions whose credit is large. */
export function slowReaders(assault: Assault): void {
  let count = 0;
  assault.keep(24, 6, (): Socket => {
    count += 1;
    if (count % 2 === 0) return assault.connect(chat(assault, model));
    const socket = openSession(assault);
    const frame = {
      type: 'request',
      stream: 1,
      reader: `siege-reader-that-is-slow-${count}`,
      windowBytes: 1_048_576,
      method: 'POST',
      path: '/v1/chat/completions',
      headers: { authorization: `Bearer ${assault.target.key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model, stream: true, messages: [] }),
    };
    socket.write(message(JSON.stringify(frame)));
    return socket;
  });
}
