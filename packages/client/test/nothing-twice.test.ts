import { expect, test } from 'vitest';
import {
  eventually,
  type RunningGateway,
  startBoth,
  startGateway,
  startSimulator,
} from '../../gateway/test/support/processes.ts';
import { metric, simulatorStats } from '../../gateway/test/support/requests.ts';
import { open, openFetch, rejection } from './support/clients.ts';
import { startLossyNetwork } from './support/lossy-network.ts';
import { within } from '../../core/test/support/within.ts';

// The real gateway, a network that loses what a test says, and a provider that counts what it is asked.

const headers = { 'content-type': 'application/json' };

function chatOf(model: string): { method: string; headers: Record<string, string>; body: string } {
  return { method: 'POST', headers, body: JSON.stringify({ model, messages: [], stream: true }) };
}

function contentOf(events: string): string {
  return [...events.matchAll(/"content":"((?:[^"\\]|\\.)*)"/g)].map(([, text]) => text).join('');
}

const path = '/v1/chat/completions';
const quick = 'sim:tokens=5,tps=0,ttft=0';
/** Says nothing for so long that a test is over before. */
const silent = 'sim:tokens=5,headers=600000';

/** Ends a gateway as a crash does, and starts another one in its place. */
async function restart(gateway: RunningGateway, args: readonly string[]): Promise<RunningGateway> {
  gateway.process.kill('SIGKILL');
  await gateway.exited;
  return await startGateway([...args, '--port', new URL(gateway.url).port]);
}

test('promise 4: a connection that is cut behind any byte of a request: it comes to the provider once', async () => {
  const { gateway, simulator } = await startBoth();
  // The upgrade, the first frame and the request are about 800 bytes.
  const positions = Array.from({ length: 45 }, (_, index) => 20 * (index + 1));
  let nextCut = Infinity;
  const network = await startLossyNetwork(gateway.url, () => {
    const cut = nextCut;
    nextCut = Infinity;
    return cut;
  });
  let resumed = 0;
  for (const position of positions) {
    const client = open({
      url: network.url,
      onEvent: ({ type }) => (resumed += type === 'disconnected' ? 1 : 0),
    });
    nextCut = position;
    const response = await client.fetch(path, chatOf(`${quick},size=${position}`));
    expect(await response.text(), `cut behind ${position} bytes`).toContain('[DONE]');
    await client.close();
  }
  // Some were cut with the request on its way, and not only in the upgrade.
  expect(resumed).toBeGreaterThan(10);
  const stats = await simulatorStats(simulator.url);
  expect(stats.map(({ model }) => model).toSorted()).toEqual(
    positions.map((position) => `${quick},size=${position}`).toSorted(),
  );
});

test('5.9: what its connection still brings when the client has sent the request over another one is not handled', async () => {
  const { gateway, simulator } = await startBoth();
  const network = await startLossyNetwork(gateway.url);
  const fetch = openFetch({
    url: network.url,
    pingAfterMs: 50,
    pongTimeoutMs: 200,
    // The upgrade gets through, and the request is late.
    onEvent: ({ type }) => {
      if (type === 'connected' && network.connections === 1) network.hold();
    },
  });
  const response = await fetch(path, chatOf(quick));
  expect(await response.text()).toContain('[DONE]');
  expect(network.connections).toBeGreaterThan(1);
  expect(await network.release()).toBeGreaterThan(200);
  await (await openFetch({ url: gateway.url })(path, chatOf(`${quick},size=7`))).text();
  expect(await simulatorStats(simulator.url)).toHaveLength(2);
});

test('5.9: a gateway that was started again does not know whether a request arrived: it is not sent twice', async () => {
  const simulator = await startSimulator();
  const args = ['--upstream', `${simulator.url}/v1`];
  const gateway = await startGateway(args);
  const client = open({ url: gateway.url });
  const failed = rejection(client.fetch(path, chatOf(silent)));
  await eventually(async () => (await simulatorStats(simulator.url)).length === 1, 'the request to arrive');
  await restart(gateway, args);
  expect(await within(failed, 'the request to fail')).toMatchObject({ code: 'arrival_unknown' });
  // The client goes on with what is new.
  await (await client.fetch(path, chatOf(quick))).text();
  const stats = await simulatorStats(simulator.url);
  expect(stats.map(({ model }) => model)).toEqual([silent, quick]);
});

test('5.9: a request whose reader was ended meanwhile is not sent twice', async () => {
  const { gateway, simulator } = await startBoth(['--detach-grace-ms', '1']);
  const network = await startLossyNetwork(gateway.url);
  const fetch = openFetch({ url: network.url });
  const failed = rejection(fetch(path, chatOf(silent)));
  await eventually(async () => (await simulatorStats(simulator.url)).length === 1, 'the request to arrive');
  network.isDown = true;
  network.cut();
  await eventually(
    async () => (await simulatorStats(simulator.url))[0]?.state === 'left',
    'the model to be stopped',
  );
  network.isDown = false;
  expect(await within(failed, 'the request to fail')).toMatchObject({ code: 'arrival_unknown' });
  expect(await simulatorStats(simulator.url)).toHaveLength(1);
});

test('promise 4: a reader that began at an offset and was cut before its first chunk goes on, and the others too', async () => {
  const { gateway, simulator } = await startBoth();
  const network = await startLossyNetwork(gateway.url);
  const client = open({ url: network.url });
  // A stream that says some and then nothing, and another one that is read meanwhile.
  const first = client.request(path, { ...chatOf('sim:tokens=40,tps=20,ttft=0'), autoAck: true });
  const other = client.request(path, { ...chatOf('sim:tokens=40,tps=20,ttft=0,size=3'), autoAck: true });
  const { url } = await first.response;
  await other.response;
  while (first.offset < 5) await first.next();
  // Where nothing is yet: it gets no chunk until the next one comes.
  const from = first.offset;
  const reader = client.read(url, { from, overflow: 'coalesce', autoAck: true });
  await reader.response;
  network.cut();
  const offsets: number[] = [];
  let text = '';
  for await (const item of reader) {
    offsets.push(item.from);
    if (item.type === 'chunk') text += Buffer.from(item.bytes).toString();
  }
  expect(offsets[0]).toBe(from);
  expect(text).toContain('[DONE]');
  let otherText = '';
  for await (const item of other) if (item.type === 'chunk') otherText += Buffer.from(item.bytes).toString();
  expect(otherText).toContain('[DONE]');
  expect((await simulatorStats(simulator.url)).map(({ state }) => state)).toEqual(['finished', 'finished']);
  expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="completed"}')).toBe(2);
});

test('promise 4: many streams that fill the window of their connection come back together', async () => {
  const { gateway } = await startBoth();
  const network = await startLossyNetwork(gateway.url);
  // More than are handled in one turn; each of them has room in its own window, and none in the connection's.
  const fetch = openFetch({ url: network.url, connectionWindowBytes: 65_536 });
  const models = Array.from({ length: 40 }, (_, index) => `tokens=200,ttft=0,size=${index + 10}`);
  const responses = await Promise.all(models.map((model) => fetch(path, chatOf(`sim:tps=100,${model}`))));
  await eventually(
    async () => (await metric(gateway.adminUrl, 'spillway_waiting_bytes')) > 100_000,
    'the window to be full',
  );
  network.cut();
  await eventually(
    async () => (await metric(gateway.adminUrl, 'spillway_resumes_total{result="resumed"}')) === 40,
    'all to be back',
  );
  const texts = await Promise.all(responses.map((response) => response.text()));
  for (const [index, model] of models.entries()) {
    const plain = await (await globalThis.fetch(gateway.url + path, chatOf(`sim:tps=0,${model}`))).text();
    expect(contentOf(texts[index] ?? ''), model).toBe(contentOf(plain));
    expect(texts[index]).toContain('[DONE]');
  }
  expect(await metric(gateway.adminUrl, 'spillway_resumes_total{result="refused"}')).toBe(0);
});
