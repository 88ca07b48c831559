import { once } from 'node:events';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { linesOf } from './support/log-lines.ts';
import { eventually, startGateway } from './support/processes.ts';
import { payloads, postChat } from './support/requests.ts';
import { temporaryFolder } from './support/prometheus.ts';

/** What an engine, or something before it, does with each connection that it has accepted. */
const peers: readonly (readonly [string, (socket: Socket) => void])[] = [
  ['closes it at once', (socket) => void socket.destroy()],
  ['resets it at once', (socket) => void socket.resetAndDestroy()],
  ['ends its half at once', (socket) => void socket.end()],
  ['resets it a moment later', (socket) => void setTimeout(() => socket.resetAndDestroy(), 3)],
  ['closes it at the first bytes', (socket) => void socket.once('data', () => socket.destroy())],
  ['resets it at the third bytes', (socket) => closesAt(socket, 3)],
  [
    'answers in a language of its own',
    (socket) => void socket.on('data', () => socket.write('HTTP/1.1 400 No\r\n\r\n')),
  ],
  [
    'says things that are no answer to anything',
    (socket) => void socket.write('+OK\r\n+OK\r\n-ERR no\r\n$-1\r\n'),
  ],
  ['sends noise', (socket) => void socket.write(Buffer.from('00ff7f80deadbeef0000000041', 'hex'))],
  [
    'sends no end of a line',
    (socket) => void socket.on('data', () => socket.write('INFO {"a":'.repeat(1000))),
  ],
];

function closesAt(socket: Socket, count: number): void {
  let left = count;
  socket.on('data', () => {
    socket.write('+OK\r\n');
    if ((left -= 1) === 0) socket.resetAndDestroy();
  });
}

test.each(peers)(
  'no engine ends the process that accepts a connection and %s',
  async (_does, act) => {
    let connections = 0;
    const server = createServer((socket) => {
      connections += 1;
      socket.on('error', () => undefined);
      onTestFinished(() => void socket.destroy());
      act(socket);
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => void server.close());
    const at = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    const aws = `region=us-east-1&endpoint=http://${at}`;
    const engines = {
      redis: `redis://${at}`,
      nats: `nats://${at}/llm?subject=llm`,
      kafka: `kafka://${at}/llm`,
      postgres: `postgres://u:p@${at}/d`,
      sqs: `sqs://sqs.us-east-1.amazonaws.com/123456789012/llm.fifo?${aws}`,
      s3: `s3://bucket/prefix?${aws}`,
    };
    const taps = Object.entries(engines).flatMap(([name, to]) => ['--tap', `name=${name},to=${to}`]);
    const gateway = await startGateway(
      [
        taps,
        ['--limit-store', `redis://${at}`, '--when-limit-store-fails', 'open'],
        ['--api-keys-store', `redis://${at}`],
        ['--tenant', 'name=shop,tokensPerDay=1000000'],
      ].flat(),
      {
        cwd: temporaryFolder(),
        env: {
          SPILLWAY_API_KEYS: 'shop/a=shop-key-0123456789abcdef',
          AWS_ACCESS_KEY_ID: 'a',
          AWS_SECRET_ACCESS_KEY: 'b',
        },
      },
    );
    const ask = async (): Promise<string> => {
      const headers = { authorization: 'Bearer shop-key-0123456789abcdef' };
      const answer = await postChat(gateway.url, 'sim:tokens=3,tps=0,ttft=0', { headers });
      const text = await answer.text();
      return payloads(text).at(-1) ?? `${answer.status} ${text}`;
    };
    const isRunning = (): void => expect(linesOf(gateway, 'a defect of the gateway', 'defect')).toEqual([]);
    // Each of them tries again, more than once.
    await eventually(() => connections >= 25 || undefined, '25 connections');
    for (let round = 0; round < 5; round += 1) {
      expect(await ask()).toBe('[DONE]');
      isRunning();
      await sleep(100);
    }
    expect(gateway.process.exitCode).toBeNull();
  },
  60_000,
);
