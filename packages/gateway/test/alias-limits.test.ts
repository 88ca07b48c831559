import { expect, onTestFinished, test } from 'vitest';
import type { TenantReport } from '../src/limit/usage-report.ts';
import { eventually, startGateway } from './support/processes.ts';
import { postChat } from './support/requests.ts';
import {
  openScriptedProvider,
  refuses,
  type ScriptedProvider,
  writeToken,
} from './support/scripted-provider.ts';

const headers = { authorization: 'Bearer sk-clinic' };

async function opened(name: string): Promise<ScriptedProvider> {
  const provider = await openScriptedProvider(name);
  onTestFinished(provider.close);
  return provider;
}

/** A JSON answer that reports 1000 tokens of a prompt, and 1000 of an answer. */
function answersInFull(provider: ScriptedProvider, model: string): void {
  provider.scripts.set(model, (response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    const usage = { prompt_tokens: 1000, completion_tokens: 1000 };
    response.end(
      JSON.stringify({ choices: [{ index: 0, message: { content: 'Hi' }, finish_reason: 'stop' }], usage }),
    );
  });
}

test('limits know a name of one’s own: who may use it, what it may cost at most, and what it has cost', async () => {
  const first = await opened('first');
  const second = await opened('second');
  const upstream = `name=first,url=${first.url}/v1 name=second,url=${second.url}/v1`;
  const model = [
    'name=fast,targets=first/large,fallback=second/small',
    'name=plain,targets=second/other',
    'name=own,targets=second/small',
    'name=wide,targets=second/small first/unpriced',
  ];
  const args = ['--upstream', upstream, '--model', model.join(' ')];
  const price =
    'model=large,input=100,output=100 model=second/small,input=1,output=2 model=own,input=5,output=5';
  const tenant = 'name=clinic,models=fast+own+wide+second/*,costPerDay=10';
  const gateway = await startGateway([...args, '--price', price, '--tenant', tenant], {
    env: { SPILLWAY_API_KEYS: 'clinic=sk-clinic' },
  });
  for (const name of ['small', 'other']) answersInFull(second, name);
  first.scripts.set('large', refuses(503));

  const ask = async (name: string): Promise<number> => {
    const response = await postChat(gateway.url, name, { headers, stream: false });
    await response.arrayBuffer();
    return response.status;
  };
  const cost = async (requests: number): Promise<number> => {
    const report = await eventually(async () => {
      const read = (await (await fetch(`${gateway.url}/usage`, { headers })).json()) as TenantReport;
      return read.usage.today.requests === requests && read;
    }, 'the account');
    return report.usage.today.cost ?? 0;
  };

  expect(await ask('fast')).toBe(200);
  // Millionths: what the second one costs, which gave the answer.
  expect(await cost(1)).toBe(3000);
  // A row of the name itself comes first.
  expect(await ask('own')).toBe(200);
  expect(await cost(2)).toBe(13_000);
  // A pattern of a provider's models is none of the operator's names, wherever these go.
  expect(await ask('plain')).toBe(403);
  expect(await ask('second/small')).toBe(200);
  // One of its targets has no price.
  expect(await ask('wide')).toBe(403);
  expect(second.requestsFor('other')).toHaveLength(0);
  expect(first.requestsFor('unpriced')).toHaveLength(0);
});

/** What a gateway has in its account when so many requests are over. */
function today(gateway: { readonly url: string }, requests: number): Promise<TenantReport['usage']['today']> {
  return eventually(async () => {
    const read = (await (await fetch(`${gateway.url}/usage`, { headers })).json()) as TenantReport;
    return read.usage.today.requests === requests && read.usage.today;
  }, 'the account');
}

const env = { SPILLWAY_API_KEYS: 'clinic=sk-clinic' };

test.each([
  ['money', ['--tenant', 'name=clinic,costPerDay=10']],
  ['requests', ['--tenant', 'name=clinic,requests=100/s']],
  ['tokens', ['--tenant', 'name=clinic,tokensPerDay=1000000']],
  ['nothing', []],
])(
  'a fallback costs what it costs itself, whatever failed before it, with limits of %s',
  async (of, tenant) => {
    const first = await opened('first');
    const second = await opened('second');
    const upstream = `name=first,url=${first.url}/v1 name=second,url=${second.url}/v1`;
    const model = [
      'name=dearer,targets=first/cheap,fallback=second/dear',
      'name=cheaper,targets=first/dear,fallback=second/cheap',
      'name=priced,targets=first/bare,fallback=second/cheap',
      'name=unpriced,targets=first/other,fallback=second/bare',
    ];
    const price =
      '*/cheap,input=1,output=2 model=*/dear,input=100,output=200 model=first/other,input=1,output=2';
    const args = ['--upstream', upstream, '--model', model.join(' '), '--price', `model=${price}`, ...tenant];
    const gateway = await startGateway(args, { env });
    for (const name of ['cheap', 'dear', 'bare']) answersInFull(second, name);
    for (const name of ['cheap', 'dear', 'bare', 'other']) first.scripts.set(name, refuses(503));
    const ask = async (name: string): Promise<number> => {
      const response = await postChat(gateway.url, name, { headers, stream: false });
      await response.arrayBuffer();
      return response.status;
    };

    expect(await ask('dearer')).toBe(200);
    expect(await today(gateway, 1)).toMatchObject({ cost: 300_000, unpricedTokens: 0 });
    expect(await ask('cheaper')).toBe(200);
    expect(await today(gateway, 2)).toMatchObject({ cost: 303_000, unpricedTokens: 0 });
    // Under a limit of money all of them need a price.
    if (of === 'money') return;
    expect(await ask('priced')).toBe(200);
    expect(await today(gateway, 3)).toMatchObject({ cost: 306_000, unpricedTokens: 0 });
    expect(await ask('unpriced')).toBe(200);
    expect(await today(gateway, 4)).toMatchObject({ cost: 306_000, unpricedTokens: 2000 });
    for (const name of ['cheap', 'dear', 'bare', 'other']) expect(first.requestsFor(name)).toHaveLength(1);
  },
);

test('a limit of money holds for a dearer fallback: its answer is ended, and nothing is asked that the rest cannot pay', async () => {
  const first = await opened('first');
  const second = await opened('second');
  const upstream = `name=first,url=${first.url}/v1 name=second,url=${second.url}/v1`;
  const price = 'model=first/*,input=0.1,output=0.4 model=second/*,input=10,output=40';
  const gateway = await startGateway(
    [
      '--upstream',
      upstream,
      '--model',
      'name=fast,targets=first/cheap,fallback=second/dear',
      '--price',
      price,
      '--tenant',
      'name=clinic,costPerDay=0.02',
    ],
    { env },
  );
  first.scripts.set('cheap', refuses(503));
  second.scripts.set('dear', (response) => {
    const timer = setInterval(() => writeToken(response, ' word'), 1);
    response.on('close', () => clearInterval(timer));
  });
  const answer = await postChat(gateway.url, 'fast', { headers });
  const text = await answer.text();
  expect(text).toContain('"limit":"costPerDay"');
  const { cost, outputTokens } = await today(gateway, 1);
  // 500 tokens are all, and what one read brings may be beyond.
  expect(outputTokens).toBeLessThan(700);
  expect(cost).toBeLessThan(28_000);
  const refused = await postChat(gateway.url, 'fast', { headers });
  expect(refused.status).toBe(402);
  await refused.arrayBuffer();
  // The first one alone would have had enough.
  expect(first.requestsFor('cheap')).toHaveLength(1);
});

test('a row that fits a name of one’s own and its target is no row of the name: what stands before it is the target’s', async () => {
  const only = await opened('only');
  const price = 'model=only/dear,input=100,output=200 model=*,input=1,output=2';
  const gateway = await startGateway(
    [
      '--upstream',
      `name=only,url=${only.url}/v1`,
      '--model',
      'name=fast,targets=only/dear',
      '--price',
      price,
    ],
    { env },
  );
  answersInFull(only, 'dear');
  await (await postChat(gateway.url, 'fast', { headers, stream: false })).arrayBuffer();
  expect(await today(gateway, 1)).toMatchObject({ cost: 300_000 });
});

test('a refusal for want of a price says of which target', async () => {
  const first = await opened('first');
  const args = ['--upstream', `name=first,url=${first.url}/v1`, '--tenant', 'name=clinic,costPerDay=10'];
  const model = 'name=wide,targets=first/priced first/unpriced';
  const price = 'model=first/priced,input=1,output=2';
  const gateway = await startGateway([...args, '--model', model, '--price', price], { env });
  const refused = await postChat(gateway.url, 'wide', { headers });
  expect(await refused.json()).toMatchObject({
    error: {
      code: 'model_not_allowed',
      message: expect.stringContaining(
        'The model wide may be answered by first/unpriced, which has no price',
      ) as string,
    },
  });
});
