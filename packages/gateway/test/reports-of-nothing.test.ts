import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseRecord, type TapRecord } from '@spillway/server/tap/tap-record';
import { expect, onTestFinished, test } from 'vitest';
import type { UsageFigures } from '../src/limit/usage-figures.ts';
import type { TenantReport } from '../src/limit/usage-report.ts';
import { lineWith } from './support/log-lines.ts';
import { eventually, type RunningGateway, startGateway } from './support/processes.ts';

/** What a provider says: its text, and the tokens that it reports of prompt and answer. */
interface Said {
  readonly text: string;
  readonly input: number;
  readonly output: number;
}

/** An API, as far as a provider has to speak it. */
interface Api {
  readonly name: string;
  readonly path: (model: string, streams: boolean) => string;
  readonly events: (said: Said) => readonly object[];
  readonly whole: (said: Said) => object;
}

const words = (text: string): string[] => (text === '' ? [] : text.split(/(?<= )/));
const openai = ({ input, output }: Said): object => ({ prompt_tokens: input, completion_tokens: output });
const named = ({ input, output }: Said): object => ({ input_tokens: input, output_tokens: output });
const ofGemini = ({ input, output }: Said): object => ({
  promptTokenCount: input,
  candidatesTokenCount: output,
});
const geminiPart = (text: string, more: object): object => ({
  candidates: [{ index: 0, content: { role: 'model', parts: [{ text }] }, ...more }],
});
const itemOf = (text: string): object => ({ type: 'message', content: [{ type: 'output_text', text }] });

const apis: readonly Api[] = [
  {
    name: 'Chat Completions',
    path: () => '/v1/chat/completions',
    events: (said) => [
      { choices: [{ index: 0, delta: { role: 'assistant', content: '' } }] },
      ...words(said.text).map((content) => ({ choices: [{ index: 0, delta: { content } }] })),
      { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] },
      { choices: [], usage: openai(said) },
    ],
    whole: (said) => ({
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: said.text, refusal: null },
          finish_reason: 'stop',
        },
      ],
      usage: openai(said),
    }),
  },
  {
    name: 'completions',
    path: () => '/v1/completions',
    events: (said) => [
      ...words(said.text).map((text) => ({ choices: [{ index: 0, text, finish_reason: null }] })),
      { choices: [{ index: 0, text: '', finish_reason: 'stop' }], usage: openai(said) },
    ],
    whole: (said) => ({
      choices: [{ index: 0, text: said.text, finish_reason: 'stop' }],
      usage: openai(said),
    }),
  },
  {
    name: 'Responses',
    path: () => '/v1/responses',
    events: (said) => [
      { type: 'response.created', response: { output: [], usage: null } },
      ...words(said.text).map((delta) => ({ type: 'response.output_text.delta', delta })),
      { type: 'response.completed', response: { output: [itemOf(said.text)], usage: named(said) } },
    ],
    whole: (said) => ({ object: 'response', output: [itemOf(said.text)], usage: named(said) }),
  },
  {
    name: 'Responses whose text comes with the end',
    path: () => '/v1/responses',
    events: (said) => [
      { type: 'response.created', response: { output: [], usage: null } },
      { type: 'response.completed', response: { output: [itemOf(said.text)], usage: named(said) } },
    ],
    whole: (said) => ({ object: 'response', output: [itemOf(said.text)], usage: named(said) }),
  },
  {
    name: 'Messages',
    path: () => '/v1/messages',
    events: (said) => [
      {
        type: 'message_start',
        message: { type: 'message', content: [], usage: named({ ...said, output: 1 }) },
      },
      { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
      ...words(said.text).map((text) => ({
        type: 'content_block_delta',
        index: 0,
        delta: { type: 'text_delta', text },
      })),
      { type: 'content_block_stop', index: 0 },
      { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: said.output } },
      { type: 'message_stop' },
    ],
    whole: (said) => ({ type: 'message', content: [{ type: 'text', text: said.text }], usage: named(said) }),
  },
  {
    name: 'Gemini',
    path: (model, streams) =>
      `/v1beta/models/${model}:${streams ? 'streamGenerateContent?alt=sse' : 'generateContent'}`,
    events: (said) => [
      ...words(said.text).map((text) => geminiPart(text, {})),
      { ...geminiPart('', { finishReason: 'STOP' }), usageMetadata: ofGemini(said) },
    ],
    whole: (said) => ({ ...geminiPart(said.text, { finishReason: 'STOP' }), usageMetadata: ofGemini(said) }),
  },
];

/** A provider that says what the test wants next, in each API. */
async function startProvider(next: () => { readonly api: Api; readonly said: Said }): Promise<string> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      const { api, said } = next();
      const streams = request.headers['x-streams'] === 'yes';
      response.writeHead(200, { 'content-type': streams ? 'text/event-stream' : 'application/json' });
      if (!streams) {
        response.end(JSON.stringify(api.whole(said)));
        return;
      }
      const end = api.path('m', true).startsWith('/v1/c') ? 'data: [DONE]\n\n' : '';
      const events = api.events(said).map((event) => {
        const { type } = event as { readonly type?: string };
        return `${type === undefined ? '' : `event: ${type}\n`}data: ${JSON.stringify(event)}\n\n`;
      });
      response.end(events.join('') + end);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });

async function reportOf({ url }: RunningGateway, key: string): Promise<TenantReport> {
  return (await (await fetch(`${url}/usage`, { headers: bearer(key) })).json()) as TenantReport;
}

const text = 'Water flows over the spillway and down into the valley. '.repeat(5);

test.each(apis)('that an answer of $name has no tokens is not believed where it came', async (api) => {
  let said: Said = { text, input: 0, output: 0 };
  const url = await startProvider(() => ({ api, said }));
  const folder = mkdtempSync(join(tmpdir(), 'reports-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const tap = join(folder, 'records.jsonl');
  const gateway = await startGateway(
    [
      ['--upstream', `${url}/v1 api=anthropic,url=${url} api=gemini,url=${url}`],
      ['--tenant', 'name=clinic,tokensPerDay=1000000'],
      ['--price', 'model=*,input=1,output=1'],
      ['--tap', `to=file:${tap}`],
    ].flat(),
    { env: { SPILLWAY_API_KEYS: 'clinic/web=sk-web,lab=sk-lab' } },
  );
  let asked = 0;
  /** What one answer has added to the account; its record, and its line. */
  const ask = async (
    key: string,
    streams: boolean,
    one: Said,
  ): Promise<{
    readonly added: Pick<UsageFigures, 'estimatedTokens' | 'inputTokens' | 'outputTokens'>;
    readonly recorded: (TapRecord & { readonly kind: 'end' })['usage'];
  }> => {
    said = one;
    asked += 1;
    const model = `m-${asked}`;
    const before = (await reportOf(gateway, key)).usage.today;
    const response = await fetch(gateway.url + api.path(model, streams), {
      method: 'POST',
      headers: {
        ...bearer(key),
        'content-type': 'application/json',
        ...(streams && { 'x-streams': 'yes' }),
      },
      body: JSON.stringify({ model, max_tokens: 500, prompt: 'Say a word. '.repeat(10), stream: streams }),
    });
    expect(response.status).toBe(200);
    await response.text();
    const after = await eventually(async () => {
      const { today } = (await reportOf(gateway, key)).usage;
      return today.requests > before.requests ? today : undefined;
    }, 'the account');
    const recorded = await eventually(() => {
      const lines = readFileSync(tap, 'utf8').split('\n').slice(0, -1);
      const records = lines.map((line) => parseRecord(Buffer.from(line)));
      const begin = records.find((record) => record.kind === 'begin' && record.model === model);
      return records.find((record) => record.kind === 'end' && record.stream === begin?.stream);
    }, 'the record');
    const line = await lineWith(gateway, 'stream ended', { model });
    // Whoever reads the line gets what the provider reports, and no 0 that it is not.
    expect(line['outputTokens']).toBe(one.output > 0 || one.text === '' ? one.output : undefined);
    return {
      added: {
        inputTokens: after.inputTokens - before.inputTokens,
        outputTokens: after.outputTokens - before.outputTokens,
        estimatedTokens: after.estimatedTokens - before.estimatedTokens,
      },
      recorded: recorded.kind === 'end' ? recorded.usage : undefined,
    };
  };
  for (const key of ['sk-web', 'sk-lab']) {
    for (const streams of [true, false]) {
      const what = `${key}, ${streams ? 'a stream' : 'in one piece'}`;
      const none = await ask(key, streams, { text, input: 0, output: 0 });
      const { inputTokens, outputTokens } = none.added;
      expect(inputTokens, what).toBeGreaterThan(25);
      // Of one that comes with the end there are two events.
      const isAtEnd = streams && api.name.endsWith('the end');
      expect(outputTokens, what).toBeGreaterThan(isAtEnd ? 0 : 30);
      expect(none.added.estimatedTokens, what).toBe(inputTokens + outputTokens);
      // A record says nothing of an answer in one piece that nobody has reported.
      if (streams)
        expect(none.recorded, what).toEqual({ outputTokens: expect.any(Number), source: 'estimated' });
      else expect(none.recorded, what).toBeUndefined();
      if (streams && !isAtEnd) expect(none.recorded?.outputTokens, what).toBeGreaterThan(30);
      const half = await ask(key, streams, { text, input: 7, output: 0 });
      expect(half.added, what).toEqual({ inputTokens: 7, outputTokens, estimatedTokens: outputTokens });
      expect(half.recorded, what).toMatchObject({ inputTokens: 7, source: 'estimated' });
      const other = await ask(key, streams, { text, input: 0, output: 9 });
      expect(other.added, what).toEqual({ inputTokens, outputTokens: 9, estimatedTokens: inputTokens });
      expect(other.recorded, what).toEqual({ outputTokens: 9, source: 'reported' });
      // Where nothing came, nothing may be what it cost.
      const empty = await ask(key, streams, { text: '', input: 7, output: 0 });
      expect(empty.added, what).toEqual({ inputTokens: 7, outputTokens: 0, estimatedTokens: 0 });
      expect(empty.recorded, what).toEqual({ inputTokens: 7, outputTokens: 0, source: 'reported' });
    }
  }
  const { limits, usage } = await reportOf(gateway, 'sk-web');
  // What limits count is what the account says.
  expect(limits?.find(({ name }) => name === 'tokensPerDay')?.used).toBe(
    usage.today.inputTokens + usage.today.outputTokens,
  );
});
