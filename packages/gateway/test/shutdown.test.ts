import { describe, expect, onTestFinished, test } from 'vitest';
import { eventually, startGateway } from './support/processes.ts';
import { payloads, postChat } from './support/requests.ts';

describe('SIGTERM', () => {
  test('not ready at once, no new streams, running ones finish, exit code 0', async () => {
    const gateway = await startGateway();
    expect((await fetch(`${gateway.url}/health/ready`)).status).toBe(200);
    const response = await postChat(gateway.url, 'sim:tokens=150,tps=100,ttft=0');
    gateway.process.kill('SIGTERM');
    await eventually(
      async () => (await fetch(`${gateway.url}/health/ready`)).status === 503,
      'it to be not ready',
    );
    expect((await fetch(`${gateway.url}/health/live`)).status).toBe(200);
    const refused = await postChat(gateway.url, 'sim');
    expect(refused.status).toBe(503);
    expect(refused.headers.get('retry-after')).toBe('1');
    const text = await response.text();
    expect(payloads(text).at(-1)).toBe('[DONE]');
    expect(payloads(text)).toHaveLength(153);
    expect(await gateway.exited).toBe(0);
  });

  test('a stream that does not finish in time is ended, honestly', async () => {
    const gateway = await startGateway(['--shutdown-ms', '300']);
    const response = await postChat(gateway.url, 'sim:stall=2,tps=0,ttft=0');
    gateway.process.kill('SIGTERM');
    const text = await response.text();
    expect(text).not.toContain('[DONE]');
    expect(JSON.parse(payloads(text).at(-1) ?? '')).toMatchObject({ error: { code: 'shutting_down' } });
    expect(await gateway.exited).toBe(0);
  });

  test('a second signal ends them now', async () => {
    const gateway = await startGateway(['--shutdown-ms', '3600000']);
    const response = await postChat(gateway.url, 'sim:stall=2,tps=0,ttft=0');
    gateway.process.kill('SIGTERM');
    await eventually(
      async () => (await fetch(`${gateway.url}/health/ready`)).status === 503,
      'it to be not ready',
    );
    // Signals within a second are one: npm and its terminal both send them.
    const again = setInterval(() => gateway.process.kill('SIGTERM'), 50);
    onTestFinished(() => clearInterval(again));
    expect(await response.text()).toContain('shutting_down');
    expect(await gateway.exited).toBe(0);
  });

  test('with nothing to do it ends at once', async () => {
    const gateway = await startGateway();
    gateway.process.kill('SIGINT');
    expect(await gateway.exited).toBe(0);
  });
});
