import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import type { TenantReport } from '../src/limit/usage-report.ts';
import { eventually, startGateway } from './support/processes.ts';
import { chatBody } from './support/requests.ts';

/** A provider whose events each report the tokens of all so far, and whose answers end only after a long while. */
async function startProvider(eventOf: (total: number) => unknown): Promise<string> {
  const speak = async (response: ServerResponse): Promise<void> => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (let at = 1; at <= 1000 && !response.destroyed; at += 1) {
      response.write(`data: ${JSON.stringify(eventOf(at * 50))}\n\n`);
      await sleep(5);
    }
    response.end();
  };
  const server = createServer((request, response) => {
    request.resume().on('end', () => void speak(response));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const gemini = (total: number): unknown => ({
  candidates: [{ content: { role: 'model', parts: [{ text: 'x' }] }, index: 0 }],
  usageMetadata: {
    promptTokenCount: 10,
    candidatesTokenCount: total / 50,
    thoughtsTokenCount: (total / 50) * 49,
  },
});
const chat = (total: number): unknown => ({
  choices: [{ index: 0, delta: { content: 'x' } }],
  usage: { prompt_tokens: 10, completion_tokens: total, total_tokens: total + 10 },
});

test.each([
  [
    'gemini',
    gemini,
    '/v1beta/models/thinks:streamGenerateContent?alt=sse',
    '{"contents":[]}',
    '"finishReason":"MAX_TOKENS"',
  ],
  ['openai', chat, '/v1/chat/completions', chatBody('thinks'), '"finish_reason":"length"'],
])(
  'an answer ends when its provider has reported what is left, in the format of %s',
  async (api, eventOf, path, body, ended) => {
    const provider = await startProvider(eventOf);
    const gateway = await startGateway(
      ['--upstream', `api=${api},url=${provider}`, '--tenant', 'name=clinic,tokensPerDay=3000'],
      {
        env: { SPILLWAY_API_KEYS: 'clinic=sk-web' },
      },
    );
    const headers = { authorization: 'Bearer sk-web' };
    const asked = { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body };
    const text = await (await fetch(`${gateway.url}${path}`, asked)).text();
    expect(text).toContain(ended);
    expect(text).toContain('"usage":"reported"');
    const usageOf = async (): Promise<TenantReport> =>
      (await (await fetch(`${gateway.url}/usage`, { headers })).json()) as TenantReport;
    await eventually(async () => (await usageOf()).usage.today.cut === 1, 'the account');
    const { estimatedTokens, inputTokens, outputTokens } = (await usageOf()).usage.today;
    expect({ estimatedTokens, inputTokens }).toEqual({ estimatedTokens: 0, inputTokens: 10 });
    expect(outputTokens).toBeGreaterThan(2800);
    // One read brings 16 KiB at most, which are 110 of these events.
    expect(outputTokens).toBeLessThan(3000 + 110 * 50);
  },
);
