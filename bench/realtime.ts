import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';
import { quantile, startGateway } from './programs.ts';

/** 100 ms of what a model says, at 24 kHz in base64. */
const event = JSON.stringify({ type: 'response.output_audio.delta', item_id: 'i', delta: 'A'.repeat(6400) });
const conversations = 20;
const events = 3000;
const echoes = 2000;

/** What the relay of realtime conversations costs: straight to a model, and through the gateway, in the same run. */
export async function realtime(): Promise<void> {
  const server = createServer();
  const sockets = new WebSocketServer({ server, perMessageDeflate: false });
  sockets.on('connection', (socket) => {
    socket.on('message', (data) => {
      if ((data as Buffer).toString() !== 'talk') socket.send(data, { binary: false });
      else for (let sent = 0; sent < events; sent += 1) socket.send(event);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const gateway = await startGateway(url);
  // Twice, so that both are warm.
  for (const round of ['warm-up', 'measured']) {
    const direct = await measure(url);
    const relayed = await measure(gateway.url);
    if (round === 'warm-up') continue;
    console.log(`an echo: direct ${line(direct.echoMs)}; relayed ${line(relayed.echoMs)}`);
    console.log(
      `${conversations} models that talk as fast as they can: direct ${direct.eventsPerS} events a second, relayed ${relayed.eventsPerS}: ${(relayed.eventsPerS / direct.eventsPerS).toFixed(2)} of it, or ${Math.round(relayed.eventsPerS / 10)} times real time`,
    );
  }
  sockets.close();
  for (const socket of sockets.clients) socket.terminate();
  server.close();
}

async function measure(url: string): Promise<{ readonly echoMs: number[]; readonly eventsPerS: number }> {
  const path = `${url.replace('http', 'ws')}/v1/realtime?model=m`;
  const opened = await Promise.all(
    Array.from({ length: conversations }, async () => {
      const socket = new WebSocket(path, { perMessageDeflate: false });
      await once(socket, 'open');
      return socket;
    }),
  );
  const [first] = opened;
  if (first === undefined) throw new Error('there is no conversation');
  const echoMs: number[] = [];
  for (let count = 0; count < echoes; count += 1) {
    const sentMs = performance.now();
    first.send(event);
    await once(first, 'message');
    echoMs.push(performance.now() - sentMs);
  }
  const beganMs = performance.now();
  await Promise.all(
    opened.map(
      (socket) =>
        new Promise<void>((resolve) => {
          let came = 0;
          socket.on('message', () => {
            came += 1;
            if (came === events) resolve();
          });
          socket.send('talk');
        }),
    ),
  );
  const seconds = (performance.now() - beganMs) / 1000;
  for (const socket of opened) socket.close();
  return { echoMs, eventsPerS: Math.round((conversations * events) / seconds) };
}

function line(values: readonly number[]): string {
  return `p50 ${quantile(values, 0.5).toFixed(2)} ms, p99 ${quantile(values, 0.99).toFixed(2)} ms`;
}
