import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { EventSource } from 'undici';
import { describe, expect, onTestFinished, test } from 'vitest';
import { replyText } from '../src/simulate/tokens.ts';
import { startCuttingProxy } from './support/cutting-proxy.ts';
import { startOwnStream } from './support/own-stream.ts';
import { eventually, startBoth, startGateway } from './support/processes.ts';
import { metric, payloads, simulatorStats } from './support/requests.ts';
import {
  contentIn,
  contentOf,
  ended,
  idsOf,
  openStream,
  readEvents,
  storedText,
  wholeStream,
  withoutIds,
} from './support/stream-url.ts';

/** What an EventSource gets until it is told not to come back. */
async function readAll(url: string): Promise<{ datas: string[]; connections: number }> {
  const source = new EventSource(url, { node: { reconnectionTime: 1 } });
  onTestFinished(() => source.close());
  const datas: string[] = [];
  let connections = 0;
  source.addEventListener('open', () => (connections += 1));
  source.addEventListener('message', ({ data }: { data: unknown }) => datas.push(String(data)));
  await eventually(() => source.readyState === EventSource.CLOSED, 'the EventSource to end');
  return { datas, connections };
}

/** Asks for events over a connection of which nothing is read. */
async function connectUnread(url: string): Promise<Socket> {
  const { hostname, pathname, port, search } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  onTestFinished(() => void socket.destroy());
  socket.pause().on('error', () => undefined);
  await once(socket, 'connect');
  const head = `host: ${hostname}:${port}\r\naccept: text/event-stream`;
  socket.write(`GET ${pathname}${search} HTTP/1.1\r\n${head}\r\n\r\n`);
  return socket;
}

describe('4.7 a stream’s own events', () => {
  test.each(['lf', 'crlf', 'cr'])('have ids, and are the provider’s otherwise: %s', async (eol) => {
    const gateway = await startGateway();
    const { next, text, url } = await wholeStream(
      gateway.url,
      `sim:tokens=12,tps=0,ttft=0,batch=3,split=700,eol=${eol}`,
    );
    const events = await readEvents(url);
    expect(events.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    const read = await events.text();
    expect(withoutIds(read)).toBe(text);
    expect(read.match(/^id: /gm)).toHaveLength(payloads(text).length);
    expect(read.match(/^id: (\d+)$/gm)?.at(-1)).toBe(`id: ${next}`);
  });

  test('go on behind any of them', async () => {
    const gateway = await startGateway();
    const { text, url } = await wholeStream(gateway.url, 'sim:tokens=30,tps=0,ttft=0,batch=4');
    const read = await (await readEvents(url)).text();
    const events = read.split(/(?<=\n\n)/);
    const ids = idsOf(read);
    expect(ids).toHaveLength(events.length);
    expect(ids.some((id) => id.includes('.'))).toBe(true);
    for (const [index, id] of ids.slice(0, -1).entries()) {
      // The header wins.
      const rest = await readEvents(`${url}?offset=now`, { 'last-event-id': id });
      expect(await rest.text()).toBe(events.slice(index + 1).join(''));
    }
    expect((await readEvents(url, { 'last-event-id': ids.at(-1) ?? '' })).status).toBe(204);
    expect((await readEvents(`${url}?offset=now`)).status).toBe(204);
    expect(contentIn(text)).toBe(replyText(30, 0));
  });

  test.each([
    // All of it is kept as it came, however long somebody takes to come back.
    ['while it runs', 'sim:tokens=250,tps=400,ttft=0,batch=5', '1048576', 2500],
    ['when it has ended', 'sim:tokens=100,tps=0,ttft=0,batch=7', '1048576', 3000],
    ['out of merged history', 'sim:tokens=600,tps=1500,ttft=0,size=40,batch=3', '131072', 20_000],
  ])('reach an EventSource once and in order, wherever it is cut: %s', async (how, model, window, bytes) => {
    const gateway = await startGateway(['--window-bytes', window]);
    const { response, url } = await openStream(gateway.url, model);
    const text = response.text();
    if (how !== 'while it runs') await text;
    let seed = 7;
    const proxy = await startCuttingProxy(gateway.url, () => {
      seed = (seed * 48_271) % 2_147_483_647;
      return 600 + (seed % bytes);
    });
    const { datas } = await readAll(url.replace(gateway.url, proxy.url));
    expect(proxy.cuts()).toBeGreaterThan(3);
    if (how !== 'out of merged history') {
      await text;
      expect(datas).toEqual(payloads(await storedText(url)));
      return;
    }
    const merged = await (await readEvents(url)).text();
    expect(idsOf(merged).some((id) => /^\d{16}\.\d+\.\d+$/.test(id))).toBe(true);
    expect(datas).toEqual(payloads(merged));
    expect(contentOf(datas)).toBe(contentIn(await text));
  });

  test('end with the error of a stream that failed, which is told once, too', async () => {
    const gateway = await startGateway();
    const { url } = await wholeStream(gateway.url, 'sim:tokens=5,tps=0,ttft=0,unfinished');
    const { connections, datas } = await readAll(url);
    expect(connections).toBe(1);
    expect(datas).toHaveLength(7);
    expect(datas.at(-1)).toContain('upstream_cut');
    expect((await fetch(url)).headers.get('stream-state')).toBe('failed');
    // Whoever was cut right before it gets it.
    const ids = idsOf(await (await readEvents(url)).text());
    const rest = await readEvents(url, { 'last-event-id': ids.at(-2) ?? '' });
    expect(payloads(await rest.text())).toHaveLength(1);
  });

  test('end at the provider’s own error', async () => {
    const gateway = await startGateway();
    const { text, url } = await wholeStream(gateway.url, 'sim:error=3,tps=0,ttft=0');
    const { connections, datas } = await readAll(url);
    expect([connections, datas]).toEqual([1, payloads(text)]);
  });

  test('are kept alive by comments', async () => {
    const gateway = await startGateway(['--keep-alive-ms', '25']);
    const { url } = await openStream(gateway.url, 'sim:stall=2,tps=0,ttft=0');
    const events = await readEvents(`${url}?offset=now`);
    const { value } = (await events.body?.getReader().read()) ?? {};
    expect(Buffer.from(value ?? []).toString()).toBe(': ping\n\n');
  });
});

describe('4.5 a GET', () => {
  test('that is never read does not stall the first reader', async () => {
    const { gateway } = await startBoth();
    const model = 'sim:tokens=60000,size=200,tps=0,ttft=0';
    const { response, url } = await openStream(gateway.url, model);
    const socket = await connectUnread(`${url}?offset=now`);
    const text = await response.text();
    expect(payloads(text).at(-1)).toBe('[DONE]');
    expect(text.length).toBeGreaterThan(12_000_000);
    expect(await ended(gateway.adminUrl, 'completed')).toBe(1);
    // What it was written is its own; the rest it was spared.
    socket.resume();
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_readers_ended_total{reason="failed"}')) === 1,
      'it to be ended',
    );
  });
});

describe('3.5 the last reader', () => {
  const endless = 'sim:tps=200,tokens=10000000,ttft=0';

  test('may be one by URL; when it does not come back, the model is stopped', async () => {
    const { gateway, simulator } = await startBoth(['--detach-grace-ms', '400']);
    const state = async (): Promise<string | undefined> => (await simulatorStats(simulator.url))[0]?.state;
    const readers = [new AbortController(), new AbortController(), new AbortController()] as const;
    const { response, url } = await openStream(gateway.url, endless, { signal: readers[0].signal });
    const read = async (signal: AbortSignal): Promise<void> => {
      const events = await fetch(`${url}?offset=now`, { headers: { accept: 'text/event-stream' }, signal });
      const reader = events.body?.getReader();
      for (let reads = 0; reads < 20; reads += 1) expect((await reader?.read())?.done).toBe(false);
    };
    const left = (): Promise<number> =>
      metric(gateway.adminUrl, 'spillway_readers_ended_total{reason="left"}');
    await response.body?.getReader().read();
    const first = new AbortController();
    const events = await fetch(`${url}?offset=now`, {
      headers: { accept: 'text/event-stream' },
      signal: first.signal,
    });
    readers[0].abort();
    await eventually(async () => (await left()) === 1, 'the first to be gone');
    await read(readers[1].signal);
    first.abort();
    await events.body?.cancel().catch(() => undefined);
    readers[1].abort();
    await eventually(async () => (await left()) === 3, 'all to be gone');
    // Back within the grace.
    await read(readers[2].signal);
    expect(await state()).toBe('running');
    readers[2].abort();
    await eventually(async () => (await state()) === 'left', 'the model to be stopped');
    expect(await ended(gateway.adminUrl, 'cancelled')).toBe(1);
    expect((await fetch(url, { method: 'HEAD' })).headers.get('stream-state')).toBe('cancelled');
  });

  test('with detach=finish leaves a model that goes on to its end', async () => {
    const { gateway } = await startBoth(['--detach', 'finish']);
    const abort = new AbortController();
    const { url } = await openStream(gateway.url, 'sim:tokens=60,tps=200,ttft=0', { signal: abort.signal });
    abort.abort();
    await eventually(async () => (await ended(gateway.adminUrl, 'completed')) === 1, 'it to be whole');
    expect(contentIn(await (await fetch(url)).text())).toBe(replyText(60, 0));
  });

  test('that fell behind has left, too', async () => {
    const { say, stream, url } = await startOwnStream({ detach: 'cancel' });
    const socket = await connectUnread(`${url}?offset=now`);
    await eventually(() => stream.audience.readers.size === 1, 'it to read');
    const [reader] = stream.audience.readers;
    let mostWaiting = 0;
    await eventually(() => {
      say(`data: ${'x'.repeat(400_000)}\n\n`);
      const waiting = reader?.waitingItems ?? 0;
      mostWaiting = Math.max(mostWaiting, waiting);
      return mostWaiting > 10 && waiting === 0;
    }, 'it to fall behind');
    expect(stream.signal.aborted).toBe(false);
    socket.resume();
    await eventually(() => stream.signal.aborted, 'the model to be stopped');
    expect(stream.signal.reason).toMatchObject({ code: 'client_left', message: 'The client fell behind.' });
  });
});
