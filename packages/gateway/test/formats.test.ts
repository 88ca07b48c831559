import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { replyText } from '../src/simulate/tokens.ts';
import { startGateway } from './support/processes.ts';
import { type Command, eventually, printed, spawnSpillway } from './support/spawn.ts';
import { type Access, anthropicSdk, geminiSdk, openaiSdk, sdks } from './support/sdks.ts';

/** The official SDKs against a gateway with nothing configured. Only their base URL is another. */

let gateway: Command;
let at: Access;

beforeAll(async () => {
  gateway = spawnSpillway(['serve', '--port', '0', '--admin-port', '0']);
  at = { url: await printed(gateway, /Spillway on (\S+)/), apiKey: 'none' };
});
afterAll(async () => {
  gateway.process.kill('SIGKILL');
  await gateway.exited;
});

/** What the gateway wrote of the stream of a model, which only one test asks for. */
async function logOf(model: string): Promise<Record<string, unknown>> {
  return await eventually(() => {
    const lines = gateway.stderr().split('\n').slice(0, -1);
    const entries = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    return entries.find((entry) => entry['msg'] === 'stream ended' && entry['model'] === model);
  }, `the log line of ${model}`);
}

async function thrown(run: Promise<unknown>): Promise<{ status: unknown; message: string }> {
  const error: unknown = await run.then(
    (value) => {
      throw new Error(`it did not throw, but gave ${JSON.stringify(value)}`);
    },
    (reason: unknown) => reason,
  );
  const { message, status, statusCode } = error as Record<string, unknown>;
  // The AI SDK throws what the provider wrote, as it is.
  return {
    status: status ?? statusCode,
    message: typeof message === 'string' ? message : JSON.stringify(error),
  };
}

describe.each(sdks)('$name', ({ name, api, format, generate, stream }) => {
  const modelOf = (behaviour: string): string =>
    `simulated/sim:tokens=40,tps=0,ttft=0,size=${20 + sdks.findIndex((sdk) => sdk.name === name)},${behaviour}`;
  const text = (): string => replyText(40, 20 + sdks.findIndex((sdk) => sdk.name === name));

  test('streams', async () => {
    const model = modelOf('split=700');
    expect(await stream(at, model)).toBe(text());
    expect(await logOf(model)).toMatchObject({ state: 'completed', api, format });
  });

  test('gets a reply in one piece', async () => {
    const model = modelOf('batch=1');
    expect(await generate(at, model)).toBe(text());
    expect(await logOf(model)).toMatchObject({ state: 'completed', api, format });
  });

  test('throws the provider’s error status', async () => {
    const model = modelOf('status=400');
    for (const run of [stream, generate]) {
      const error = await thrown(run(at, model));
      expect(error).toEqual({ status: 400, message: expect.stringContaining('Simulated status 400.') });
    }
    expect(await logOf(model)).toMatchObject({ state: 'failed', code: 'upstream_invalid', format });
  });

  test('2.4 throws the provider’s error in the middle of a stream', async () => {
    const model = modelOf('error=3');
    const { message } = await thrown(stream(at, model));
    expect(message).toContain('The simulated model failed.');
    expect(await logOf(model)).toMatchObject({ state: 'failed', code: 'upstream_reported' });
  });

  test.each(['cut=3000', 'unfinished'])('2.3 throws when the stream is cut: %s', async (fault) => {
    const model = modelOf(fault);
    const { message } = await thrown(stream(at, model));
    expect(message).toContain('The provider closed the stream before its end');
    expect(await logOf(model)).toMatchObject({ state: 'failed', code: 'upstream_cut' });
  });

  test('throws the gateway’s own error with its status', async () => {
    const model = modelOf('hangup');
    for (const run of [stream, generate]) {
      const { status, message } = await thrown(run(at, model));
      expect(status).toBe(502);
      expect(message).toContain('The provider closed the connection before it answered');
    }
  });
});

describe('beside streams', () => {
  test('Anthropic counts tokens', async () => {
    const messages = [{ role: 'user', content: 'Hello' }] as const;
    const count = await anthropicSdk(at).messages.countTokens({
      model: 'simulated/sim',
      messages: [...messages],
    });
    expect(count.input_tokens).toBe(Math.ceil(JSON.stringify(messages).length / 4));
  });

  test('OpenAI embeds', async () => {
    const input = ['one', 'two'];
    const { data, model } = await openaiSdk(at).embeddings.create({ model: 'simulated/sim', input });
    expect(model).toBe('sim');
    expect(data.map(({ embedding }) => embedding.length)).toEqual([8, 8]);
    expect(data[0]?.embedding).not.toEqual(data[1]?.embedding);
  });

  test('every SDK lists models', async () => {
    expect((await openaiSdk(at).models.list()).data.map(({ id }) => id)).toEqual(['simulated/sim']);
    expect((await anthropicSdk(at).models.list()).data.map(({ id }) => id)).toEqual(['sim']);
    const models = await geminiSdk(at).models.list();
    expect(models.page.map(({ name }) => name)).toEqual(['models/sim']);
  });

  test('what the provider does not have has its own answer', async () => {
    await expect(openaiSdk(at).batches.retrieve('b')).rejects.toMatchObject({
      status: 404,
      code: 'not_found',
    });
    await expect(anthropicSdk(at).messages.batches.retrieve('b')).rejects.toMatchObject({
      status: 404,
      error: {
        type: 'error',
        error: {
          message: expect.stringContaining(
            'The simulated provider has no GET /v1/messages/batches/b. It answers POST to /v1/chat/completions,',
          ) as string,
        },
      },
    });
    await expect(geminiSdk(at).files.get({ name: 'f' })).rejects.toMatchObject({ status: 404 });
  });

  test('a path that nobody has is refused by the gateway, with those that there are', async () => {
    const answer = await fetch(`${at.url}/chat/completions`, { method: 'POST', body: '{}' });
    expect([answer.status, await answer.json()]).toMatchObject([
      404,
      {
        error: {
          code: 'not_found',
          message:
            'Spillway has no POST /chat/completions: the paths of providers begin with /v1/, /v1alpha/, /v1beta/, /openai/, /api/; those of streams with /streams/.',
        },
      },
    ]);
  });

  test('Gemini without alt=sse is no event stream', async () => {
    const response = await fetch(`${at.url}/v1beta/models/sim:tokens=3,ttft=0:streamGenerateContent`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"contents": []}',
    });
    expect(await response.json()).toMatchObject([{ candidates: [{ finishReason: 'STOP' }] }]);
  });
});

describe('an API that no provider has', () => {
  test('is not found, in its own format', async () => {
    const openai = { url: (await startGateway(['--upstream', 'http://127.0.0.1:1/v1'])).url, apiKey: 'k' };
    const text = 'No provider with the API of';
    await expect(anthropicSdk(openai).models.list()).rejects.toMatchObject({
      status: 404,
      error: {
        type: 'error',
        error: { type: 'not_found_error', message: expect.stringContaining(text), code: 'not_found' },
      },
    });
    const { models } = geminiSdk(openai);
    await expect(models.generateContent({ model: 'm', contents: 'Hi' })).rejects.toMatchObject({
      status: 404,
      message: expect.stringMatching(`${text}.*NOT_FOUND`),
    });
    const upstream = 'api=anthropic,url=http://127.0.0.1:1';
    const anthropic = openaiSdk({ url: (await startGateway(['--upstream', upstream])).url, apiKey: 'k' });
    const notFound = { status: 404, code: 'not_found', message: expect.stringContaining(text) };
    await expect(anthropic.models.list()).rejects.toMatchObject(notFound);
    await expect(anthropic.responses.create({ model: 'm', input: 'Hi' })).rejects.toMatchObject(notFound);
  });
});
