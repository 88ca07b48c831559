// A bridge of a few lines with @spillway/voice. The second argument is the window, in milliseconds.
import type { AddressInfo } from 'node:net';
import { acceptTwilio, carrierSocketOptions, openCall, openOpenAiRealtime } from '@spillway/voice';
import { type WebSocket, WebSocketServer } from 'ws';

const [url = '', windowMs = '800'] = process.argv.slice(2);
const server = new WebSocketServer({ ...carrierSocketOptions, host: '127.0.0.1', port: 0 });
server.on('connection', (socket) => {
  answer(socket).catch((error: unknown) => console.error(error));
});
server.on('listening', () => {
  console.log(`listening on ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
});

async function answer(socket: WebSocket): Promise<void> {
  openCall({
    carrier: await acceptTwilio(socket),
    model: openOpenAiRealtime({ url, model: 'gpt-realtime-2' }),
    greeting: 'Say hello.',
    windowMs: Number(windowMs),
  });
}
