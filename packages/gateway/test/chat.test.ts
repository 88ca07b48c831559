import { describe, expect, test } from 'vitest';
import { replyText } from '../src/simulate/tokens.ts';
import { eventually, startBoth, startGateway } from './support/processes.ts';
import { metric, openai, payloads, postChat } from './support/requests.ts';

describe('a chat completion', () => {
  test('streams to the official SDK, with nothing configured', async () => {
    const gateway = await startGateway();
    const stream = await openai(gateway.url).chat.completions.create({
      model: 'simulated/sim:tokens=40,tps=0,ttft=0',
      messages: [{ role: 'user', content: 'Hello' }],
      stream: true,
      stream_options: { include_usage: true },
    });
    let content = '';
    let usage = 0;
    for await (const chunk of stream) {
      content += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage?.completion_tokens ?? usage;
    }
    expect(content).toBe(replyText(40, 0));
    expect(usage).toBe(40);
  });

  test('comes in one piece without stream: true', async () => {
    const gateway = await startGateway();
    const completion = await openai(gateway.url).chat.completions.create({
      model: 'sim:tokens=40,tps=0,ttft=0',
      messages: [{ role: 'user', content: 'Hello' }],
    });
    expect(completion.choices[0]?.message.content).toBe(replyText(40, 0));
    expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="completed"}')).toBe(1);
  });

  test('2.1 has the provider’s own bytes', async () => {
    const { gateway, simulator } = await startBoth();
    const model = 'sim:tokens=30,tps=0,ttft=0';
    const direct = await (await postChat(simulator.url, model)).text();
    const through = await (await postChat(gateway.url, model)).text();
    const own = /"id":"[^"]*","object":"chat.completion.chunk","created":\d+/g;
    expect(through.replaceAll(own, '')).toBe(direct.replaceAll(own, ''));
    expect(payloads(through).at(-1)).toBe('[DONE]');
  });

  test('arrives token by token, not at its end', async () => {
    const gateway = await startGateway();
    const response = await postChat(gateway.url, 'sim:stall=3,tps=0,ttft=0');
    let text = '';
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString();
      // The model never ends: if anything waited for the end, this would hang.
      if (payloads(text).length === 4) break;
    }
    expect(payloads(text)).toHaveLength(4);
  });

  test.each([
    'split=1',
    'split=1,eol=crlf,bom',
    'split=1,eol=cr',
    'eol=crlf,split=7',
    'bom,split=2',
    'unterminated',
  ])('is whole however the provider cuts its bytes: %s', async (fault) => {
    const gateway = await startGateway();
    const response = await postChat(gateway.url, `sim:tokens=12,tps=0,ttft=0,${fault}`);
    const found = payloads(await response.text());
    expect(found.at(-1)).toBe('[DONE]');
    const content = found
      .slice(0, -1)
      .map(
        (json) =>
          (JSON.parse(json) as { choices: { delta: { content?: string } }[] }).choices[0]?.delta.content ??
          '',
      )
      .join('');
    expect(content).toBe(replyText(12, 0));
    expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="completed"}')).toBe(1);
  });

  test('2.5 ends at the end marker, whatever the provider sends behind it', async () => {
    const gateway = await startGateway();
    const text = await (await postChat(gateway.url, 'sim:tokens=2,tps=0,ttft=0,trailing=100000')).text();
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
    expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="completed"}')).toBe(1);
  });
});

describe('models', () => {
  test('are listed as provider/model', async () => {
    const { gateway, simulator } = await startBoth();
    const both = await startGateway([
      '--upstream',
      `name=first,url=${simulator.url}/v1`,
      '--upstream',
      `name=second,url=${simulator.url}/v1`,
    ]);
    expect((await openai(gateway.url).models.list()).data.map(({ id }) => id)).toEqual(['upstream/sim']);
    expect((await openai(both.url).models.list()).data.map(({ id }) => id)).toEqual([
      'first/sim',
      'second/sim',
    ]);
  });

  test('a provider that does not answer is left out; when none does, the list is an error', async () => {
    const { gateway, simulator } = await startBoth(['--upstream', 'name=dead,url=http://127.0.0.1:1/v1']);
    expect((await openai(gateway.url).models.list()).data.map(({ id }) => id)).toEqual(['upstream/sim']);
    await simulator.close();
    // Its last list counts for two seconds.
    const error = await eventually(
      async () =>
        await openai(gateway.url)
          .models.list()
          .then(
            () => undefined,
            (thrown: unknown) => thrown,
          ),
      'an error instead of a list',
    );
    expect(error).toMatchObject({ status: 502 });
  });

  test('1.1 go to the provider that their prefix names, and else unchanged to the first', async () => {
    const gateway = await startGateway();
    const modelOf = async (model: string): Promise<string> => {
      const response = await postChat(gateway.url, model, { stream: false });
      return ((await response.json()) as { model: string }).model;
    };
    expect(await modelOf('simulated/sim:ttft=0,tps=0')).toBe('sim:ttft=0,tps=0');
    expect(await modelOf('vendor/sim:ttft=0,tps=0')).toBe('vendor/sim:ttft=0,tps=0');
  });
});
