import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { eventually, type RunningGateway, startBoth } from '../../gateway/test/support/processes.ts';
import { metric, simulatorStats } from '../../gateway/test/support/requests.ts';
import { chatRequest, openSession } from '../../gateway/test/support/session.ts';
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

describe('promise 11: a session that answers pings and holds its credit back', () => {
  const endless = 'sim:tokens=1000000000,tps=0,ttft=0';

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

  test('is let go after pauseMs, and reads on by itself where it was', async () => {
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

  test('is let go after pauseMs while its model still runs, and reads on by itself', async () => {
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

  test('is let go after pauseMs, and its model stops when it does not come back', async () => {
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
    expect(await rejection(rest(body))).toMatchObject({ code: 'reader_stalled' });
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
