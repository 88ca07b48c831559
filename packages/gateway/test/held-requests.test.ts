import type { APIError as AnthropicError } from '@anthropic-ai/sdk';
import OpenAI, { APIError, RateLimitError } from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createFetch } from '../../client/src/index.ts';
import { startBoth } from './support/processes.ts';
import { metric, postChat, simulatorStats } from './support/requests.ts';
import { anthropicSdk, geminiSdk, openaiSdk } from './support/sdks.ts';
import { type Command, eventually, printed, spawnSpillway } from './support/spawn.ts';

/** The tenants of the gateway, each with its limits and with one key, `NAME-secret`. */
const tenants = {
  rated: 'requests=2/min',
  daily: 'tokensPerDay=500',
  poor: 'costPerDay=0.02',
  single: 'streams=1',
  picky: 'models=small+gpt-*',
  bare: 'models=s*m',
  whole: 'models=upstream/*',
  short: 'answerTokens=50',
  slow: 'answerMs=700',
  cut: 'tokensPerDay=3000',
  reported: 'tokensPerDay=3000',
  people: 'userRequests=1/min,userTokensPerDay=2000,sessionTokens=400',
  hammer: 'requests=1/min',
  told: 'requests=600/min,tokensPerMinute=100000',
  gone: 'tokensPerDay=5000,streams=1',
  free: '',
} as const;
type Tenant = keyof typeof tenants;

let gateway: Command & { readonly url: string };
let simulator: Command & { readonly url: string };

beforeAll(async () => {
  const simulating = spawnSpillway(['simulate', '--port', '0']);
  simulator = Object.assign(simulating, {
    url: await printed(simulating, /Simulated provider on (\S+)\/v1/),
  });
  const { url } = simulator;
  const limited = Object.entries(tenants).filter(([, limits]) => limits !== '');
  const serving = spawnSpillway(
    `serve --port 0 --admin-port 0 --wait-timeout-ms 2000 --currency USD --min-answer-tokens 100`
      .split(' ')
      .concat(
        ['--upstream', `${url}/v1 api=anthropic,url=${url} api=gemini,url=${url}`],
        ['--price', 'model=*,input=1,output=100'],
        limited.flatMap(([name, limits]) => ['--tenant', `name=${name},${limits}`]),
      ),
    {
      env: {
        SPILLWAY_API_KEYS: Object.keys(tenants)
          .map((name) => `${name}=${name}-secret`)
          .join(','),
      },
    },
  );
  gateway = Object.assign(serving, { url: await printed(serving, /Spillway on (\S+)/) });
}, 60_000);

afterAll(async () => {
  for (const { exited, process } of [gateway, simulator]) {
    process.kill('SIGKILL');
    await exited;
  }
});

function at(tenant: Tenant): { url: string; apiKey: string } {
  return { url: gateway.url, apiKey: `${tenant}-secret` };
}

const messages = [{ role: 'user' as const, content: 'Hello' }];
/** The simulator's text has 349 words in 400 tokens. */
const tokensPerWord = 400 / 349;
const quick = 'sim:tokens=10,tps=0,ttft=0';

async function ask(
  tenant: Tenant,
  model = quick,
  more: object = {},
  headers: Record<string, string> = {},
): Promise<OpenAI.ChatCompletion> {
  const body = { model, messages, ...more };
  return await openaiSdk(at(tenant)).chat.completions.create({ ...body, stream: false }, { headers });
}

/** The text and the reason of a streamed answer, as the official SDK gathers them. */
async function gather(tenant: Tenant, model: string, more: object = {}) {
  const stream = openaiSdk(at(tenant)).chat.completions.stream({ model, messages, ...more });
  const { choices, usage } = await stream.finalChatCompletion();
  const [choice] = choices;
  const words = choice?.message.content?.trim().split(/\s+/).length ?? 0;
  return { words, reason: choice?.finish_reason, usage };
}

async function refusal(asked: Promise<unknown>): Promise<APIError> {
  const thrown: unknown = await asked.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(APIError);
  return thrown as APIError;
}

async function askedOf(model: string): Promise<number> {
  return (await simulatorStats(simulator.url)).filter((request) => request.model === model).length;
}

describe('what is refused', () => {
  test('requests beyond a rate, with the wait and the limit in headers', async () => {
    await ask('rated');
    await ask('rated');
    const error = await refusal(ask('rated', 'rated:tokens=1,tps=0'));
    expect(error).toBeInstanceOf(RateLimitError);
    expect(error.code).toBe('limit_reached');
    expect(error.message).toMatch(
      /The tenant rated may send 2 requests a minute, and has sent them \(requests\)/,
    );
    expect(Number(error.headers?.get('retry-after'))).toBeGreaterThan(10);
    expect(error.headers?.get('x-ratelimit-limit-requests')).toBe('2');
    expect(error.headers?.get('x-ratelimit-remaining-requests')).toBe('0');
    expect(await askedOf('rated:tokens=1,tps=0')).toBe(0);
    await ask('free');
  });

  test('a tenant that hammers, before its bodies are read, in the shape of every API', async () => {
    await ask('hammer');
    await refusal(ask('hammer'));
    // The body never comes: only its head is sent.
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: 'Bearer hammer-secret', 'content-type': 'application/json' },
      body: new ReadableStream({ start: (body) => body.enqueue(Buffer.from('{')) }),
      duplex: 'half',
    } as RequestInit);
    expect(response.status).toBe(429);
    const anthropic = (await refusalOf(
      anthropicSdk(at('hammer')).messages.create({ model: quick, max_tokens: 10, messages }),
    )) as AnthropicError;
    expect(anthropic.status).toBe(429);
    expect(anthropic.error).toMatchObject({ type: 'error', error: { type: 'rate_limit_error' } });
    expect(anthropic.headers?.get('anthropic-ratelimit-requests-limit')).toBe('1');
    expect(anthropic.headers?.get('anthropic-ratelimit-requests-reset')).toMatch(/^\d{4}-.*Z$/);
    const gemini = await refusalOf(
      geminiSdk(at('hammer')).models.generateContent({ model: 'sim', contents: 'Hello' }),
    );
    expect((gemini as { status: number }).status).toBe(429);
    const session = createFetch({ url: gateway.url });
    try {
      const client = new OpenAI({
        baseURL: `${gateway.url}/v1`,
        apiKey: 'hammer-secret',
        fetch: session,
        maxRetries: 0,
      });
      const error = await refusal(client.chat.completions.create({ model: quick, messages, stream: true }));
      expect([error.status, error.code]).toEqual([429, 'limit_reached']);
    } finally {
      await session.close();
    }
  });

  test('models that a tenant may not use are not listed for it', async () => {
    const idsOf = async (tenant: Tenant): Promise<string[]> => {
      const ids: string[] = [];
      for await (const { id } of openaiSdk(at(tenant)).models.list()) ids.push(id);
      return ids;
    };
    expect(await idsOf('free')).toEqual(['upstream/sim']);
    expect(await idsOf('picky')).toEqual([]);
    expect(await idsOf('bare')).toEqual(['sim']);
    expect(await idsOf('whole')).toEqual(['upstream/sim']);
    await ask('bare', 'sim');
    // It is the same model.
    await ask('bare', 'upstream/sim');
    await ask('whole', 'upstream/sim');
  });

  test('tokens of a day: no SDK tries again', async () => {
    await ask('daily', 'sim:tokens=450,tps=0,ttft=0');
    const error = await refusal(ask('daily'));
    expect(error.status).toBe(429);
    expect(error.message).toMatch(
      /The tenant daily has used \d+ of 500 tokens today; this request needs 1\d\d, with minAnswerTokens, and \d+ are left \(tokensPerDay\)\. It begins again at \d{4}-/,
    );
    expect(error.headers?.get('x-ratelimit-limit-tokens')).toBe('500');
    expect(error.headers?.get('x-should-retry')).toBe('false');
  });

  test('money of a day, with 402', async () => {
    await ask('poor', 'sim:tokens=150,tps=0,ttft=0');
    const error = await refusal(ask('poor'));
    expect(error.status).toBe(402);
    expect(error.message).toMatch(
      /has used 0\.015\d* of 0\.02 USD today; this request needs 0\.01\d*, with minAnswerTokens, and 0\.00\d* are left \(costPerDay\)/,
    );
  });

  test('models that a tenant may not use', async () => {
    await ask('picky', 'small');
    const error = await refusal(ask('picky', 'sim:tokens=20'));
    expect([error.status, error.code]).toEqual([403, 'model_not_allowed']);
    expect(error.message).toContain('gpt-*');
  });

  test('streams at once: one waits its turn, and is refused when that takes too long', async () => {
    const long = ask('single', 'sim:tokens=30,tps=20,ttft=0');
    await eventually(async () => (await askedOf('sim:tokens=30,tps=20,ttft=0')) === 1, 'the first stream');
    await ask('single');
    await long;
    const longer = await postChat(gateway.url, 'sim:tokens=1000,tps=20', {
      headers: { authorization: 'Bearer single-secret' },
    });
    const error = await refusal(ask('single'));
    expect(error.status).toBe(429);
    expect(error.headers?.get('retry-after')).toBe('1');
    expect(error.message).toContain('may have 1 stream at once, and has 1 (streams)');
    await longer.body?.cancel();
    // Its place is free again at once.
    await ask('single');
  });

  test('an end user and a conversation, each for itself', async () => {
    await ask('people', quick, { user: 'ann' });
    expect((await refusal(ask('people', quick, { user: 'ann' }))).message).toContain(
      'This end user may send',
    );
    await ask('people', quick, { user: 'bob' });
    await ask('people', quick, { metadata: { user_id: 'cid' } });
    await ask('people', 'sim:tokens=350,tps=0,ttft=0', {}, { 'spillway-session': 'talk-1' });
    const over = await refusal(ask('people', quick, {}, { 'spillway-session': 'talk-1' }));
    expect(over.message).toMatch(/This conversation has used \d+ of 400 tokens; .*\(sessionTokens\)/);
    await ask('people', quick, {}, { 'spillway-session': 'talk-2' });
    const log = `${gateway.stdout()}${gateway.stderr()}`;
    expect(log).not.toContain('talk-1');
  });
});

async function refusalOf(asked: Promise<unknown>): Promise<unknown> {
  return await asked.then(
    () => expect.unreachable(),
    (error: unknown) => error,
  );
}

describe('what is let through', () => {
  test('is told of its limits, in headers', async () => {
    const { response } = await openaiSdk(at('told'))
      .chat.completions.create({ model: quick, messages })
      .withResponse();
    expect(response.headers.get('x-ratelimit-limit-requests')).toBe('600');
    expect(response.headers.get('x-ratelimit-remaining-requests')).toBe('599');
    expect(response.headers.get('x-ratelimit-limit-tokens')).toBe('100000');
    expect(Number(response.headers.get('x-ratelimit-remaining-tokens'))).toBeGreaterThan(90_000);
  });

  test('whoever leaves gives its place back, and pays for what came', async () => {
    const headers = { authorization: 'Bearer gone-secret' };
    const response = await postChat(gateway.url, 'sim:tokens=1000,tps=100', { headers });
    const reader = response.body?.getReader();
    await reader?.read();
    await reader?.cancel();
    const { response: next } = await openaiSdk(at('gone'))
      .chat.completions.create({ model: quick, messages })
      .withResponse();
    expect(Number(next.headers.get('x-ratelimit-remaining-tokens'))).toBeLessThan(5000);
  });
});

describe('what is ended in its midst', () => {
  test('an answer with more tokens than one may have', async () => {
    const { reason, words } = await gather('short', 'sim:tokens=400,tps=400,ttft=0');
    expect(reason).toBe('length');
    expect(words * tokensPerWord).toBeGreaterThan(45);
    // The limit and one read: 16 KiB, of a gateway that had no time until then.
    expect(words * tokensPerWord).toBeLessThan(50 + 90);
  });

  test('an answer that takes longer than one may', async () => {
    const { reason, usage, words } = await gather('slow', 'sim:tokens=400,tps=50,ttft=0');
    expect(reason).toBe('length');
    expect(words).toBeLessThan(120);
    // The provider had no time to say it.
    expect(usage?.prompt_tokens).toBeGreaterThan(5);
    expect(usage?.completion_tokens).toBeGreaterThan(10);
  });

  test.each([true, false])('an answer that does not begin in its time, as a stream: %s', async (stream) => {
    const model = `sim:tokens=${stream ? 10 : 11},tps=0,ttft=3000`;
    const asked = openaiSdk(at('slow')).chat.completions.create({ model, messages, stream });
    const error = await refusal(asked);
    expect([error.status, error.code]).toEqual([504, 'limit_reached']);
    expect(error.headers?.get('x-should-retry')).toBe('false');
    expect(error.message).toContain('The answer had not begun after');
    expect(await askedOf(model)).toBe(1);
  });

  test('tokens of a day, used up in several slices: never more than the limit and one chunk', async () => {
    const { reason, words } = await gather('cut', 'sim:tokens=5000,tps=2000,ttft=0');
    expect(reason).toBe('length');
    expect(words * tokensPerWord).toBeGreaterThan(2900);
    // One read of a provider has 16 KiB at most: 63 tokens.
    expect(words * tokensPerWord).toBeLessThan(3080);
    const error = await refusal(ask('cut'));
    const used = Number(/has used (\d+) of 3000 tokens today/.exec(error.message)?.[1]);
    expect(used).toBeGreaterThanOrEqual(3000);
    expect(used).toBeLessThan(3080);
  });

  test('by every SDK as a whole message', async () => {
    const anthropic = await anthropicSdk(at('short'))
      .messages.stream({ model: 'sim:tokens=400,tps=400,ttft=0', max_tokens: 1000, messages })
      .finalMessage();
    expect(anthropic.stop_reason).toBe('max_tokens');
    const stream = openaiSdk(at('short')).responses.stream({
      model: 'sim:tokens=400,tps=400,ttft=0',
      input: 'Hello',
    });
    const { incomplete_details: details, status } = await stream.finalResponse();
    expect([status, details?.reason]).toEqual(['incomplete', 'max_output_tokens']);
    const chunks = await geminiSdk(at('short')).models.generateContentStream({
      model: 'sim:tokens=400,tps=400,ttft=0',
      contents: 'Hello',
    });
    let last: string | undefined;
    for await (const { candidates } of chunks) last = candidates?.[0]?.finishReason ?? last;
    expect(last).toBe('MAX_TOKENS');
  });
});

test('what is used is what the provider says, not the estimate', async () => {
  const model = 'sim:tokens=1000,tps=0,ttft=0,batch=10';
  const stream = openaiSdk(at('reported')).chat.completions.stream({
    model,
    messages,
    stream_options: { include_usage: true },
  });
  const { usage } = await stream.finalChatCompletion();
  const { response } = await openaiSdk(at('reported'))
    .chat.completions.create({ model: quick, messages, max_tokens: 10 })
    .withResponse();
  const left = Number(response.headers.get('x-ratelimit-remaining-tokens'));
  // What the second request has reserved is not left either.
  expect(3000 - left).toBeGreaterThanOrEqual(usage?.total_tokens ?? Infinity);
  expect(3000 - left).toBeLessThan((usage?.total_tokens ?? 0) + 400);
});

test('of those who wait for a place of maxStreams, the tenant with the higher priority is served first', async () => {
  const { gateway: own, simulator: provider } = await startBoth(
    ['--max-streams', '1', '--tenant', 'name=patient,priority=low', '--tenant', 'name=urgent,priority=high'],
    { env: { SPILLWAY_API_KEYS: 'patient=patient-secret,urgent=urgent-secret' } },
  );
  const chat = async (tenant: string, model: string): Promise<Response> =>
    await postChat(own.url, model, { headers: { authorization: `Bearer ${tenant}-secret` } });
  // It was served last, so that the other one would be first if both had the same priority.
  const first = await chat('urgent', 'sim:stall=1,tps=0,ttft=0');
  const streams = (state: string): Promise<number> =>
    metric(own.adminUrl, `spillway_streams{state="${state}"}`);
  const model = (tenant: string): string => `${tenant}:tokens=1,tps=0,ttft=0`;
  const answers: Promise<Response>[] = [];
  for (const [index, tenant] of ['patient', 'patient', 'urgent'].entries()) {
    answers.push(chat(tenant, model(tenant)));
    await eventually(async () => (await streams('waiting')) === index + 1, `${tenant} to wait`);
  }
  await first.body?.cancel();
  for (const answer of answers) await (await answer).text();
  const asked = (await simulatorStats(provider.url)).map((request) => request.model).slice(1);
  expect(asked).toEqual([model('urgent'), model('patient'), model('patient')]);
});
