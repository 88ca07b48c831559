import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { ChunkedBody } from '../src/sink/chunked-body.ts';

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

/** Both ends of a connection; the reader takes nothing until it is told to. */
async function openPair(): Promise<{ writer: Socket; reader: Socket }> {
  const server = createServer({ highWaterMark: 4096, noDelay: true });
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const accepted = once(server, 'connection');
  const reader = connect((server.address() as AddressInfo).port, '127.0.0.1');
  reader.pause();
  const [writer] = (await accepted) as [Socket];
  return { writer, reader };
}

/** The body as HTTP understands it. */
async function bodyOf(chunks: Buffer): Promise<string> {
  const server = createHttpServer();
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const request = once(server, 'request');
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
  socket.end(
    Buffer.concat([Buffer.from('POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n'), chunks]),
  );
  const [incoming] = (await request) as [AsyncIterable<Buffer>];
  let text = '';
  for await (const bytes of incoming) text += bytes.toString('latin1');
  socket.destroy();
  return text;
}

test('what readers get is what was written, also by those who do not read for a while', async () => {
  const pairs = await Promise.all([openPair(), openPair(), openPair()]);
  const writers = pairs.map(({ writer }, index) => ({
    body: new ChunkedBody(writer),
    letter: 'abc'.charAt(index),
    text: '',
  }));
  // In turn, until each of them has been refused and has written more behind that; each time so little that it is put together.
  for (let round = 0; round < 12_000; round += 1) {
    for (const writer of writers) {
      const piece = `${writer.letter}${round} `.repeat(1 + (round % 300));
      writer.text += piece;
      writer.body.add(Buffer.from(piece));
      if (round % 3 === 0) writer.body.flush();
    }
  }
  expect(writers.every(({ body }) => body.isBlocked)).toBe(true);
  for (const [index, { reader, writer }] of pairs.entries()) {
    writers[index]?.body.flush();
    writer.end('0\r\n\r\n');
    const pieces: Buffer[] = [];
    for await (const bytes of reader as AsyncIterable<Buffer>) pieces.push(bytes);
    const all = Buffer.concat(pieces);
    expect(all.length).toBe((writers[index]?.body.writtenBytes ?? 0) + 5);
    expect((await bodyOf(all)) === writers[index]?.text).toBe(true);
  }
});
