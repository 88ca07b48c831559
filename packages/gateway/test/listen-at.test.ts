import { execFileSync } from 'node:child_process';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fastify } from 'fastify';
import pino from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { Defects } from '@spillway/server/defects';
import { Connections } from '../src/http/connections.ts';
import { listenAt } from '../src/server/listen-at.ts';
import { TrustedProxies } from '../src/http/trusted-proxies.ts';
import { listeningUrl } from '../src/http/listening-url.ts';

/** Connects so often, while nothing else runs here, and leaves. */
const crowd = `
  const { connect } = require('node:net');
  const [port, count] = process.argv.slice(1).map(Number);
  let open = 0;
  for (let index = 0; index < count; index += 1) {
    connect(port, '127.0.0.1').on('connect', () => ++open === count && process.exit());
  }`;

/** In how many turns so many connections are taken that wait all at once. */
async function turnsFor(count: number, listeners: number): Promise<number> {
  const connections = new Connections({
    maxConnections: 1000,
    maxConnectionsPerAddress: 1000,
    areKeysRequired: true,
    proxies: new TrustedProxies([]),
    defects: new Defects(pino({ level: 'silent' })),
    hasProxyHeaders: false,
    onRefused: () => undefined,
    answerTimeoutMs: 1000,
    secureContext: undefined,
  });
  const server = fastify({ logger: false });
  let taken = 0;
  server.server.on('connection', () => (taken += 1));
  connections.own(server.server);
  await listenAt(server, connections, '127.0.0.1', 0, listeners);
  onTestFinished(async () => {
    connections.closeAll();
    await server.close();
  });
  const { port } = new URL(listeningUrl(server.server));
  execFileSync(process.execPath, ['--eval', crowd, port, String(count)]);
  for (let turns = 0; ; turns += 1) {
    if (taken >= count) return turns;
    await nextTurn();
  }
}

test.runIf(process.platform === 'linux')(
  'promise 26: several connections are taken in a turn, so that a flood does not fill the queue of those who wait',
  async () => {
    // As many of Node's loop as there are connections, with one socket.
    expect(await turnsFor(64, 1)).toBeGreaterThanOrEqual(60);
    // The system spreads them at random: on one of eight sockets there are 24 of 64 once in ten million times.
    expect(await turnsFor(64, 8)).toBeLessThan(24);
  },
);
