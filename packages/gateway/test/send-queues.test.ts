import { connect, createServer, type Socket } from 'node:net';
import { describe, expect, onTestFinished, test } from 'vitest';
import { procAddress, readSendQueues } from '@spillway/server/sink/send-queues';
import { eventually } from './support/processes.ts';

describe.skipIf(process.platform !== 'linux')('readSendQueues', () => {
  test.each(['127.0.0.1', '::1', '::ffff:127.0.0.1'])(
    'knows what a reader on %s has not taken',
    async (host) => {
      const accepted = Promise.withResolvers<Socket>();
      const server = createServer((socket) => accepted.resolve(socket));
      onTestFinished(() => void server.close());
      await new Promise<void>((resolve) =>
        server.listen({ port: 0, host: host === '127.0.0.1' ? host : '::' }, resolve),
      );
      const client = connect({ host, port: (server.address() as { port: number }).port });
      client.pause();
      onTestFinished(() => void client.destroy());
      const socket = await accepted.promise;
      onTestFinished(() => void socket.destroy());
      expect((await readSendQueues())?.bytesOf(socket)).toBe(0);
      // More than any kernel buffers, so some of it is never acknowledged.
      socket.write(Buffer.alloc(64 * 1024 * 1024));
      await eventually(
        async () => ((await readSendQueues())?.bytesOf(socket) ?? 0) > 0,
        'bytes to be queued',
      );
    },
  );

  test('writes addresses as the kernel does', () => {
    expect(procAddress('127.0.0.1', 8080)).toBe('0100007F:1F90');
    expect(procAddress('::1', 80)).toBe('00000000000000000000000001000000:0050');
    expect(procAddress('::ffff:127.0.0.1', 1)).toBe('0000000000000000FFFF00000100007F:0001');
    expect(procAddress('fe80::1%eth0', 1)).toBe('000080FE000000000000000001000000:0001');
  });
});
