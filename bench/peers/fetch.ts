// What most applications do: ask with `fetch` and write what comes. With `drain` it waits while the reader is behind.
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

const [upstream = '', host = '127.0.0.1', waits] = process.argv.slice(2);

const server = createServer((incoming, outgoing) => {
  answer(incoming, outgoing).catch(() => outgoing.destroy());
});
server.listen({ port: 0, host, backlog: 4096 }, () => {
  console.log(`listening on http://${host}:${(server.address() as AddressInfo).port}`);
});

async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const headers = { 'content-type': 'application/json', authorization: incoming.headers.authorization ?? '' };
  const body = await text(incoming);
  const reply = await fetch(`${upstream}${incoming.url}`, { method: 'POST', headers, body });
  outgoing.writeHead(reply.status, { 'content-type': 'text/event-stream' });
  outgoing.flushHeaders();
  for await (const bytes of reply.body ?? []) {
    if (!outgoing.write(bytes) && waits === 'drain') await once(outgoing, 'drain');
  }
  outgoing.end();
}
