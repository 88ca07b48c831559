import type { Assault } from '../assault.ts';
import { message, openSession } from '../web-socket.ts';

const reader = 'siege-reader-that-nobody-knows';
/** Many enough that the answers of a second are more than a kernel takes. */
const perBurst = 800;

type Frame = (stream: number) => object;

/** Resumes readers that nobody knows. */
export function sessionResumes(assault: Assault): void {
  flood(assault, (stream) => ({ type: 'resume', stream, reader, headers: {}, offset: 0, acked: 0 }));
}

/** Sends requests that are refused, and reads of streams that do not exist. */
export function sessionRefusals(assault: Assault): void {
  const base = { reader, windowBytes: 1024, headers: {} };
  flood(assault, (stream) => {
    const name = `${reader}-${stream}`;
    return stream % 2 === 0
      ? {
          ...base,
          type: 'request',
          stream,
          reader: name,
          method: 'POST',
          path: '/v1/chat/completions',
          body: '{}',
        }
      : { ...base, type: 'read', stream, reader: name, url: '/streams/none', from: 0, overflow: 'latest' };
  });
}

/** Sends such frames over sessions that take no answer, each with the next number of a stream and given up at once. */
function flood(assault: Assault, frame: Frame): void {
  assault.keep(12, 6, () => {
    const socket = openSession(assault);
    let stream = 0;
    assault.pump(socket, 20, () => {
      const frames: Buffer[] = [];
      for (let count = 0; count < perBurst; count += 1) {
        stream += 1;
        frames.push(message(JSON.stringify(frame(stream))));
        frames.push(message(JSON.stringify({ type: 'detach', stream })));
      }
      return Buffer.concat(frames);
    });
    return socket;
  });
}
