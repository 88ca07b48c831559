import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fliteMissing, pocketsphinxMissing } from '@spillway/voice';
import { placeCall } from '@spillway/voice/simulate/carrier';
import { speech } from '@spillway/voice/simulate/speech';
import { describe, expect, test } from 'vitest';
import type { TenantReport } from '../src/limit/usage-report.ts';
import { type CascadeProvider, startCascadeProvider } from './support/cascade-provider.ts';
import { lineWith, linesOf } from './support/log-lines.ts';
import { eventually, startGateway, startSimulator } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { metric } from './support/requests.ts';
import {
  apiKey,
  askSigned,
  authToken,
  type SignedGateway,
  startRealtimeProvider,
  startSignedGateway,
  voiceConfig,
} from './support/signed-line.ts';

const missing = (await fliteMissing()) ?? (await pocketsphinxMissing());
/** The file of docs/voice.md that needs no service. */
const [, offlineFile = ''] =
  /^```yaml\n(voice:\n {2}cascade:\n {4}recognise: pocketsphinx\n.*?)^```$/ms.exec(
    readFileSync(join(import.meta.dirname, '../../../docs/voice.md'), 'utf8'),
  ) ?? [];

/** The records of a tap's file, with its conversations' events. */
function toldIn(file: string): readonly Record<string, unknown>[] {
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

describe.skipIf(missing !== undefined)(
  `a gateway without a provider, with flite and pocketsphinx${missing === undefined ? '' : ` (${missing})`}`,
  () => {
    test('holds a spoken conversation about what was said, and says what each stage did', async () => {
      const file = join(temporaryFolder(), 'calls.jsonl');
      const folder = temporaryFolder();
      writeFileSync(join(folder, 'spillway.yaml'), offlineFile);
      const gateway = await startGateway(['--tap', `name=t,to=file:${file}`], { cwd: folder });
      expect(gateway.stdout()).toMatch(
        /Answers calls\n {2}pocketsphinx, simulated\/sim:talk, flite {3}unsigned, for this machine/u,
      );
      const call = await placeCall(`${gateway.url.replace('http', 'ws')}/voice/twilio`);
      expect(await call.whenHeard(1000, 30_000)).toBe(true);
      await call.whenQuiet(1500, 30_000);
      call.say(speech('caller-hello').audio);
      expect(await call.whenHeard(2000, 30_000)).toBe(true);
      await call.whenQuiet(1500, 30_000);
      call.hangUp();
      const { callId, refusals } = await call.ended;
      expect(refusals).toEqual([]);
      const line = await lineWith(gateway, 'call ended', { call: callId, reason: 'hangup' });
      expect(line).toMatchObject({
        stages: { recognise: { errors: 0 }, reason: { errors: 0 }, speak: { errors: 0 } },
      });
      // Each answer is a stream of its own, which says whose it is.
      const answers = linesOf(gateway, 'stream ended').filter(({ request }) => request === callId);
      expect(answers).toHaveLength(2);
      expect(answers.every(({ state, agent }) => state === 'completed' && agent === 'spillway-call')).toBe(
        true,
      );
      const told = JSON.stringify(toldIn(file));
      expect(told).toContain('You said: ');
      expect(gateway.stderr()).not.toContain('You said');
      const of = (name: string, stage: string): Promise<number | undefined> =>
        metric(gateway.adminUrl, `spillway_call_stage_${name}{stage="${stage}"}`);
      expect(await of('wait_seconds_count', 'recognise')).toBeGreaterThanOrEqual(1);
      expect(await of('wait_seconds_count', 'reason')).toBe(2);
      expect(await of('audio_seconds_total', 'speak')).toBeGreaterThan(2);
      expect(await of('busy_seconds_total', 'speak')).toBeGreaterThan(0);
      expect(await of('depth_max_seconds', 'recognise')).toBe(0);
      expect(await metric(gateway.adminUrl, 'spillway_call_stage_characters_total')).toBeGreaterThan(40);
      expect(await metric(gateway.adminUrl, 'spillway_call_caller_speech_seconds_total')).toBeGreaterThan(
        0.5,
      );
    });
  },
);

test.skipIf(missing !== undefined)(
  'needs no configuration for that, and knows its own demonstrations by a token alone',
  async () => {
    const gateway = await startGateway();
    expect(gateway.stdout()).toMatch(
      /Answers calls\n {2}pocketsphinx, simulated\/sim:talk, flite {3}ws:\S+ {3}of this machine/u,
    );
    const url = `${gateway.url.replace('http', 'ws')}/voice/twilio`;
    const call = await placeCall(url, { parameters: { demonstration: 'AAAAAAAAAAAAAAAAAAAAAA' } });
    expect(await call.whenHeard(500, 30_000)).toBe(true);
    call.hangUp();
    const { callId } = await call.ended;
    expect(await lineWith(gateway, 'call ended', { call: callId })).toHaveProperty('stages');
  },
);

test('without them, calls are answered by the simulated realtime model, and the start says what is missing', async () => {
  const gateway = await startGateway([], { env: { PATH: '/nonexistent' } });
  expect(gateway.stdout()).toMatch(
    /Answers calls\n {2}simulated {3}ws:\S+ {3}of this machine \(docs\/voice\.md\)\n {2}a spoken conversation: .*apt-get install flite/u,
  );
});

const hours = {
  recognise: 'openai/gpt-4o-mini-transcribe',
  reason: 'openai/gpt-4o-mini',
  speak: 'openai/gpt-4o-mini-tts',
};

/** A text's million tokens, a minute heard, and a million characters spoken, in dollars. */
const prices =
  'model=openai/gpt-4o-mini,input=1,output=4 model=openai/*-transcribe,minute=0.60 model=openai/*-tts,characters=15';

/** A gateway whose calls are answered by a cascade of that provider. */
async function startCascade(
  provider: CascadeProvider,
  voice: Readonly<Record<string, unknown>> = {},
  args: readonly string[] = [],
): Promise<SignedGateway> {
  return await startSignedGateway(
    provider,
    { model: undefined, cascade: hours, tenant: 'clinic', ...voice },
    args,
    { SPILLWAY_API_KEYS: 'clinic/web=sk-web', SPILLWAY_PRICE: prices },
  );
}

async function usageOf({ url }: SignedGateway): Promise<TenantReport> {
  const headers = { authorization: 'Bearer sk-web' };
  return (await (await fetch(`${url}/usage`, { headers })).json()) as TenantReport;
}

describe('a cascade whose model of text is asked through the gateway', () => {
  test('spends of its tenant’s account once, and needs no second place among its streams', async () => {
    const provider = await startCascadeProvider({ usage: { prompt_tokens: 100, completion_tokens: 10 } });
    const limits = ['--tenant', 'name=clinic,streams=1,requests=1/h,tokensPerDay=100000'];
    const gateway = await startCascade(provider, {}, limits);
    const call = await placeCall(gateway.webhook, { authToken });
    expect(await call.whenHeard(500, 30_000)).toBe(true);
    await call.whenQuiet(1000, 30_000);
    expect((await usageOf(gateway)).streamsNow).toBe(1);
    // Others have no request left, which is remembered.
    const other = {
      method: 'POST',
      headers: { authorization: 'Bearer sk-web' },
      body: '{"model":"openai/gpt-4o-mini"}',
    };
    expect((await fetch(`${gateway.url}/v1/chat/completions`, other)).status).toBe(429);
    call.say(speech('caller-hello').audio);
    expect(await call.whenHeard(500, 30_000)).toBe(true);
    await call.whenQuiet(1000, 30_000);
    const levelDb = await metric(gateway.adminUrl, 'spillway_call_caller_level{of="quietest"}');
    expect(levelDb).toBeGreaterThan(-30);
    expect(levelDb).toBeLessThan(-10);
    call.hangUp();
    const { callId } = await call.ended;
    const line = await lineWith(gateway, 'call ended', { call: callId, reason: 'hangup' });
    expect(line).not.toHaveProperty('inputTokens');
    expect(provider.asked).toHaveLength(2);
    expect(provider.asked[1]?.messages.at(-1)).toEqual({ role: 'user', content: 'When are you open?' });
    const { today } = (await usageOf(gateway)).usage;
    expect(today).toMatchObject({
      inputTokens: 200,
      outputTokens: 20,
      estimatedTokens: 0,
      cut: 0,
      refused: 1,
    });
    const { recognise, speak } = line['stages'] as Record<'recognise' | 'speak', Record<string, number>>;
    expect(speak['characters']).toBe(provider.spoken.join('').length);
    const speechCost = ((recognise['doneMs'] ?? 0) / 60_000) * 600_000 + (speak['characters'] ?? 0) * 15;
    expect(Math.abs(today.cost - (200 + 80 + speechCost))).toBeLessThan(20);
    expect(today.wastedCost).toBe(0);
    const log = gateway.stderr();
    expect(log).not.toContain('When are you open');
    expect(log).not.toContain(apiKey);
  });

  test('ends by a limit of its tenant that an answer has reached', async () => {
    const provider = await startCascadeProvider({ usage: { prompt_tokens: 300, completion_tokens: 50 } });
    const gateway = await startCascade(provider, {}, ['--tenant', 'name=clinic,tokensPerDay=600']);
    const call = await placeCall(gateway.webhook, { authToken });
    expect(await call.whenHeard(500, 30_000)).toBe(true);
    await call.whenQuiet(1000, 30_000);
    call.say(speech('caller-hello').audio);
    const { callId } = await call.ended;
    const line = await lineWith(gateway, 'call ended', { call: callId, reason: 'limit' });
    expect(line['detail']).toContain('600 tokens today');
    expect((await usageOf(gateway)).usage.today).toMatchObject({ inputTokens: 300, outputTokens: 50 });
  });

  test('holds no tokens and no money while nobody answers, and is refused when they are used up', async () => {
    const provider = await startCascadeProvider({ usage: { prompt_tokens: 100, completion_tokens: 10 } });
    const limits = ['--tenant', 'name=clinic,streams=10,tokensPerDay=800,costPerDay=1'];
    const gateway = await startCascade(provider, {}, limits);
    const limitsNow = async (): Promise<readonly unknown[]> =>
      ((await usageOf(gateway)).limits ?? []).map(({ name, reserved, used }) => [name, used, reserved]);
    const calls: Awaited<ReturnType<typeof placeCall>>[] = [];
    for (const tokens of [110, 220, 330]) {
      const call = await placeCall(gateway.webhook, { authToken });
      calls.push(call);
      expect(await call.whenHeard(500, 30_000)).toBe(true);
      await call.whenQuiet(1000, 30_000);
      expect(await limitsNow()).toEqual([
        ['streams', calls.length, 0],
        ['tokensPerDay', tokens, 0],
        ['costPerDay', 140 * calls.length, 0],
      ]);
    }
    // Idle calls keep others from nothing: each of these needs 256 tokens of what is left.
    const other = {
      method: 'POST',
      headers: { authorization: 'Bearer sk-web' },
      body: '{"model":"openai/gpt-4o-mini","stream":true,"messages":[{"role":"user","content":"Hello."}]}',
    };
    for (const tokens of [440, 550]) {
      const answer = await fetch(`${gateway.url}/v1/chat/completions`, other);
      expect(answer.status).toBe(200);
      expect(await answer.text()).toContain('[DONE]');
      await eventually(
        async () => JSON.stringify(await limitsNow()).includes(`["tokensPerDay",${tokens},0]`),
        'the answer to be counted',
      );
    }
    expect(await (await askSigned(gateway.webhook, { CallSid: 'CA4' })).text()).toContain('<Say>Sorry');
    const { detail } = await lineWith(gateway, 'call refused', { call: 'CA4', reason: 'limit' });
    expect(detail).toContain(
      'has used 550 of 800 tokens today; this request needs 256, with minAnswerTokens, and 250 are left (tokensPerDay).',
    );
    // Those that run end when an answer is refused, and not before.
    const [first] = calls;
    first?.say(speech('caller-hello').audio);
    expect(await first?.ended).toBeDefined();
    await lineWith(gateway, 'call ended', { reason: 'limit' });
    expect((await usageOf(gateway)).streamsNow).toBe(2);
  });

  test('makes no more of an answer than is heard of it, and stops it when the caller speaks', async () => {
    const answer = 'It is open from nine to five. '.repeat(1000);
    const provider = await startCascadeProvider({ answer, padding: 8000 });
    const gateway = await startCascade(provider);
    const call = await placeCall(gateway.webhook, { authToken });
    expect(await call.whenHeard(3000, 30_000)).toBe(true);
    const [asked] = provider.asked;
    expect(asked?.isLeft).toBe(false);
    // The answer is 57 MB; sockets on loopback take some, and the gateway takes 64 KiB.
    expect(asked?.written).toBeLessThan(30_000_000);
    call.say(speech('caller-interruption').audio);
    await eventually(() => asked?.isLeft, 'the provider to be left');
    call.hangUp();
    const { callId } = await call.ended;
    await lineWith(gateway, 'stream ended', { request: callId, state: 'cancelled' });
    const line = await lineWith(gateway, 'call ended', { call: callId, interruptions: 1 });
    const { speak } = line['stages'] as Record<'speak', Record<string, number>>;
    const { characters = 0, doneMs = 0, droppedMs = 0 } = speak;
    const unheardMs = Number(line['droppedMs']) + droppedMs;
    expect(unheardMs).toBeGreaterThan(0);
    // What was spoken for nobody is told in money: the caller pays for at most a sentence and the threshold.
    const { wastedCost, wastedTokens } = (await usageOf(gateway)).usage.today;
    const unheardCost = (characters * 15 * unheardMs) / (doneMs + droppedMs);
    expect(Math.abs(wastedCost - wastedTokens * 4 - unheardCost)).toBeLessThan(10);
  });

  test('goes on at another provider when the first one fails, by a name of the operator’s own', async () => {
    const [failing, provider] = await Promise.all([
      startCascadeProvider({ status: 500 }),
      startCascadeProvider(),
    ]);
    const gateway = await startCascade(provider, { cascade: { ...hours, reason: 'fast' } }, [
      '--model',
      'name=fast,targets=bad/m,fallback=openai/gpt-4o-mini',
      '--upstream',
      ['openai', 'bad']
        .map((name, at) => `name=${name},url=${[provider, failing][at]?.url},apiKeyEnv=PROVIDER_KEY`)
        .join(' '),
      '--tenant',
      'name=clinic,tokensPerDay=100000,models=fast',
    ]);
    const call = await placeCall(gateway.webhook, { authToken });
    expect(await call.whenHeard(500, 30_000)).toBe(true);
    call.hangUp();
    await call.ended;
    expect(failing.asked).toHaveLength(1);
    expect(provider.asked).toHaveLength(1);
  });

  test.each([
    ['anthropic', 'claude/sim:talk'],
    ['gemini', 'google/sim:talk'],
  ])('asks a model by the API %s: %s', async (api, reason) => {
    const [provider, simulator] = await Promise.all([startCascadeProvider(), startSimulator()]);
    const upstreams = [
      `name=openai,url=${provider.url},apiKeyEnv=PROVIDER_KEY`,
      ...['claude', 'google'].map(
        (name) =>
          `name=${name},api=${name === 'claude' ? 'anthropic' : 'gemini'},url=${simulator.url},apiKeyEnv=PROVIDER_KEY`,
      ),
    ];
    const gateway = await startCascade(provider, { cascade: { ...hours, reason } }, [
      '--upstream',
      upstreams.join(' '),
      '--tenant',
      'name=clinic,streams=1,tokensPerDay=100000',
    ]);
    const call = await placeCall(gateway.webhook, { authToken });
    expect(await call.whenHeard(500, 30_000)).toBe(true);
    await call.whenQuiet(1000, 30_000);
    call.say(speech('caller-hello').audio);
    expect(await call.whenHeard(1000, 30_000)).toBe(true);
    await eventually(() => provider.spoken.length >= 4, 'the second answer to be spoken');
    call.hangUp();
    const { callId } = await call.ended;
    const line = await lineWith(gateway, 'call ended', { call: callId, reason: 'hangup' });
    expect(line).toMatchObject({ stages: { reason: { errors: 0 } } });
    const [greeting, ...others] = provider.spoken;
    expect(greeting).toBe('Hello, this is a simulated model.');
    expect(others.join(' ')).toContain('You said: When are you open? We are open from nine');
    expect(provider.asked).toEqual([]);
    const answers = linesOf(gateway, 'stream ended').filter(({ request }) => request === callId);
    expect(answers.map(({ api: asked, state }) => [asked, state])).toEqual([
      [api, 'completed'],
      [api, 'completed'],
    ]);
    const { inputTokens, outputTokens } = (await usageOf(gateway)).usage.today;
    expect([inputTokens > 0, outputTokens > 10]).toEqual([true, true]);
  });

  test('takes over from a realtime model with a reload, for the next call', async () => {
    const provider = await startCascadeProvider();
    const realtime = await startRealtimeProvider();
    const gateway = await startSignedGateway(realtime);
    const upstream = voiceConfig(provider, {})['upstream'];
    const log = await gateway.reload({ upstream, voice: { cascade: hours } });
    expect(log).toMatchObject({ msg: 'the configuration was reloaded', changed: ['providers', 'voice'] });
    const call = await placeCall(gateway.webhook, { authToken });
    expect(await call.whenHeard(500, 30_000)).toBe(true);
    call.hangUp();
    const { callId } = await call.ended;
    expect(await lineWith(gateway, 'call ended', { call: callId })).toHaveProperty('stages');
    expect(realtime.sessions).toEqual([]);
  });

  test('says which stage fails, and how', async () => {
    const provider = await startCascadeProvider({ status: 429 });
    const gateway = await startCascade(provider);
    const call = await placeCall(gateway.webhook, { authToken });
    const { callId } = await call.ended;
    const line = await lineWith(gateway, 'call ended', { call: callId, reason: 'model_failed' });
    expect(line).toMatchObject({ warned: 'rate_limited' });
    expect(line['stages']).toMatchObject({ reason: { errors: provider.asked.length } });
    const failed = 'spillway_call_stage_errors_total{stage="reason",code="rate_limited"}';
    expect(await metric(gateway.adminUrl, failed)).toBe(provider.asked.length);
  });
});
