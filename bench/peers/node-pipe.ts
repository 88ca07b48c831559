// The yardstick: what twenty lines of Node do. No limits, no errors, no end markers.
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';

const [upstream = '', host = '127.0.0.1'] = process.argv.slice(2);
const server = createServer((incoming, outgoing) => {
  const { headers, method, url } = incoming;
  const onward = request(upstream + url, { method, headers }, (reply) => {
    outgoing.writeHead(reply.statusCode ?? 502, reply.headers);
    outgoing.flushHeaders();
    reply.pipe(outgoing);
  });
  outgoing.on('close', () => onward.destroy());
  onward.on('error', () => outgoing.destroy());
  incoming.pipe(onward);
});
server.listen(0, host, () => {
  console.log(`listening on http://${host}:${(server.address() as AddressInfo).port}`);
});
