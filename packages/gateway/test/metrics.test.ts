import { openClient } from '../../client/src/index.ts';
import { expect, onTestFinished, test } from 'vitest';
import { eventually, startBoth, startGateway } from './support/processes.ts';
import { startRawProvider, wholeAnswer } from './support/raw-provider.ts';
import { chatBody, metric, postChat, rawChat } from './support/requests.ts';

/** The names and labels of all series, without their values. */
async function seriesOf(adminUrl: string): Promise<string[]> {
  const text = await (await fetch(`${adminUrl}/metrics`)).text();
  return text.split('\n').flatMap((line) => (/^\w/.test(line) ? [line.slice(0, line.lastIndexOf(' '))] : []));
}

test('the set of series is fixed, whatever clients send', async () => {
  const { gateway } = await startBoth();
  // Every kind of stream that there is, once.
  for (const path of ['/v1/chat/completions', '/v1/completions', '/v1/responses', '/v1/messages']) {
    for (const model of [
      'sim:tokens=2,ttft=0,tps=0',
      'sim:unfinished,tokens=2,ttft=0,tps=0',
      'sim:status=400',
    ]) {
      const body = chatBody(model);
      const headers = { 'content-type': 'application/json' };
      await (await fetch(gateway.url + path, { method: 'POST', headers, body })).text();
    }
  }
  const before = await seriesOf(gateway.adminUrl);
  expect(new Set(before).size).toBe(before.length);
  for (let index = 0; index < 20; index += 1) {
    const headers = {
      'user-agent': `agent-${index}`,
      'x-request-id': `id-${index}`,
      'x-api-key': `k-${index}`,
    };
    await (await postChat(gateway.url, `sim:tokens=2,ttft=${index},tps=0`, { headers })).text();
    await fetch(`${gateway.url}/v1/path-${index}`);
    await fetch(`${gateway.url}/streams/token-${index}`);
  }
  expect(await seriesOf(gateway.adminUrl)).toEqual(before);
});

test('tokens are counted where they are made, written, acknowledged and saved', async () => {
  const { gateway } = await startBoth();
  const tokens = (stage: string): Promise<number> =>
    metric(gateway.adminUrl, `spillway_tokens_total{stage="${stage}"}`);
  const client = openClient({ url: gateway.url });
  onTestFinished(() => client.close());
  const body = chatBody('sim:tokens=100,tps=0,ttft=0');
  for await (const item of client.request('/v1/chat/completions', { body, autoAck: true })) void item;
  // With the role, the end of the choice, and the end marker.
  expect(await tokens('generated')).toBe(103);
  expect(await tokens('delivered')).toBe(103);
  await eventually(async () => (await tokens('acknowledged')) === 103, 'the last ack');
  expect(await metric(gateway.adminUrl, 'spillway_tokens_saved_total')).toBe(0);
  // This one is stopped when it has begun; the one before says how long such a stream is.
  const abort = new AbortController();
  const response = await postChat(gateway.url, 'sim:tokens=100000,tps=20,ttft=0', { signal: abort.signal });
  await response.body?.getReader().read();
  abort.abort();
  await eventually(
    async () => (await metric(gateway.adminUrl, 'spillway_tokens_saved_total')) > 50,
    'tokens to be saved',
  );
  expect(await metric(gateway.adminUrl, 'spillway_tokens_saved_total')).toBeLessThanOrEqual(103);
});

test('what was refused while it waited has saved nothing', async () => {
  const gateway = await startGateway(['--tenant', 'name=*,streams=1', '--wait-timeout-ms', '300']);
  await (await postChat(gateway.url, 'sim:tokens=100,tps=0,ttft=0')).text();
  const { socket } = await rawChat(gateway.url, 'sim:stall=1,tps=0,ttft=0');
  await eventually(
    async () => (await metric(gateway.adminUrl, 'spillway_streams{state="streaming"}')) === 1,
    'the first to run',
  );
  expect((await postChat(gateway.url, 'sim')).status).toBe(429);
  const cancelled = 'spillway_streams_ended_total{state="cancelled"}';
  await eventually(
    async () => (await metric(gateway.adminUrl, cancelled)) === 1,
    'the refusal to be counted',
  );
  expect(await metric(gateway.adminUrl, 'spillway_tokens_saved_total')).toBe(0);
  socket.destroy();
});

test('OpenTelemetry’s figures for generative AI come from what the provider says', async () => {
  const { gateway } = await startBoth();
  const body = JSON.stringify({
    model: 'sim:tokens=40,tps=400,ttft=100',
    stream: true,
    stream_options: { include_usage: true },
    messages: [],
  });
  const headers = { 'content-type': 'application/json' };
  await (await fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', headers, body })).text();
  const of = (name: string, more = ''): Promise<number> =>
    metric(
      gateway.adminUrl,
      `gen_ai_${name}{gen_ai_operation_name="chat",gen_ai_provider_name="upstream"${more}}`,
    );
  expect(await of('client_token_usage_sum', ',gen_ai_token_type="output"')).toBe(40);
  expect(await of('server_time_to_first_token_seconds_sum')).toBeGreaterThanOrEqual(0.1);
  const perTokenS = await of('server_time_per_output_token_seconds_sum');
  // The provider's pace; a machine under load is slower than that, and never faster.
  expect(perTokenS).toBeGreaterThan(0.002);
  expect(await of('server_request_duration_seconds_sum')).toBeGreaterThan(39 * perTokenS);
});

test.each([
  ['with an id', (usage: string) => `id: 7\ndata: ${usage}\n\n`],
  ['of several lines', (usage: string) => `data: ${usage.replaceAll(',', ',\ndata: ')}\n\n`],
])('and are read from an event %s', async (_how, eventOf) => {
  const usage = JSON.stringify({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 7 } });
  const finish = `data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] })}\n\n`;
  const provider = await startRawProvider((_asked, socket) => {
    socket.end(wholeAnswer(`${finish}${eventOf(usage)}data: [DONE]\n\n`));
  });
  const gateway = await startGateway(['--upstream', `${provider.url}/v1`]);
  await (await postChat(gateway.url, 'any')).text();
  const labels = 'gen_ai_operation_name="chat",gen_ai_provider_name="upstream",gen_ai_token_type="output"';
  expect(await metric(gateway.adminUrl, `gen_ai_client_token_usage_sum{${labels}}`)).toBe(7);
});

test('a stall is seen while it lasts, with its cause', async () => {
  const { gateway } = await startBoth();
  const seconds = (cause: string): Promise<number> =>
    metric(gateway.adminUrl, `spillway_stall_seconds_total{cause="${cause}"}`);
  // Reads nothing from its socket.
  await rawChat(gateway.url, 'sim:tps=0,ttft=0,tokens=100000000,batch=100', { reads: false });
  await eventually(async () => (await seconds('link')) > 0, 'a stall by a link');
  const soFarS = await seconds('link');
  await eventually(async () => (await seconds('link')) > soFarS, 'the stall to go on');
  expect(await metric(gateway.adminUrl, 'spillway_readers_lagging')).toBe(1);
  expect(await metric(gateway.adminUrl, 'spillway_reader_lag_ratio')).toBeGreaterThan(0.5);
  expect(await metric(gateway.adminUrl, 'spillway_reader_lag_seconds')).toBeGreaterThan(0);
  // Acknowledges nothing.
  const client = openClient({ url: gateway.url, windowBytes: 1024 });
  onTestFinished(() => client.close());
  const reader = client.request('/v1/chat/completions', { body: chatBody('sim:tps=0,ttft=0,tokens=100000') });
  await reader.next();
  await eventually(async () => (await seconds('credit')) > 0, 'a stall by credit');
});
