import { AzureOpenAI, toFile } from 'openai';
import { describe, expect, test } from 'vitest';
import { eventually, startGateway } from './support/processes.ts';
import { metric } from './support/requests.ts';
import { openaiSdk } from './support/sdks.ts';
import { refuse, Refusal, startStrictProvider, type StrictProvider } from './support/strict-provider.ts';

const apiVersion = '2024-10-21';

/** A resource of Azure's: it reads the deployment in the path, and wants a version and its key as `api-key`. */
async function startAzure(deployments: readonly string[], key: string): Promise<StrictProvider> {
  return await startStrictProvider(({ fields, headers, path, query }, response) => {
    try {
      if (headers['api-key'] !== key || headers.authorization !== undefined)
        throw new Refusal(401, 'Access denied due to invalid subscription key or wrong API endpoint.');
      if (query.getAll('api-version').join() !== apiVersion) throw new Refusal(404, 'Resource not found');
      const [, deployment = '', operation] = /^\/openai\/deployments\/([^/]+)\/(.+)$/.exec(path) ?? [];
      if (!deployments.includes(decodeURIComponent(deployment)))
        throw new Refusal(404, 'The API deployment for this resource does not exist.');
      if (JSON.stringify(fields['model'] ?? '').includes('/')) throw new Refusal(400, 'unknown model');
      if (operation === 'audio/transcriptions') {
        response
          .writeHead(200, { 'content-type': 'application/json' })
          .end(JSON.stringify({ text: deployment }));
        return;
      }
      const content = { content: deployment };
      if (fields['stream'] !== true) {
        const choices = [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', ...content } }];
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ choices }));
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      // The first of its events has no choice.
      response.write('data: {"choices":[],"prompt_filter_results":[]}\n\n');
      response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: content }] })}\n\n`);
      response.end('data: [DONE]\n\n');
    } catch (error) {
      refuse(response, error);
    }
  });
}

function azureSdk(url: string, apiKey: string): AzureOpenAI {
  return new AzureOpenAI({ endpoint: url, apiKey, apiVersion, maxRetries: 0, logLevel: 'off' });
}

const messages = [{ role: 'user', content: 'Hello' }] as const;

describe('1.1 Azure', () => {
  test('the deployment in the path of its official SDK decides which of two resources is asked', async () => {
    const first = await startAzure(['d1'], 'k');
    const second = await startAzure(['d2', 'whisper'], 'k');
    const upstreams = `name=first,api=azure,url=${first.url} name=second,api=azure,url=${second.url}/openai`;
    const gateway = await startGateway(['--upstream', upstreams]);
    // 1.3 The client's own key is handed on, as api-key.
    const azure = azureSdk(gateway.url, 'k');
    for (const [model, deployment] of [
      ['d1', 'd1'],
      ['first/d1', 'd1'],
      ['second/d2', 'd2'],
    ] as const) {
      const reply = await azure.chat.completions.create({ model, messages: [...messages] });
      expect(reply.choices[0]?.message.content).toBe(deployment);
      let text = '';
      for await (const event of await azure.chat.completions.create({
        model,
        messages: [...messages],
        stream: true,
      }))
        text += event.choices[0]?.delta.content ?? '';
      expect(text).toBe(deployment);
    }
    const file = await toFile(Buffer.alloc(100_000, 'x'), 'a.wav');
    expect((await azure.audio.transcriptions.create({ file, model: 'second/whisper' })).text).toBe('whisper');
    await expect(azure.chat.completions.create({ model: 'none', messages: [...messages] })).rejects.toThrow(
      /404 The API deployment/,
    );
    await expect(
      azureSdk(gateway.url, 'other').chat.completions.create({ model: 'd1', messages: [...messages] }),
    ).rejects.toThrow(/401 Access denied/);
  });

  test('1.3 a key of the gateway is taken as api-key, and never leaves it', async () => {
    const resource = await startAzure(['d1'], 'configured');
    const gateway = await startGateway(['--upstream', `api=azure,url=${resource.url},apiKeyEnv=AZURE_KEY`], {
      env: { AZURE_KEY: 'configured', SPILLWAY_API_KEYS: 'of-the-gateway' },
    });
    const azure = azureSdk(gateway.url, 'of-the-gateway');
    const reply = await azure.chat.completions.create({ model: 'd1', messages: [...messages] });
    expect(reply.choices[0]?.message.content).toBe('d1');
    expect(JSON.stringify(resource.requests[0]?.headers)).not.toContain('of-the-gateway');
    await expect(
      azureSdk(gateway.url, 'wrong').chat.completions.create({ model: 'd1', messages: [...messages] }),
    ).rejects.toThrow(/401/);
    expect(resource.requests).toHaveLength(1);
  });

  test('1.6 a base with a query, and a header for its key: a deployment behind plain OpenAI paths', async () => {
    const resource = await startAzure(['d1'], 'configured');
    const url = `${resource.url}/openai/deployments/d1?api-version=${apiVersion}`;
    const gateway = await startGateway(
      ['--upstream', `name=azure,url=${url},apiKeyEnv=AZURE_KEY,keyHeader=api-key`],
      { env: { AZURE_KEY: 'configured' } },
    );
    const openai = openaiSdk({ url: gateway.url, apiKey: 'clients' });
    const reply = await openai.chat.completions.create({ model: 'azure/gpt', messages: [...messages] });
    expect(reply.choices[0]?.message.content).toBe('d1');
    // What the configuration says cannot be said otherwise, in whatever spelling.
    for (const query of ['?api-version=1', '?a=%20b&api%2Dversion=1&api-version=2&c', '?&a=%20b&c']) {
      const response = await fetch(`${gateway.url}/v1/chat/completions${query}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'api-key': 'clients' },
        body: '{"model":"azure/gpt"}',
      });
      expect(response.status).toBe(200);
      const { query: got } = resource.requests.at(-1) ?? {};
      expect(got?.getAll('api-version')).toEqual([apiVersion]);
      if (query.includes('a=%20b')) expect([got?.get('a'), got?.get('c')]).toEqual([' b', '']);
    }
    expect(gateway.stdout()).not.toContain('api-version');
  });
});

describe('1.1 Ollama', () => {
  const line = (content: string, done = false): string =>
    `${JSON.stringify({ model: 'llama', message: { role: 'assistant', content }, done })}\n`;

  test('its own paths pass: lines come as they are written, with the model of curl -d, which says that it is a form', async () => {
    const isRead = Promise.withResolvers<void>();
    const ollama = await startStrictProvider(({ bytes, path }, response) => {
      // It parses whatever came, and has no model with a slash in front.
      const { model } = bytes.length === 0 ? {} : (JSON.parse(bytes.toString()) as { model?: string });
      if (path === '/api/tags') {
        response.writeHead(200, { 'content-type': 'application/json' }).end('{"models":[{"name":"llama"}]}');
      } else if (model !== 'llama') {
        response.writeHead(404, { 'content-type': 'application/json' });
        response.end(`{"error":"model '${model}' not found"}`);
      } else {
        response.writeHead(200, { 'content-type': 'application/x-ndjson' });
        response.write(line('Hel'));
        void isRead.promise.then(() => response.end(line('lo') + line('', true)));
      }
    });
    const other = await startStrictProvider((_request, response) => response.end('{}'));
    const upstreams = `name=other,api=ollama,url=${other.url} name=local,api=ollama,url=${ollama.url}/api/`;
    const gateway = await startGateway(['--upstream', upstreams]);
    for (const path of ['/api/chat', '/api/generate']) {
      for (const contentType of ['application/json', 'application/x-www-form-urlencoded', 'text/plain']) {
        const response = await fetch(gateway.url + path, {
          method: 'POST',
          headers: { 'content-type': contentType },
          body: '{"model": "local/llama", "messages": []}',
        });
        expect(response.headers.get('content-type')).toBe('application/x-ndjson');
        let text = '';
        for await (const piece of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
          text += piece;
          // The second line is not written before the first was read.
          if (text === line('Hel')) isRead.resolve();
        }
        expect(text).toBe(line('Hel') + line('lo') + line('', true));
      }
    }
    const refused = await fetch(`${gateway.url}/api/chat`, {
      method: 'POST',
      body: '{"model":"local/none"}',
    });
    expect([refused.status, await refused.json()]).toEqual([404, { error: "model 'none' not found" }]);
    expect(other.requests).toHaveLength(0);
    expect(await (await fetch(`${gateway.url}/api/tags`)).text()).toBe('{}');
    expect(other.requests[0]?.path).toBe('/api/tags');
  });

  test('its lines wait for a client that does not read', async () => {
    let written = 0;
    const ollama = await startStrictProvider((_request, response) => {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      const write = (): void => {
        while (written < 40_000_000) {
          const text = line('x'.repeat(1000));
          written += text.length;
          if (!response.write(text)) return void response.once('drain', write);
        }
        response.end(line('', true));
      };
      write();
    });
    const gateway = await startGateway(['--upstream', `api=ollama,url=${ollama.url}`]);
    const response = await fetch(`${gateway.url}/api/chat`, { method: 'POST', body: '{"model":"llama"}' });
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_streams{state="paused"}')) === 1,
      'the provider to wait',
    );
    expect(written).toBeLessThan(40_000_000);
    expect(await metric(gateway.adminUrl, 'spillway_held_bytes')).toBeLessThanOrEqual(65_536);
    let bytes = 0;
    for await (const piece of response.body ?? []) bytes += piece.length;
    expect(bytes).toBe(written + line('', true).length);
  });

  test('errors of the gateway have its shape; without one of its kind there is nobody to ask', async () => {
    const gateway = await startGateway(['--upstream', 'api=ollama,url=http://127.0.0.1:9']);
    const response = await fetch(`${gateway.url}/api/chat`, { method: 'POST', body: '{"model":"llama"}' });
    expect(response.status).toBe(502);
    expect(await response.json()).toEqual({ error: expect.stringContaining('cannot be reached') as string });
    const none = await fetch(`${gateway.url}/openai/deployments/d/chat/completions`, {
      method: 'POST',
      body: '{}',
    });
    expect([none.status, ((await none.json()) as { error: { code: string } }).error.code]).toEqual([
      404,
      'not_found',
    ]);
  });
});
