import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { TenantReport } from '../src/limit/usage-report.ts';
import { sessionModel } from '../src/realtime/session-model.ts';
import { lineWith } from './support/log-lines.ts';
import { eventually, type RunningGateway, startGateway } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { openRealtime, refusedRealtime, startRealtimeProvider, watched } from './support/realtime-peers.ts';

const bearer = { authorization: 'Bearer sk-web' };

const usage = { total_tokens: 400, input_tokens: 300, output_tokens: 100 };
const answer = JSON.stringify({ type: 'response.done', event_id: 'e', response: { id: 'r', usage } });

async function todayOf({ url }: RunningGateway, headers: Record<string, string>): Promise<object> {
  const report = (await (await fetch(`${url}/usage`, { headers })).json()) as TenantReport;
  return report.usage.today;
}

test('a conversation by a name of one’s own is with its first target: bytes, price, limits, records', async () => {
  const [first, second] = [await startRealtimeProvider(), await startRealtimeProvider()];
  const records = `${temporaryFolder()}/records.jsonl`;
  const gateway = await startGateway(
    [
      '--upstream',
      `name=plain,api=anthropic,url=http://127.0.0.1:9,apiKeyEnv=KEY name=other,url=${second.url},apiKeyEnv=KEY name=one,url=${first.url},apiKeyEnv=KEY`,
      '--model',
      'name=talk,targets=plain/claude,fallback=one/gpt-realtime+other/spare',
      '--tenant',
      'name=clinic,models=talk,costPerDay=10',
      '--price',
      'model=one/gpt-realtime,input=4,output=16',
      '--tap',
      `name=audit,to=file:${records}`,
    ],
    { env: { SPILLWAY_API_KEYS: 'clinic/web=sk-web,lab/web=sk-lab', KEY: 'theirs' } },
  );
  const url = `${gateway.url}/v1/realtime`;
  const client = await openRealtime(`${url}?model=talk&x=y`, { headers: bearer });
  const model = watched(await first.next());
  expect(first.requests.map(({ url: asked }) => asked)).toEqual(['/v1/realtime?model=gpt-realtime&x=y']);
  expect(first.requests[0]?.headers.authorization).toBe('Bearer theirs');
  expect(second.requests).toEqual([]);
  client.socket.send('{"type":"session.update", "session":{"model":"talk","voice":"a"}}');
  client.socket.send('{"type":"session.update","session":{"model":"spare"}}');
  await eventually(() => model.messages.length === 2, 'what sets up the session');
  expect(model.messages.map(({ data }) => data.toString())).toEqual([
    '{"type":"session.update", "session":{"model":"gpt-realtime","voice":"a"}}',
    '{"type":"session.update","session":{"model":"spare"}}',
  ]);
  model.socket.send(answer);
  await eventually(() => client.messages.length === 1, 'an answer');
  client.socket.close();
  await lineWith(gateway, 'realtime session ended', { provider: 'one', model: 'talk', inputTokens: 300 });
  expect(await todayOf(gateway, bearer)).toMatchObject({ requests: 1, cost: 300 * 4 + 100 * 16 });
  const kept = await eventually(() => {
    const text = readFileSync(records, 'utf8');
    return text.includes('"model":"talk"') && text;
  }, 'the record');
  expect(kept).toMatch(/"provider":"one".*"model":"talk"/);
  // Who has no limits pays the same.
  const free = { authorization: 'Bearer sk-lab' };
  const other = await openRealtime(`${url}?model=talk`, { headers: free });
  (await first.next()).send(answer);
  await eventually(() => other.messages.length === 1, 'an answer');
  other.socket.close();
  await lineWith(gateway, 'realtime session ended', { caller: 'lab/web' });
  expect(await todayOf(gateway, free)).toMatchObject({ requests: 1, cost: 300 * 4 + 100 * 16 });
  // It is allowed by its own name: that of its target is another one.
  expect(await refusedRealtime(`${url}?model=one/gpt-realtime`, { headers: bearer })).toMatchObject({
    status: 403,
  });
});

test('a target that fails is not replaced in the midst: the client is told what it says', async () => {
  const failing = await startRealtimeProvider((_request, socket) =>
    socket.end('HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n'),
  );
  const other = await startRealtimeProvider();
  const gateway = await startGateway(
    [
      '--upstream',
      `name=one,url=${failing.url},apiKeyEnv=KEY name=other,url=${other.url},apiKeyEnv=KEY`,
      '--model',
      'name=talk,targets=one/a,fallback=other/b',
    ],
    { env: { KEY: 'theirs' } },
  );
  const refused = await refusedRealtime(`${gateway.url}/v1/realtime?model=talk`);
  expect(refused).toMatchObject({ status: 429 });
  expect(other.requests).toEqual([]);
});

test.each([
  ['{"type":"session.update","session":{"model":"b"}}'],
  ['{"type":"response.create","session":{"model":"a"}, "x":"session.update"}'],
  ['{"type":"session.update","session":{"model":"a","model":"a"}}'],
  ['{"type":"session.update","session":null}'],
  ['session.update is no JSON'],
  [`{"type":"session.update","session":{"model":"a","instructions":"${'x'.repeat(262_144)}"}}`],
])('a message that names no model for certain goes on as it came: %.60s', (text) => {
  const message = Buffer.from(text);
  expect(sessionModel('a', 'c')(message)).toBe(message);
});
