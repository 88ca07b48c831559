import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import type { PressureChange, Totals } from '@spillway/server/console/snapshot';
import { describe, expect, onTestFinished, test } from 'vitest';
import { parse } from 'yaml';
import { openClient } from '../../client/src/index.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { pressureRules } from '../src/config/pressure-rule.ts';
import { placesLoad } from '../src/pressure/places-load.ts';
import { Pressure } from '../src/pressure/pressure.ts';
import type { RunningAnswer } from '../src/pressure/stop-answers.ts';
import { lineWith, linesOf } from './support/log-lines.ts';
import { eventually, startGateway } from './support/processes.ts';
import { metric } from './support/requests.ts';

type Json = Record<string, unknown>;

const event = (delta: object, finish: string | null): string =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`;

/** A provider that keeps what it is asked, and whose answers to those that say `hold` go on until they are let go. */
async function openProvider(): Promise<{ url: string; bodies: Json[]; letGo: () => void }> {
  const bodies: Json[] = [];
  const held: ServerResponse[] = [];
  const server = createServer((request, response) => {
    let text = '';
    request.setEncoding('utf8').on('data', (part: string) => (text += part));
    request.on('end', () => {
      const body = JSON.parse(text) as Json;
      bodies.push(body);
      response.writeHead(200, {
        'content-type': 'text/event-stream',
        'x-coding': request.headers['content-encoding'] ?? 'none',
      });
      response.write(event({ role: 'assistant', content: 'a' }, null));
      if (body['user'] === 'hold') held.push(response);
      else response.end(`${event({}, 'stop')}data: [DONE]\n\n`);
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    bodies,
    letGo: () => {
      for (const response of held.splice(0)) response.end(`${event({}, 'stop')}data: [DONE]\n\n`);
    },
  };
}

const keys = { shop: 'shop-key-0123456789abcdef', batch: 'batch-key-0123456789abcdef' };

test('places that are taken are pressure: answers give way, everybody is told, and it ends', async () => {
  const provider = await openProvider();
  const records = `${temporaryFolder()}/records.jsonl`;
  const gateway = await startGateway(
    [
      '--upstream',
      `name=local,url=${provider.url} name=other,url=${provider.url}`,
      '--max-streams',
      '5',
      '--tap',
      `name=audit,to=file:${records}`,
      '--tenant',
      'name=batch,priority=low name=shop,priority=normal',
      '--pressure',
      'level=1,models=gpt-*,maxTokens=1000,reasoningEffort=low,logprobs=off,mergeMs=20',
      '--pressure',
      'level=1,models=large,model=other/small level=1,refuse=low',
    ],
    { env: { SPILLWAY_API_KEYS: `shop/a=${keys.shop},batch/a=${keys.batch}` } },
  );
  const ask = (body: Json, tenant: keyof typeof keys = 'shop', coding?: 'gzip'): Promise<Response> => {
    const text = JSON.stringify({ model: 'gpt-x', stream: true, messages: [], ...body });
    return fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${keys[tenant]}`,
        'content-type': 'application/json',
        ...(coding === undefined ? {} : { 'content-encoding': coding }),
      },
      body: coding === undefined ? text : gzipSync(text),
    });
  };
  const asks = (level: number): Promise<true> =>
    eventually(
      async () =>
        (await metric(gateway.adminUrl, 'spillway_pressure_asked{cause="places"}')) === level || undefined,
      `places that ask for level ${level}`,
    );

  // A busy machine is pressure, too, so nothing here needs the level to be 1, or 0 at the beginning or the end.
  const holding = await Promise.all([1, 2, 3, 4].map(() => ask({ user: 'hold' })));
  await asks(1);
  await eventually(
    async () => (await metric(gateway.adminUrl, 'spillway_pressure_level')) >= 1 || undefined,
    'pressure',
  );
  await lineWith(gateway, 'the pressure has risen, and more gives way', { from: 0 });

  const others = await ask({ model: 'other-x', max_tokens: 4000 });
  await others.text();
  expect(others.headers.get('spillway-gave-way')).toBeNull();
  expect(provider.bodies.at(-1)).toMatchObject({ max_tokens: 4000 });

  const asked = { max_tokens: 4000, reasoning_effort: 'high', logprobs: true, top_logprobs: 2, seed: 1 };
  for (const coding of [undefined, 'gzip'] as const) {
    const pressed = await ask(asked, 'shop', coding);
    expect(pressed.headers.get('spillway-gave-way')).toBe(
      'merge_ms=20, logprobs=off, max_tokens=1000, reasoning_effort=low',
    );
    // What was edited has lost its coding.
    expect(pressed.headers.get('x-coding')).toBe('none');
    expect(await pressed.text()).toContain('[DONE]');
    expect(provider.bodies.at(-1)).toEqual({
      model: 'gpt-x',
      stream: true,
      messages: [],
      max_tokens: 1000,
      reasoning_effort: 'low',
      seed: 1,
    });
  }

  // By a session, too: its first frame has the headers.
  const client = openClient({ url: gateway.url, headers: { authorization: `Bearer ${keys.shop}` } });
  onTestFinished(() => client.close());
  const response = await client.fetch('/v1/chat/completions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'gpt-x', stream: true, messages: [], max_tokens: 2000 }),
  });
  expect(response.headers.get('spillway-gave-way')).toBe('max_tokens=1000');
  await response.text();

  const cheaper = await ask({ model: 'large' });
  expect(cheaper.headers.get('spillway-gave-way')).toBe('model=other/small');
  await cheaper.text();
  expect(provider.bodies.at(-1)).toMatchObject({ model: 'small' });

  const refused = await ask({}, 'batch');
  expect(refused.status).toBe(503);
  expect(refused.headers.get('retry-after')).toBe('5');
  expect(refused.headers.get('spillway-gave-way')).toBe('refused');
  expect(await refused.json()).toMatchObject({
    error: {
      code: 'overloaded',
      message: expect.stringMatching(/pressure \(level \d of 3\).*priority low/) as string,
    },
  });
  expect(await metric(gateway.adminUrl, 'spillway_gave_way_total{what="max_tokens"}')).toBe(3);
  expect(linesOf(gateway, 'stream ended').map((line) => line['gaveWay'])).toContain('model=other/small');
  await eventually(
    () => readFileSync(records, 'utf8').includes('"gaveWay":["model=other/small"]') || undefined,
    'the record',
  );

  provider.letGo();
  await Promise.all(holding.map((held) => held.text()));
  await asks(0);
  const history = (await (await fetch(`${gateway.adminUrl}/history`)).json()) as Totals[];
  expect(history.filter(({ pressure }) => (pressure ?? 0) > 0).length).toBeGreaterThan(0);
}, 60_000);

test('under pressure a key may use what it asks for, and pays for what answers', async () => {
  const provider = await openProvider();
  const upstream = `name=local,url=${provider.url} name=other,url=${provider.url}`;
  const gateway = await startGateway(
    [
      ['--upstream', upstream, '--max-streams', '5'],
      ['--model', 'name=fast,targets=local/large,fallback=other/dear'],
      ['--tenant', 'name=shop,models=local/*+fast,costPerDay=5 name=batch,models=local/*,costPerDay=5'],
      [
        '--price',
        'model=local/*,input=100,output=100 model=other/cheap,input=1,output=1 model=other/dear,input=200,output=200',
      ],
      ['--pressure', 'level=1,models=large+fast,model=other/cheap,maxTokens=50'],
      ['--pressure', 'level=1,models=plain,model=other/unpriced'],
    ].flat(),
    {
      env: {
        SPILLWAY_API_KEYS: `shop/a=${keys.shop},batch/a=${keys.batch},hold/a=hold-key-0123456789abcdef`,
      },
    },
  );
  const ask = (body: Json, key = keys.shop): Promise<Response> =>
    fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'large', messages: [], ...body }),
    });
  const hold = { user: 'hold', stream: true };
  const holding = await Promise.all([1, 2, 3, 4].map(() => ask(hold, 'hold-key-0123456789abcdef')));
  await eventually(
    async () => (await metric(gateway.adminUrl, 'spillway_pressure_level')) >= 1 || undefined,
    'pressure',
  );
  const account = async (key: string): Promise<Json> => {
    const headers = { authorization: `Bearer ${key}` };
    const read = (await (await fetch(`${gateway.url}/usage`, { headers })).json()) as {
      usage: { today: Json };
    };
    return read.usage.today;
  };

  // 40,000,000 tokens of either model would cost more than there ever is: what is sent is reserved.
  for (const model of ['large', 'local/large', 'fast']) {
    const answer = await ask({ model, max_tokens: 40_000_000, stream: model === 'fast' });
    expect([answer.status, answer.headers.get('spillway-gave-way')]).toEqual([
      200,
      'max_tokens=50, model=other/cheap',
    ]);
    await answer.text();
    expect(provider.bodies.at(-1)).toMatchObject({ model: 'cheap', max_tokens: 50 });
  }
  const spent = await eventually(async () => {
    const today = await account(keys.shop);
    return today['requests'] === 3 ? today : undefined;
  }, 'the account');
  const { cost, inputTokens, outputTokens, unpricedTokens } = spent;
  expect(inputTokens).toBeGreaterThan(0);
  expect({ cost, unpricedTokens }).toEqual({
    cost: Number(inputTokens) + Number(outputTokens),
    unpricedTokens: 0,
  });

  // What has no price does not answer for who has a limit of money.
  const plain = await ask({ model: 'plain' });
  expect([plain.status, plain.headers.get('spillway-gave-way')]).toEqual([200, null]);
  await plain.text();
  expect(provider.bodies.at(-1)).toMatchObject({ model: 'plain' });
  // Another key may not have that name, with pressure as without.
  const refused = await ask({ model: 'fast' }, keys.batch);
  expect(refused.status).toBe(403);
  await refused.text();

  provider.letGo();
  await Promise.all(holding.map((held) => held.text()));
}, 60_000);

test('the answer that matters least is stopped as a whole message that says why, and one that has not begun is not', async () => {
  const records = `${temporaryFolder()}/records.jsonl`;
  const gateway = await startGateway(
    [
      ['--max-streams', '5', '--tap', `name=audit,to=file:${records}`],
      ['--tenant', 'name=batch,priority=low name=shop,priority=normal'],
      ['--pressure', 'level=1,stop=low'],
    ].flat(),
    { env: { SPILLWAY_API_KEYS: `shop/a=${keys.shop},batch/a=${keys.batch}` } },
  );
  const leave = new AbortController();
  const ended: string[] = [];
  const ask = async (tenant: keyof typeof keys, model: string, name: string): Promise<string> => {
    const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${keys[tenant]}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model, stream: true, messages: [] }),
      signal: leave.signal,
    });
    const text = await answer.text();
    ended.push(name);
    return text;
  };
  const endless = 'sim:tps=20,tokens=100000,ttft=0';
  const others = ['first', 'second', 'third'].map((name) => ask('shop', endless, name));
  const first = ask('batch', endless, 'batch');
  await eventually(
    async () => (await metric(gateway.adminUrl, 'spillway_streams{state="streaming"}')) === 4 || undefined,
    'four that run',
  );
  others.push(ask('batch', 'sim:ttft=100000', 'not begun'));
  const stopped = await first;
  // Nobody else: not the newer one that would get an error, and none of a higher priority.
  expect(ended).toEqual(['batch']);
  leave.abort();
  await Promise.allSettled(others);
  const events = [...stopped.matchAll(/^data: (\{.*)$/gm)].map(([, json = '']) => JSON.parse(json) as Json);
  expect(events.length).toBeGreaterThan(1);
  expect(stopped).toMatch(/data: \[DONE\]\n\n$/);
  expect(JSON.stringify(events)).toContain('"finish_reason":"length"');
  expect(events.at(-1)?.['spillway']).toMatchObject({ reason: 'limit', limit: 'pressure', scope: 'answer' });
  expect(await metric(gateway.adminUrl, 'spillway_gave_way_total{what="stopped"}')).toBe(1);
  await lineWith(gateway, 'stream ended', { state: 'cancelled', code: 'limit_reached' });
  await eventually(
    () => readFileSync(records, 'utf8').includes('priority low') || undefined,
    'the record of its end',
  );
}, 60_000);

test.each(['pressure', 'configuration'])('the rules of docs/%s.md are valid', (name) => {
  const page = readFileSync(new URL(`../../../docs/${name}.md`, import.meta.url), 'utf8');
  const [, yaml = ''] = /^```yaml\n(pressure:\n.*?)^```$/ms.exec(page) ?? [];
  const { pressure } = parse(yaml) as { pressure: unknown };
  expect(pressureRules.parse(pressure).map(({ level }) => level)).toEqual(expect.arrayContaining([1, 2, 3]));
});

test('without a rule there is nothing: no metric, no level, no header', async () => {
  const gateway = await startGateway([]);
  const text = await (await fetch(`${gateway.adminUrl}/metrics`)).text();
  expect(text).not.toMatch(/^spillway_(?:pressure|gave)/m);
  await eventually(async () => {
    const [totals] = (await (await fetch(`${gateway.adminUrl}/history`)).json()) as Totals[];
    return totals?.pressure === null || undefined;
  }, 'a sample');
});

describe('the pressure', () => {
  function open(text: string): {
    pressure: Pressure;
    pass: (seconds: number, places: number) => void;
    lines: object[];
    stops: number[];
  } {
    let nowMs = 0;
    let places = 0;
    const lines: object[] = [];
    const stops: number[] = [];
    const running: RunningAnswer = {
      tenant: 'shop',
      priority: 'low',
      names: ['m'],
      startedMs: 0,
      stop: () => stops.push(nowMs),
    };
    const pressure = new Pressure({
      rules: pressureRules.parse(text),
      clock: { nowMs: () => nowMs, dateMs: () => nowMs },
      log: { info: (figures) => lines.push(figures), warn: (figures) => lines.push(figures) },
      readings: () => ({ places }),
      running: () => [running],
    });
    return {
      pressure,
      lines,
      stops,
      pass(seconds, load) {
        places = load;
        for (let second = 0; second < seconds; second += 1) {
          nowMs += 1000;
          pressure.take({ waitingBytes: 0, loopDelayMs: 0 });
        }
      },
    };
  }

  test('has rules in force from their level on, and others after a reload', () => {
    const { lines, pass, pressure } = open('level=2,maxTokens=100');
    pass(5, 0.9);
    expect([pressure.level, pressure.active]).toEqual([1, undefined]);
    pass(5, 1);
    expect([pressure.level, pressure.active?.members?.includes('max_tokens')]).toEqual([2, true]);
    pressure.use(pressureRules.parse('level=1,mergeMs=10'));
    expect([pressure.level, pressure.active?.members]).toEqual([2, undefined]);
    pressure.use([]);
    expect([pressure.level, pressure.active, pressure.isConfigured]).toEqual([0, undefined, false]);
    pass(5, 1);
    expect(pressure.level).toBe(0);
    expect(lines).toMatchObject([{ pressure: 1 }, { pressure: 2 }]);
  });

  test('stops an answer a second while a cause asks for it, and none for as long as the level stays after that', () => {
    const { pass, pressure, stops } = open('level=2,stop=low');
    pass(5, 0.9);
    expect([pressure.level, stops]).toEqual([1, []]);
    pass(2, 1);
    // One second of it is no pressure yet.
    expect([pressure.level, stops]).toEqual([1, []]);
    pass(3, 1);
    expect([pressure.level, stops, pressure.counts.stopped]).toEqual([2, [8000, 9000, 10_000], 3]);
    pass(2, 0.9);
    expect([pressure.level, stops.length]).toEqual([2, 3]);
    pass(1, 1);
    expect(stops.at(-1)).toBe(13_000);
    pressure.use(pressureRules.parse('level=2,refuse=low'));
    pass(1, 1);
    expect(stops).toHaveLength(4);
  });

  test('remembers the latest fifty changes, and no more', () => {
    const { lines, pass, pressure } = open('level=1,maxTokens=100');
    for (let turn = 0; turn < 40; turn += 1) {
      pass(3, 1);
      pass(30, 0);
    }
    const changes: readonly PressureChange[] = pressure.changes;
    expect(changes).toHaveLength(50);
    expect(lines.at(-1)).toEqual({ pressure: 0, from: 2, cause: 'places', value: 0 });
    expect(changes.at(-1)).toMatchObject({ level: 0, from: 2, cause: 'places' });
  });

  test('of places is the part that is taken, and with the queue that is full', () => {
    expect(placesLoad({ taken: 4, limit: 5, waiting: 0, maxWaiting: 10 })).toBe(0.8);
    expect(placesLoad({ taken: 5, limit: 5, waiting: 5, maxWaiting: 10 })).toBe(1.5);
    expect(placesLoad({ taken: 5, limit: 5, waiting: 0, maxWaiting: 0 })).toBe(1);
    // A limit that became less leaves more taken than there are.
    expect(placesLoad({ taken: 9, limit: 5, waiting: 0, maxWaiting: 10 })).toBe(1);
  });
});
