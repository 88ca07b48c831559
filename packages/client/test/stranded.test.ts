import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Client, StreamReader } from '@spillway/client';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { describe, expect, onTestFinished, test } from 'vitest';
import { startCuttingProxy } from '../../gateway/test/support/cutting-proxy.ts';
import { eventOf } from '../../gateway/test/support/own-provider.ts';
import { startGateway } from '../../gateway/test/support/processes.ts';
import { advanceUntil, countSockets, open, rejection, streaming } from './support/clients.ts';
import { type FakeGateway, type FakeSession, startFakeGateway } from './support/fake-gateway.ts';

// Connections that come back, and are cut again before a stream has got anything.

const { path } = streaming;
const word = eventOf('a word');

async function textOf(reader: StreamReader): Promise<string> {
  let text = '';
  for await (const item of reader) if (item.type === 'chunk') text += Buffer.from(item.bytes).toString();
  return text;
}

/** What was received, and what it fails with. */
async function failureOf(reader: StreamReader): Promise<unknown> {
  return rejection(textOf(reader));
}

describe('with the real gateway, over a network that cuts each connection after 100 kB', () => {
  const large = eventOf('x'.repeat(300_000));

  /** A provider that says the first words of each model at once, and the rest when the test says so. */
  async function startProvider(
    firstWords: Readonly<Record<string, string>>,
  ): Promise<{ url: string; asked: Map<string, ServerResponse> }> {
    const asked = new Map<string, ServerResponse>();
    const server = createServer((request, response) => {
      let body = '';
      request.on('data', (part: Buffer) => (body += part.toString()));
      request.on('end', () => {
        const { model } = JSON.parse(body) as { model: string };
        expect([...asked.keys()]).not.toContain(model);
        asked.set(model, response);
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.write(firstWords[model]);
      });
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked };
  }

  const ask = (model: string): { body: string; autoAck: boolean } => ({
    body: JSON.stringify({ model, stream: true, messages: [] }),
    autoAck: true,
  });

  test('an event that is larger fails its stream, after few connections', async () => {
    const provider = await startProvider({ large: word + large });
    const gateway = await startGateway(['--upstream', `${provider.url}/v1`]);
    const proxy = await startCuttingProxy(gateway.url, () => 100_000);
    const client = open({ url: proxy.url, giveUpAfterMs: 2000 });
    const reader = client.request(path, ask('large'));
    expect(await failureOf(reader)).toMatchObject({
      code: 'connection_lost',
      offset: reader.offset,
      message: expect.stringContaining('cut before an event was whole') as string,
    });
    // Each wait is at least half of 100, 200, 400 ms, and so on.
    expect(proxy.connections()).toBeLessThan(12);
    expect(proxy.cuts()).toBeGreaterThan(2);
  });

  test('the streams beside it go on: one whose model speaks, and one whose model is quiet', async () => {
    const provider = await startProvider({ large: word + large, quiet: word, talker: word });
    const gateway = await startGateway(['--upstream', `${provider.url}/v1`]);
    const proxy = await startCuttingProxy(gateway.url, () => 100_000);
    const client = open({ url: proxy.url, giveUpAfterMs: 2000 });
    const failed = failureOf(client.request(path, ask('large')));
    const quiet = textOf(client.request(path, ask('quiet')));
    const talker = textOf(client.request(path, ask('talker')));
    let words = 1;
    const timer = setInterval(() => {
      const response = provider.asked.get('talker');
      if (response?.write(word) === true) words += 1;
    }, 50);
    onTestFinished(() => clearInterval(timer));
    expect(await failed).toMatchObject({ code: 'connection_lost' });
    clearInterval(timer);
    for (const model of ['quiet', 'talker']) provider.asked.get(model)?.end('data: [DONE]\n\n');
    expect(await quiet).toBe(`${word}data: [DONE]\n\n`);
    expect((await talker).match(/a word/g)).toHaveLength(words);
  });
});

describe('with a gateway of which every word is known', () => {
  const giveUpAfterMs = 1500;

  /** A gateway, and a client whose time passes only while it waits for its next attempt. */
  interface Setup {
    readonly gateway: FakeGateway;
    readonly client: Client;
    readonly clock: VirtualClock;
    readonly counts: { readonly made: number; readonly closed: number };
  }

  async function setUp(): Promise<Setup> {
    const gateway = await startFakeGateway();
    const clock = new VirtualClock();
    const { counts, WebSocket } = countSockets();
    return { gateway, client: open({ url: gateway.url, giveUpAfterMs, clock, WebSocket }), clock, counts };
  }

  /**
   * Plays each connection after the first, which was cut, until something is settled or so much time has passed. Returns how many there
   * were, and what waits for the one that comes then.
   */
  async function play(
    { clock, counts, gateway }: Setup,
    until: Promise<unknown> | number,
    each: (session: FakeSession) => Promise<void>,
  ): Promise<{ connections: number; next: () => Promise<FakeSession> }> {
    let isOver = false;
    const over = (): boolean => (isOver = true);
    if (typeof until !== 'number') until.then(over, over);
    const endMs = typeof until === 'number' ? clock.nowMs() + until : Infinity;
    for (let connections = 0; ; connections += 1) {
      expect(connections, 'connections, and it is not over').toBeLessThan(100);
      const { made } = counts;
      await advanceUntil(clock, () => counts.closed === made, 'the connection to be lost', 0);
      const isMade = (): boolean => counts.made > made;
      await advanceUntil(clock, () => isOver || isMade(), 'another connection, or none any more');
      const next = async (): Promise<FakeSession> => {
        await advanceUntil(clock, isMade, 'another connection');
        return gateway.session();
      };
      if (isOver || clock.nowMs() >= endMs) return { connections, next };
      await each(await next());
    }
  }

  /** A stream that has got its head and a word, and lost its connection. */
  async function start(type: 'read' | 'request'): Promise<{ setup: Setup; reader: StreamReader }> {
    const setup = await setUp();
    const { client, gateway } = setup;
    const reader =
      type === 'read' ? client.read('/streams/token-1') : client.request(path, { body: streaming.body });
    const session = await gateway.session();
    await session.frame(type);
    session.respond(1);
    session.data(1, 0, 1, word);
    await reader.next();
    session.cut();
    return { setup, reader };
  }

  test('a stream whose model is quiet is never given up', async () => {
    const { setup, reader } = await start('request');
    const next = reader.next();
    const played = await play(setup, giveUpAfterMs * 2, async (session) => {
      const { stream } = await session.frame('resume');
      await session.frame('ping');
      session.respond(stream);
      session.send({ type: 'pong' });
      await session.settle();
      session.cut();
    });
    const session = await played.next();
    const { stream } = await session.frame('resume');
    session.respond(stream);
    session.data(stream, 1, 2, word);
    expect(await next).toMatchObject({ value: { from: 1, to: 2 } });
  });

  test('nor is one whose model has not answered yet', async () => {
    const setup = await setUp();
    const { client, gateway } = setup;
    const reader = client.request(path, { body: streaming.body });
    const first = await gateway.session();
    await first.frame('request');
    first.cut();
    const played = await play(setup, giveUpAfterMs * 2, async (session) => {
      await session.frame('resume');
      await session.frame('ping');
      session.send({ type: 'pong' });
      await session.settle();
      session.cut();
    });
    const session = await played.next();
    session.respond((await session.frame('resume')).stream);
    expect((await reader.response).status).toBe(200);
  });

  test('nor one that has to be read anew each time, as long as nothing is there for it', async () => {
    const { setup, reader } = await start('read');
    const next = reader.next();
    const comeBack = async (session: FakeSession): Promise<number> => {
      const { stream } = await session.frame('resume');
      session.fail(stream, 'unknown_reader');
      await session.frame('ping');
      session.send({ type: 'pong' });
      const read = await session.frame('read');
      session.respond(read.stream);
      return read.stream;
    };
    const played = await play(setup, giveUpAfterMs * 2, async (session) => {
      await comeBack(session);
      await session.frame('ping');
      session.send({ type: 'pong' });
      await session.settle();
      session.cut();
    });
    const session = await played.next();
    session.data(await comeBack(session), 1, 2, word);
    expect(await next).toMatchObject({ value: { from: 1, to: 2 } });
  });

  test.each<[string, (session: FakeSession) => Promise<void>]>([
    [
      'is resumed, and cut before what is on its way is whole',
      async (session) => {
        session.respond((await session.frame('resume')).stream);
      },
    ],
    [
      'is read anew, and cut before what there is of it is whole',
      async (session) => {
        session.fail((await session.frame('resume')).stream, 'unknown_reader');
        session.send({ type: 'pong' });
        session.respond((await session.frame('read')).stream);
      },
    ],
    [
      'is told how much waits, and no more',
      async (session) => {
        const { stream } = await session.frame('resume');
        session.respond(stream);
        session.send({ type: 'lag', stream, items: 3, bytes: 300 });
      },
    ],
  ])('a stream that %s is given up', async (_what, answer) => {
    const { setup, reader } = await start('read');
    const failed = failureOf(reader);
    const { connections } = await play(setup, failed, async (session) => {
      await answer(session);
      await session.settle();
      session.cut();
    });
    expect(await failed).toMatchObject({ code: 'connection_lost', offset: 1 });
    expect(connections).toBeGreaterThan(1);
    expect(connections).toBeLessThan(8);
  });

  test('a request that never arrives is given up', async () => {
    const setup = await setUp();
    const { client, gateway } = setup;
    const failed = failureOf(client.request(path, { body: streaming.body }));
    const first = await gateway.session();
    await first.frame('request');
    first.cut();
    const { connections } = await play(setup, failed, async (session) => {
      session.fail((await session.frame('resume')).stream, 'not_arrived');
      session.send({ type: 'pong' });
      await session.frame('request');
      session.cut();
    });
    expect(await failed).toMatchObject({ code: 'connection_lost' });
    expect(connections).toBeLessThan(8);
  });

  test('of several, the one in whose middle the connection is cut comes last, and alone is given up', async () => {
    const setup = await setUp();
    const { client, gateway } = setup;
    const large = failureOf(client.request(path, { body: 'large' }));
    const quiet = client.request(path, { body: 'quiet' });
    const first = await gateway.session();
    const readers = new Map<string, string>();
    for (const _ of [1, 2]) {
      const { body, reader, stream } = await first.frame('request');
      readers.set(reader, body);
      first.respond(stream, { url: '' });
    }
    await quiet.response;
    first.cut();
    const orders: string[] = [];
    // Each connection takes the head of the large one, and no more.
    const played = await play(setup, large, async (session) => {
      const resumed = [await session.frame('resume'), await session.frame('resume')];
      orders.push(resumed.map(({ reader }) => readers.get(reader)).join());
      for (const { reader, stream } of resumed) {
        session.respond(stream, { url: '' });
        if (readers.get(reader) === 'large') break;
      }
      await session.settle();
      session.cut();
    });
    expect(orders.slice(0, 2)).toEqual(['large,quiet', 'quiet,large']);
    expect(orders.slice(2).every((order) => order === 'quiet,large')).toBe(true);
    expect(await large).toMatchObject({ code: 'connection_lost' });
    const session = await played.next();
    const { stream } = await session.frame('resume');
    session.respond(stream, { url: '' });
    session.data(stream, 0, 1, word);
    session.end(stream);
    expect(await textOf(quiet)).toBe(word);
  });
});
