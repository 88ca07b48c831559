import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import OpenAI from 'openai';
import { type Command, printed, spawnSpillway } from './support/spawn.ts';

const providerSays = 'sim:tps=200,ttft=0,tokens=100';
let gateway: Command;
let url: string;

beforeAll(async () => {
  gateway = spawnSpillway(['serve', '--port', '0', '--admin-port', '0', '--log-level', 'silent']);
  url = await printed(gateway, /Spillway on (\S+)/);
});
afterAll(async () => {
  gateway.process.kill('SIGKILL');
  await gateway.exited;
});

/** What the official SDK gets, and in how many events. */
async function read(mergeMs: string | undefined): Promise<{ text: string; events: number }> {
  const defaultHeaders = mergeMs === undefined ? {} : { 'Spillway-Merge-Ms': mergeMs };
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: 'k', defaultHeaders, maxRetries: 0 });
  const stream = await client.chat.completions.create({
    model: providerSays,
    stream: true,
    messages: [{ role: 'user', content: 'Hi' }],
  });
  let text = '';
  let events = 0;
  for await (const { choices } of stream) {
    events += 1;
    text += choices[0]?.delta.content ?? '';
  }
  return { text, events };
}

describe('2.9 time between two writes', () => {
  test('merges what comes meanwhile, without loss', async () => {
    const plain = await read(undefined);
    const merged = await read('50');
    expect(merged.text).toBe(plain.text);
    expect(plain.events).toBeGreaterThan(100);
    // 100 tokens in half a second: about ten writes, and the two events around them.
    expect(merged.events).toBeLessThan(40);
    expect((await read('0')).text).toBe(plain.text);
  });

  test.each(['1001', '-1', '5.5', 'fast', ''])('refuses %j', async (mergeMs) => {
    const response = await fetch(`${url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'spillway-merge-ms': mergeMs },
      body: JSON.stringify({ model: providerSays, stream: true, messages: [] }),
    });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('expected 0 to 1000 ms');
  });
});
