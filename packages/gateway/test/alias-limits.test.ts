import { expect, onTestFinished, test } from 'vitest';
import type { TenantReport } from '../src/limit/usage-report.ts';
import { eventually, startGateway } from './support/processes.ts';
import { postChat } from './support/requests.ts';
import { openScriptedProvider, refuses, type ScriptedProvider } from './support/scripted-provider.ts';

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
