import type { SpillwayFetch, StreamItem, StreamReader } from '@spillway/client';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { eventually, type RunningGateway, startBoth } from '../../gateway/test/support/processes.ts';
import { metric, simulatorStats } from '../../gateway/test/support/requests.ts';
import { chatRequest, openSession } from '../../gateway/test/support/session.ts';
import { within } from '../../core/test/support/within.ts';
import { open, openFetch, rejection } from './support/clients.ts';

// The real gateway, a simulated provider, and a program that does something else for a while.

const path = '/v1/chat/completions';

function chatOf(model: string): { method: string; headers: Record<string, string>; body: string } {
  const body = JSON.stringify({ model, messages: [], stream: true });
  return { method: 'POST', headers: { 'content-type': 'application/json' }, body };
}

function textOf(events: string): string {
  return [...events.matchAll(/"content":"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text).join('');
}

async function expectedText(url: string, model: string): Promise<string> {
  return textOf(await (await fetch(url + path, chatOf(model))).text());
}

async function rest(body: ReadableStreamDefaultReader<Uint8Array> | undefined): Promise<string> {
  const parts: Uint8Array[] = [];
  for (;;) {
    const part = await body?.read();
    if (part?.value === undefined) return Buffer.concat(parts).toString();
    parts.push(part.value);
  }
}

const stalled = 'spillway_readers_ended_total{reason="stalled"}';
const paused = 'spillway_readers_paused';

async function waitFor(gateway: RunningGateway, series: string, value: number): Promise<void> {
  await eventually(async () => (await metric(gateway.adminUrl, series)) === value, `${series} ${value}`);
}

const endless = 'sim:tokens=1000000000,tps=0,ttft=0';

describe('promise 11: a session that answers pings and holds its credit back', () => {
  test('is paused and not stalled, while its provider waits and when that is done', async () => {
    const { gateway } = await startBoth(['--stall-timeout-ms', '500', '--keep-alive-ms', '300']);
    const fetch = openFetch({ url: gateway.url, windowBytes: 4096 });
    const models = ['sim:tokens=30000,tps=0,ttft=0', 'sim:tokens=300,tps=0,ttft=0'];
    const bodies = await Promise.all(
      models.map(async (model) => (await fetch(path, chatOf(model))).body?.getReader()),
    );
    const firsts = await Promise.all(bodies.map(async (body) => await body?.read()));
    // A tool runs, somebody looks at a breakpoint, an approval is waited for.
    await waitFor(gateway, paused, 2);
    await sleep(2000);
    expect(await metric(gateway.adminUrl, paused)).toBe(2);
    const overview = open({ url: gateway.adminUrl }).read('/streams/overview', {
      from: 'now',
      overflow: 'latest',
    });
    const { value } = await overview.next();
    expect(value?.type === 'chunk' && Buffer.from(value.bytes).toString()).toContain('"isPaused":true');
    overview.detach();
    for (const [index, body] of bodies.entries()) {
      const text = Buffer.from(firsts[index]?.value ?? []).toString() + (await rest(body));
      expect(textOf(text)).toBe(await expectedText(gateway.url, models[index] ?? ''));
      expect(text).toContain('[DONE]');
    }
    expect(await metric(gateway.adminUrl, stalled)).toBe(0);
    await waitFor(gateway, paused, 0);
  });

  test('is ended after pauseMs, and reads on by itself where it was', async () => {
    const { gateway, simulator } = await startBoth(['--stall-timeout-ms', '300', '--pause-ms', '900']);
    const fetch = openFetch({ url: gateway.url, windowBytes: 1024 });
    const model = 'sim:tokens=30,tps=200,ttft=0';
    const body = (await fetch(path, chatOf(model))).body?.getReader();
    const first = await body?.read();
    await waitFor(gateway, stalled, 1);
    const text = Buffer.from(first?.value ?? []).toString() + (await rest(body));
    expect(textOf(text)).toBe(await expectedText(gateway.url, model));
    expect(text).toContain('[DONE]');
    // The other one is the text that it is compared with.
    expect(await simulatorStats(simulator.url)).toHaveLength(2);
  });

  test('is ended after pauseMs while its model still runs, and reads on by itself', async () => {
    const { gateway, simulator } = await startBoth(['--stall-timeout-ms', '300', '--pause-ms', '900']);
    const fetch = openFetch({ url: gateway.url, windowBytes: 1024 });
    const model = 'sim:tokens=40,tps=8,ttft=0';
    const body = (await fetch(path, chatOf(model))).body?.getReader();
    const first = await body?.read();
    await waitFor(gateway, stalled, 1);
    const text = Buffer.from(first?.value ?? []).toString() + (await rest(body));
    expect(textOf(text)).toBe(await expectedText(gateway.url, 'sim:tokens=40,tps=0,ttft=0'));
    expect(text).toContain('[DONE]');
    expect((await simulatorStats(simulator.url)).map(({ state }) => state)).toEqual(['finished', 'finished']);
  });

  test('is ended after pauseMs, and its model stops when it does not come back', async () => {
    const { gateway, simulator } = await startBoth(
      '--stall-timeout-ms 300 --pause-ms 900 --detach-grace-ms 300'.split(' '),
    );
    const body = (await openFetch({ url: gateway.url })(path, chatOf(endless))).body?.getReader();
    await body?.read();
    await waitFor(gateway, stalled, 1);
    await eventually(
      async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
      'the model to be stopped',
    );
    // What it had is there; what follows is gone, and that is said.
    const error = await rejection(rest(body));
    expect(error).toMatchObject({ code: 'reader_stalled', offset: expect.any(Number) as number });
    expect(String(error)).toMatch(/900 ms \(pauseMs\)\. Its position is kept for 300 ms \(detachGraceMs\)\./);
    expect(String(error)).toMatch(
      /What follows offset \d+ is gone: Nobody came back within 300 ms \(detachGraceMs\)\. Of a stream that was stopped nothing is kept\.$/,
    );
    expect(await metric(gateway.adminUrl, paused)).toBe(0);
  });

  test('is paused for its share of the places only', async () => {
    const { gateway } = await startBoth(['--stall-timeout-ms', '500', '--max-streams', '8']);
    const client = open({ url: gateway.url });
    const readers = Array.from({ length: 4 }, () => client.request(path, chatOf(endless)));
    await Promise.all(readers.map(({ response }) => response));
    // Of the four places for paused readers one client has two thirds.
    await waitFor(gateway, stalled, 2);
    expect(await metric(gateway.adminUrl, paused)).toBe(2);
    await sleep(1000);
    expect(await metric(gateway.adminUrl, stalled)).toBe(2);
    // Room that one gives back is another's.
    readers.forEach((reader) => reader.cancel());
    await waitFor(gateway, paused, 0);
    const late = client.request(path, chatOf(endless));
    await late.response;
    await waitFor(gateway, paused, 1);
  });

  test('is not paused any more without a sign of life', async () => {
    const { gateway } = await startBoth(
      '--stall-timeout-ms 500 --keep-alive-ms 400 --detach-grace-ms 300'.split(' '),
    );
    const session = await openSession(gateway.url);
    session.send(chatRequest(endless));
    await waitFor(gateway, paused, 1);
    // The machine is gone: it takes nothing and answers nothing.
    session.socket.pause();
    await waitFor(gateway, 'spillway_streams_ended_total{state="cancelled"}', 1);
    expect(await metric(gateway.adminUrl, paused)).toBe(0);
  });
});

describe('promise 11: a reader that is ended after pauseMs reads on where it was', () => {
  const patient = ['--stall-timeout-ms', '300', '--pause-ms', '900'];

  /** Reads so many pieces of an answer, and the rest when its reader was ended. Returns both together. */
  async function readInTwo(
    fetch: SpillwayFetch,
    model: string,
    pieces: number,
    isEnded: () => Promise<void>,
  ): Promise<string> {
    const body = (await fetch(path, chatOf(model))).body?.getReader();
    const parts: Uint8Array[] = [];
    while (parts.length < pieces) parts.push((await body?.read())?.value ?? new Uint8Array());
    await isEnded();
    return Buffer.concat(parts).toString() + (await rest(body));
  }

  /** Resolves for each when so many were ended. */
  function allEnded(gateway: RunningGateway, count: number): () => Promise<void> {
    let all: Promise<void> | undefined;
    return () => (all ??= waitFor(gateway, stalled, count));
  }

  const long = 'sim:tokens=4000,size=300,tps=0,ttft=0';

  /** All that a reader still gets. */
  async function restOf(reader: StreamReader): Promise<string> {
    const parts: Uint8Array[] = [];
    for await (const item of reader) {
      if (item.type === 'chunk') parts.push(item.bytes);
      reader.ack(item.to);
    }
    return Buffer.concat(parts).toString();
  }

  test('whatever another who reads at its offset does', async () => {
    const { gateway } = await startBoth([...patient, '--detach-grace-ms', '20000']);
    const { body, headers } = chatOf(long);
    const mine = open({ url: gateway.url }).request(path, { headers, body });
    await mine.response;
    const first = await mine.next();
    await waitFor(gateway, stalled, 1);
    for (const overflow of ['coalesce', 'block', 'latest'] as const) {
      const other = open({ url: gateway.url }).read(mine.url, { from: mine.offset, overflow });
      // Far beyond what is kept as history.
      for (let bytes = 0; bytes < 60_000;) {
        const { value } = (await within(Promise.race([other.next(), sleep(1000)]), 'another')) ?? {};
        if (value === undefined) break;
        if (value.type === 'chunk') bytes += value.bytes.length;
        other.ack(value.to);
      }
      other.detach();
    }
    const start = first.value?.type === 'chunk' ? Buffer.from(first.value.bytes).toString() : '';
    mine.ack(mine.offset);
    expect(textOf(start + (await restOf(mine)))).toBe(await expectedText(gateway.url, long));
  });

  test('with windows of any size', async () => {
    const { gateway, simulator } = await startBoth(patient);
    // Over a megabyte; as many events; and one that is still at work when its reader comes back.
    const models = [long, 'sim:tokens=12000,tps=0,ttft=0', 'sim:tokens=1500,tps=300,ttft=0'];
    const expected = await Promise.all(
      models.map((model) => expectedText(gateway.url, model.replace(/tps=\d+/, 'tps=0'))),
    );
    const windows = [1024, 4096, 16_384, 65_536, 262_144];
    const ended = allEnded(gateway, models.length * windows.length);
    const reads = windows.flatMap((windowBytes) => {
      const fetch = openFetch({ url: gateway.url, windowBytes });
      return models.map(async (model, index) => {
        const text = await readInTwo(fetch, model, 1, ended);
        expect(textOf(text) === expected[index], `${model} with a window of ${windowBytes}`).toBe(true);
        expect(text).toContain('[DONE]');
      });
    });
    await Promise.all(reads);
    // None was asked for again.
    expect(await simulatorStats(simulator.url)).toHaveLength(models.length + reads.length);
  });

  test('at whatever offset it was', async () => {
    const { gateway } = await startBoth(patient);
    const expected = await expectedText(gateway.url, long);
    const pieces = [1, 2, 3, 5, 8, 13, 34, 89, 233];
    const ended = allEnded(gateway, pieces.length);
    const texts = await Promise.all(
      pieces.map((count) =>
        readInTwo(openFetch({ url: gateway.url, windowBytes: 4096 }), long, count, ended),
      ),
    );
    for (const text of texts) expect(textOf(text) === expected).toBe(true);
  });

  test('as often as it pauses', async () => {
    const { gateway } = await startBoth(patient);
    const body = (await openFetch({ url: gateway.url, windowBytes: 4096 })(path, chatOf(long))).body;
    const reader = body?.getReader();
    const parts: Uint8Array[] = [];
    for (const times of [1, 2, 3]) {
      for (let count = 0; count < 5; count += 1)
        parts.push((await reader?.read())?.value ?? new Uint8Array());
      await waitFor(gateway, stalled, times);
    }
    const text = Buffer.concat(parts).toString() + (await rest(reader));
    expect(textOf(text) === (await expectedText(gateway.url, long))).toBe(true);
  });

  test('in a stream whose model was done for longer than retainMs', async () => {
    const { gateway } = await startBoth([
      '--stall-timeout-ms',
      '300',
      '--pause-ms',
      '3500',
      '--retain-ms',
      '2500',
    ]);
    const model = 'sim:tokens=100,tps=0,ttft=0';
    const fetch = openFetch({ url: gateway.url, windowBytes: 1024 });
    const text = await readInTwo(fetch, model, 1, allEnded(gateway, 1));
    expect(textOf(text)).toBe(await expectedText(gateway.url, model));
  });

  test.each([
    ['grace', 'another reader goes on'],
    ['finish', 'the model goes on by itself'],
  ])('after detachGraceMs, where the window holds what came meanwhile: %s', async (detach) => {
    const { gateway } = await startBoth([...patient, '--detach-grace-ms', '300', '--detach', detach]);
    // Most of it comes when nobody waits for the reader any more. Unmerged it is more than the channel may hold.
    const model = 'sim:tokens=600,tps=150,ttft=0';
    const expected = await expectedText(gateway.url, 'sim:tokens=600,tps=0,ttft=0');
    const client = open({ url: gateway.url, windowBytes: 1024 });
    const reader = client.request(path, { ...chatOf(model), autoAck: true });
    const { url } = await reader.response;
    const first = await reader.next();
    const other = detach === 'grace' ? client.read(url, { autoAck: true }) : undefined;
    const others = other === undefined ? undefined : chunksOf(other);
    await waitFor(gateway, 'spillway_streams_ended_total{state="completed"}', 2);
    expect(await metric(gateway.adminUrl, stalled)).toBe(1);
    const text = bytesOf(first.value) + (await chunksOf(reader));
    expect(textOf(text)).toBe(expected);
    if (others !== undefined) expect(textOf(await others)).toBe(expected);
  });

  test('unless others went on for longer than the window holds: then it is told', async () => {
    const { gateway } = await startBoth([...patient, '--detach-grace-ms', '300']);
    const client = open({ url: gateway.url, windowBytes: 1024 });
    const reader = client.request(path, { ...chatOf(long), autoAck: true });
    const { url } = await reader.response;
    await reader.next();
    // The model waits for both of them, and for the one that was ended no longer than for detachGraceMs.
    const other = client.read(url, { autoAck: true, from: 'now', overflow: 'coalesce' });
    expect(await within(chunksOf(other), 'the other to get everything')).toContain('[DONE]');
    expect(await metric(gateway.adminUrl, stalled)).toBe(1);
    const error = await rejection(chunksOf(reader));
    expect(error).toMatchObject({ code: 'reader_stalled', cause: { code: 'history_gone' } });
    expect(String(error)).toMatch(/What follows offset \d+ is gone: Offset \d+ is gone/);
  });

  test('also when nobody else reads any more', async () => {
    const { gateway } = await startBoth(patient);
    const expected = await expectedText(gateway.url, 'sim:tokens=500,tps=0,ttft=0');
    const asked = new AbortController();
    const init = { ...chatOf('sim:tokens=500,tps=100,ttft=0'), signal: asked.signal };
    const answer = await fetch(gateway.url + path, init);
    const url = answer.headers.get('content-location') ?? '';
    const client = open({ url: gateway.url, windowBytes: 1024 });
    const reader = client.read(url, { autoAck: true, overflow: 'coalesce' });
    const first = await reader.next();
    const read = rejection(answer.text());
    await waitFor(gateway, stalled, 1);
    // Who asks by plain HTTP and leaves stops the model, but not another's.
    asked.abort();
    await read;
    await waitFor(gateway, 'spillway_readers_ended_total{reason="left"}', 1);
    expect(textOf(bytesOf(first.value) + (await chunksOf(reader)))).toBe(expected);
  });

  test('and a large event that waits for it counts until then, as bytes of all streams', async () => {
    const { gateway } = await startBoth(patient);
    const model = 'sim:line=3000002,tokens=3,tps=0,ttft=0';
    const held = (): Promise<number> => metric(gateway.adminUrl, 'spillway_events_large_held_bytes');
    const client = open({ url: gateway.url, windowBytes: 1024 });
    const reader = client.request(path, { ...chatOf(model), autoAck: true });
    const first = await reader.next();
    await waitFor(gateway, stalled, 1);
    expect(await held()).toBeGreaterThan(3_000_000);
    const text = bytesOf(first.value) + (await chunksOf(reader));
    expect(textOf(text) === (await expectedText(gateway.url, model))).toBe(true);
    await eventually(async () => (await held()) === 0, 'its place to be given back');
  });

  test('and keeps its share of the places until then', async () => {
    const { gateway } = await startBoth('--stall-timeout-ms 500 --pause-ms 4000 --max-streams 8'.split(' '));
    const client = open({ url: gateway.url, windowBytes: 1024 });
    const request = (): StreamReader => client.request(path, { ...chatOf(endless), autoAck: true });
    const readers = [request(), request()];
    await Promise.all(readers.map((reader) => reader.next()));
    await waitFor(gateway, stalled, 2);
    // Of the four places one client has two thirds.
    const third = request();
    await third.next();
    await waitFor(gateway, stalled, 3);
    expect(await rejection(chunksOf(third))).toMatchObject({
      message: expect.stringContaining('too many that are paused') as string,
    });
    for (const reader of readers) for (let count = 0; count < 20; count += 1) await reader.next();
    await waitFor(gateway, paused, 2);
    readers.forEach((reader) => reader.cancel());
  });

  test('and is told what its model failed with meanwhile', async () => {
    const { gateway } = await startBoth([...patient, '--idle-timeout-ms', '2500']);
    const fetch = openFetch({ url: gateway.url });
    const text = await readInTwo(fetch, 'sim:tokens=100,tps=0,ttft=0,stall=20', 1, () =>
      waitFor(gateway, 'spillway_streams_ended_total{state="failed"}', 1),
    );
    expect(await metric(gateway.adminUrl, stalled)).toBe(1);
    expect(textOf(text)).toBe(await expectedText(gateway.url, 'sim:tokens=20,tps=0,ttft=0'));
    expect(text).toContain('upstream_idle');
  });
});

function bytesOf(item: StreamItem | undefined): string {
  return item?.type === 'chunk' ? Buffer.from(item.bytes).toString() : '';
}

async function chunksOf(reader: StreamReader): Promise<string> {
  let text = '';
  for await (const item of reader) text += bytesOf(item);
  return text;
}
