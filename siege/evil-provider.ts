/** A provider that answers wrongly on purpose: which way, the model's name says. Prints where it listens. */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { faults } from './evil-faults.ts';

/** The model stands within so many bytes of either end of a body, and no more of it is kept. */
const keptBytes = 1024;

const server = createServer((request) => void answer(request));
server.timeout = 0;
server.on('connection', (socket) => socket.on('error', () => undefined));
server.listen(0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

/** From here on it is up to the fault what comes. Nobody ever gets its list of models. */
async function answer(request: IncomingMessage): Promise<void> {
  const name = await nameOf(request);
  if (name !== undefined) faults[name]?.(request.socket);
}

/** `undefined` if it left before it had asked. */
async function nameOf(request: IncomingMessage): Promise<string | undefined> {
  const inPath = /\/models\/([\w-]+):/.exec(request.url ?? '')?.[1];
  let first = '';
  let last = '';
  try {
    for await (const bytes of request as AsyncIterable<Buffer>) {
      if (first.length < keptBytes) first += bytes.subarray(0, keptBytes).toString('latin1');
      last = (last + bytes.subarray(-keptBytes).toString('latin1')).slice(-keptBytes);
    }
  } catch {
    return undefined;
  }
  if (request.method === 'GET') return 'silent';
  const inBody = `${first}${last}`.matchAll(/"model":"([\w-]+)"/g);
  const named = [inPath, ...[...inBody].map(([, name]) => name)];
  return named.find((name) => name !== undefined && name in faults) ?? 'swallow';
}
