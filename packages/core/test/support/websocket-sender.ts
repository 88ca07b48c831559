/** A process of its own, so that what waits at a sender is not in the memory that a test looks at. */
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';

const [count = 0, bytes = 0] = process.argv.slice(2).map(Number);

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
server.on('listening', () => process.send?.({ port: (server.address() as AddressInfo).port }));
server.on('connection', (socket) => {
  socket.on('error', () => undefined);
  for (let index = 0; index < count; index += 1) {
    const message = Buffer.alloc(bytes);
    message.writeUInt32BE(index);
    socket.send(message);
  }
  socket.send('end');
  const timer = setInterval(() => process.send?.({ bufferedAmount: socket.bufferedAmount }), 20);
  socket.on('close', (code) => {
    clearInterval(timer);
    process.send?.({ closed: code });
  });
});
// Nobody is left for whom it would go on.
process.on('disconnect', () => process.exit());
