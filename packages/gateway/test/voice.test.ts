import { describe, expect, onTestFinished, test } from 'vitest';
import { placeCall } from '@spillway/voice/simulate/carrier';
import { speech } from '@spillway/voice/simulate/speech';
import { openGeminiLive, openOpenAiRealtime } from '@spillway/voice';
import { WebSocket } from 'ws';
import { eventually, startGateway, startSimulator } from './support/processes.ts';
import { metric } from './support/requests.ts';
import { lineWith, linesOf } from './support/log-lines.ts';

/** Where a gateway takes a carrier's socket. */
function callUrl({ url }: { readonly url: string }): string {
  return `${url.replace('http', 'ws')}/voice/twilio`;
}

/** The status with which a WebSocket is refused. */
async function refusedWith(url: string, headers: Readonly<Record<string, string>> = {}): Promise<number> {
  const socket = new WebSocket(url, { headers });
  onTestFinished(() => socket.terminate());
  return new Promise((resolve, reject) => {
    socket.on('unexpected-response', (_request, { statusCode = 0 }) => resolve(statusCode));
    socket.on('open', () => reject(new Error('expected a refusal, got a connection')));
    socket.on('error', reject);
  });
}

describe('a gateway with simulated models', () => {
  test('answers a call: the model greets, is interrupted, and answers', async () => {
    const gateway = await startGateway(['--voice', 'simulated']);
    const call = await placeCall(callUrl(gateway));
    expect(await call.whenHeard(1500, 20_000)).toBe(true);
    expect(await metric(gateway.adminUrl, 'spillway_calls_active')).toBe(1);
    call.say(speech('caller-interruption').audio);
    await call.whenSaid();
    // The answer to it: more than the greeting had.
    const heardMs = call.heardMs;
    expect(await call.whenHeard(heardMs + 2000, 20_000)).toBe(true);
    call.hangUp();
    const record = await call.ended;
    expect(record.refusals).toEqual([]);
    expect(record.maxBufferedMs).toBeLessThanOrEqual(800);
    expect(record.clears).toHaveLength(1);
    const line = await lineWith(gateway, 'call ended', { call: record.callId });
    expect(line).toMatchObject({ carrier: 'twilio', reason: 'hangup', interruptions: 1, lostMs: 0 });
    expect(await metric(gateway.adminUrl, 'spillway_calls_active')).toBe(0);
    expect(await metric(gateway.adminUrl, 'spillway_calls_ended_total{reason="hangup"}')).toBe(1);
    expect(await metric(gateway.adminUrl, 'spillway_call_interruptions_total')).toBe(1);
    // The greeting was interrupted while it was heard: both were timed.
    expect(
      await metric(gateway.adminUrl, 'spillway_call_answer_duration_seconds_count{stage="ear"}'),
    ).toBeGreaterThanOrEqual(2);
    expect(await metric(gateway.adminUrl, 'spillway_call_audio_max_seconds{place="in_unconfirmed"}')).toBe(0);
  });

  test('tells a carrier’s webhook where its socket is', async () => {
    const gateway = await startGateway(['--voice', 'simulated']);
    expect(gateway.stdout()).toContain(
      '\nAnswers calls\n  simulated   unsigned, for this machine   at most 100 calls\n',
    );
    const call = await placeCall(`${gateway.url}/voice/twilio`);
    expect(await call.whenHeard(200, 20_000)).toBe(true);
    call.hangUp();
    expect((await call.ended).refusals).toEqual([]);
  });

  test('tells a socket that is no carrier what is wrong, and keeps nothing of it', async () => {
    const gateway = await startGateway(['--voice', 'simulated']);
    const socket = new WebSocket(callUrl(gateway));
    const closed = new Promise<string>((resolve) =>
      socket.on('close', (code, reason) => resolve(`${code} ${reason.toString()}`)),
    );
    socket.on('open', () => socket.send('{"event":"media"}'));
    expect(await closed).toMatch(/^1008 .*expected connected and then start|^1007 /u);
    expect(linesOf(gateway, 'a defect of the gateway')).toEqual([]);
    expect(await metric(gateway.adminUrl, 'spillway_calls_active')).toBe(0);
  });

  test('refuses another page’s socket, and a call while it is drained', async () => {
    const gateway = await startGateway(['--voice', 'simulated']);
    expect(await refusedWith(callUrl(gateway), { origin: 'https://evil.example' })).toBe(403);
    await fetch(`${gateway.adminUrl}/drain`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    });
    expect(await refusedWith(callUrl(gateway))).toBe(503);
  });

  test('ends its calls when it stops and they take too long', async () => {
    const gateway = await startGateway(['--voice', 'simulated', '--shutdown-ms', '500']);
    const call = await placeCall(callUrl(gateway));
    await call.whenHeard(200, 20_000);
    gateway.process.kill('SIGTERM');
    expect(await gateway.exited).toBe(0);
    expect((await call.ended).end).toMatchObject({ why: 'closed', code: 1000 });
  });
});

test('a gateway whose clients need keys, or with a provider, takes no calls', async () => {
  const simulator = await startSimulator();
  const gateway = await startGateway(['--upstream', `${simulator.url}/v1`]);
  expect(await refusedWith(callUrl(gateway))).toBe(404);
  const keyed = await startGateway([], { env: { SPILLWAY_API_KEYS: 'web=secret' } });
  expect(await refusedWith(callUrl(keyed))).toBe(404);
  expect((await fetch(`${gateway.url}/voice/twilio`, { method: 'POST' })).status).toBe(404);
});

test.each([
  ['OpenAI’s', '/v1/realtime', openOpenAiRealtime],
  [
    'Gemini’s',
    '/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent',
    openGeminiLive,
  ],
] as const)('the simulated provider is a realtime model of %s API, too', async (_api, path, open) => {
  const simulator = await startSimulator();
  const url = `${simulator.url.replace('http', 'ws')}${path}`;
  const kinds: string[] = [];
  const model = open({ url, model: 'simulated' });
  onTestFinished(() => model.close());
  model.listen(({ kind }) => {
    kinds.push(kind);
    if (kind === 'ready') model.respond('Say hello.');
  });
  await eventually(() => kinds.includes('responseEnded'), 'an answer');
  expect(kinds).toContain('audio');
});
