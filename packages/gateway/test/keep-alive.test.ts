import { describe, expect, test } from 'vitest';
import { startGateway } from './support/processes.ts';
import { payloads, postChat } from './support/requests.ts';

async function readUntil(response: Response, isEnough: (text: string) => boolean): Promise<string> {
  let text = '';
  for await (const chunk of response.body ?? []) {
    text += Buffer.from(chunk).toString();
    if (isEnough(text)) break;
  }
  return text;
}

describe('a silent stream is kept alive', () => {
  test('2.6 with comments between events', async () => {
    const gateway = await startGateway(['--keep-alive-ms', '100']);
    const response = await postChat(gateway.url, 'sim:stall=2,tps=0,ttft=0');
    const text = await readUntil(response, (soFar) => soFar.split(': ping\n\n').length > 3);
    expect(text.replaceAll(': ping\n\n', '')).toBe(text.split(': ping\n\n')[0]);
    expect(payloads(text)).toHaveLength(3);
  });

  test('2.6 with comments, but never inside an event', async () => {
    const gateway = await startGateway(['--keep-alive-ms', '25']);
    // Ten bytes every 10 ms: most of the time, half an event has come.
    const response = await postChat(gateway.url, 'sim:tokens=400,tps=400,ttft=0,split=50');
    const text = await response.text();
    for (const payload of payloads(text).slice(0, -1)) JSON.parse(payload);
    expect(payloads(text).at(-1)).toBe('[DONE]');
  });

  test('2.6 also before the provider answers; an error then comes as an event', async () => {
    const gateway = await startGateway(['--keep-alive-ms', '100']);
    const response = await postChat(gateway.url, 'sim:headers=1000,status=400');
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    const text = await response.text();
    expect(text.startsWith(': ping\n\n')).toBe(true);
    expect(payloads(text)).toHaveLength(1);
    expect(JSON.parse(payloads(text)[0] ?? '')).toMatchObject({ error: { code: 'simulated_400' } });
  });

  test('but not one that does not stream', async () => {
    const gateway = await startGateway(['--keep-alive-ms', '100']);
    const response = await postChat(gateway.url, 'sim:headers=1000,status=400', { stream: false });
    expect(response.status).toBe(400);
  });

  test('2.8 and proxies are told not to buffer', async () => {
    const gateway = await startGateway();
    const response = await postChat(gateway.url, 'sim:tokens=1,tps=0,ttft=0');
    await response.text();
    expect(response.headers.get('x-accel-buffering')).toBe('no');
    expect(response.headers.get('cache-control')).toBe('no-cache, no-transform');
  });
});
