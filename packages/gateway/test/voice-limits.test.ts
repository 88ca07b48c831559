import { setTimeout as sleep } from 'node:timers/promises';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { Defects } from '@spillway/server/defects';
import { placeCall } from '@spillway/voice/simulate/carrier';
import { speech } from '@spillway/voice/simulate/speech';
import twilio from 'twilio';
import { expect, onTestFinished, test } from 'vitest';
import { unconfiguredVoice } from '../src/config/read-voice.ts';
import { Limiter } from '../src/limit/limiter.ts';
import type { TenantReport } from '../src/limit/usage-report.ts';
import { Voice } from '../src/voice/voice.ts';
import { openFailingLimitStore } from './support/failing-limit-store.ts';
import { lineWith } from './support/log-lines.ts';
import { eventually } from './support/processes.ts';
import { metric } from './support/requests.ts';
import {
  askSigned,
  authToken,
  type SignedGateway,
  startRealtimeProvider,
  startSignedGateway,
} from './support/signed-line.ts';

const saySorry =
  '<?xml version="1.0" encoding="UTF-8"?><Response><Say>Sorry, this did not work. Please call again later.</Say><Hangup/></Response>';

async function open(limits: string, voice: Readonly<Record<string, unknown>> = {}): Promise<SignedGateway> {
  return await startSignedGateway(
    await startRealtimeProvider(),
    { tenant: 'clinic', ...voice },
    ['--tenant', `name=clinic,${limits}`, '--price', 'model=openai/gpt-realtime*,input=4,output=16'],
    { SPILLWAY_API_KEYS: 'clinic/web=sk-web' },
  );
}

async function usageOf({ url }: SignedGateway): Promise<TenantReport> {
  const headers = { authorization: 'Bearer sk-web' };
  return (await (await fetch(`${url}/usage`, { headers })).json()) as TenantReport;
}

const usedOf = ({ limits }: TenantReport, name: string): unknown =>
  limits?.find((limit) => limit.name === name);

test('calls are in the account of their tenant, and one too many at once is refused at the webhook', async () => {
  const gateway = await open('streams=1,tokensPerDay=100000');
  const call = await placeCall(gateway.webhook, { authToken });
  expect(await call.whenHeard(500, 20_000)).toBe(true);
  expect((await usageOf(gateway)).streamsNow).toBe(1);
  const second = askSigned(gateway.webhook, { CallSid: 'CA2' }).then(
    (answer) => answer.text(),
    () => 'it is not answered',
  );
  expect(await Promise.race([second, sleep(10_000, 'it waits')])).toBe(saySorry);
  expect(await lineWith(gateway, 'call refused', { call: 'CA2', reason: 'limit' })).toMatchObject({
    detail: 'The tenant clinic may have 1 stream at once, and has 1 (streams). Try again when one has ended.',
  });
  expect(await metric(gateway.adminUrl, 'spillway_calls_refused_total{reason="limit"}')).toBe(1);
  await eventually(async () => (await usageOf(gateway)).usage.today.refused === 1, 'the refusal');
  // The greeting is over, so its tokens are known.
  await call.whenQuiet(1000, 20_000);
  call.hangUp();
  await call.ended;
  const line = await lineWith(gateway, 'call ended', { reason: 'hangup', tenant: 'clinic' });
  const report = await usageOf(gateway);
  const { cost, inputTokens, outputTokens, requests } = report.usage.today;
  expect(requests).toBe(1);
  expect(outputTokens).toBeGreaterThan(0);
  expect(line).toMatchObject({ inputTokens, outputTokens });
  expect(cost).toBe(inputTokens * 4 + outputTokens * 16);
  expect(report.streamsNow).toBe(0);
  expect(usedOf(report, 'tokensPerDay')).toMatchObject({ used: inputTokens + outputTokens, reserved: 0 });
  expect(usedOf(report, 'streams')).toMatchObject({ used: 0 });
  expect(await (await askSigned(gateway.webhook, { CallSid: 'CA3' })).text()).toContain('<Connect');
});

test('without limits, a price of a model without its provider is that of its calls', async () => {
  const gateway = await startSignedGateway(
    await startRealtimeProvider(),
    { tenant: 'clinic' },
    ['--price', 'model=gpt-realtime*,input=4,output=16'],
    { SPILLWAY_API_KEYS: 'clinic/web=sk-web' },
  );
  const call = await placeCall(gateway.webhook, { authToken });
  expect(await call.whenHeard(500, 20_000)).toBe(true);
  await call.whenQuiet(1000, 20_000);
  call.hangUp();
  await call.ended;
  await lineWith(gateway, 'call ended', { reason: 'hangup' });
  const { cost, inputTokens, outputTokens, unpricedTokens } = (await usageOf(gateway)).usage.today;
  expect(outputTokens).toBeGreaterThan(0);
  expect({ cost, unpricedTokens }).toEqual({ cost: inputTokens * 4 + outputTokens * 16, unpricedTokens: 0 });
});

test('a caller who hangs up in the midst of an answer pays for it, by an estimate', async () => {
  // It speaks as fast as it is heard, so that nothing was reported when the caller leaves.
  const gateway = await startSignedGateway(
    await startRealtimeProvider({ speed: 1 }),
    { tenant: 'clinic', instructions: 'You answer for a library. '.repeat(40) },
    ['--tenant', 'name=clinic,tokensPerDay=100000'],
    { SPILLWAY_API_KEYS: 'clinic/web=sk-web' },
  );
  const call = await placeCall(gateway.webhook, { authToken });
  expect(await call.whenHeard(1000, 20_000)).toBe(true);
  call.hangUp();
  await call.ended;
  await lineWith(gateway, 'call ended', { reason: 'hangup' });
  const report = await usageOf(gateway);
  const { estimatedTokens, inputTokens, outputTokens } = report.usage.today;
  // 1,040 bytes of instructions, and a second of sound or two with their words.
  expect(inputTokens).toBeGreaterThan(200);
  expect(outputTokens).toBeGreaterThanOrEqual(20);
  expect(outputTokens).toBeLessThan(100);
  expect(estimatedTokens).toBe(inputTokens + outputTokens);
  expect(usedOf(report, 'tokensPerDay')).toMatchObject({ used: estimatedTokens, reserved: 0 });
});

test('a call that has used up its tokens is heard to the end of what was said, and told that it is over', async () => {
  const gateway = await open('tokensPerDay=300', { failureDial: '+15550100' });
  const call = await placeCall(gateway.webhook, { authToken });
  await call.whenHeard(500, 20_000);
  const words = speech('caller-hello').audio;
  // The answers of the model use up what is left, whatever each of them has.
  const state = { isOver: false };
  void call.ended.then(() => (state.isOver = true));
  for (let turn = 0; turn < 4 && !state.isOver; turn += 1) {
    await call.whenQuiet(600, 20_000);
    if (!state.isOver) call.say(words);
    await call.whenHeard(call.heardMs + 300, 20_000);
  }
  await eventually(() => state.isOver, 'the limit to end the call');
  const { callId, refusals } = await call.ended;
  expect(refusals).toEqual([]);
  const line = await lineWith(gateway, 'call ended', { call: callId, reason: 'limit' });
  expect(line['detail']).toContain('has used up its 300 tokens today');
  expect(await metric(gateway.adminUrl, 'spillway_calls_ended_total{reason="limit"}')).toBe(1);
  const followed = await (await askSigned(gateway.ended, { CallSid: callId })).text();
  expect(followed).toContain('<Say>Sorry');
  expect(followed).toContain('<Dial>+15550100</Dial>');
  const { usage } = await usageOf(gateway);
  expect(usage.today).toMatchObject({ requests: 1, cut: 1 });
  expect(usage.today.inputTokens + usage.today.outputTokens).toBeGreaterThan(283);
  expect(await (await askSigned(gateway.webhook, { CallSid: 'CA9' })).text()).toContain('<Say>Sorry');
});

test('answerMs is how long a call may be, from its webhook on', async () => {
  const gateway = await open('answerMs=1500');
  const call = await placeCall(gateway.webhook, { authToken });
  const { callId } = await call.ended;
  expect(await lineWith(gateway, 'call ended', { call: callId })).toMatchObject({ reason: 'limit' });
  expect((await usageOf(gateway)).usage.today).toMatchObject({ requests: 1, cut: 1 });
});

test('a call whose socket does not come gives its place back after 30 s', async () => {
  const clock = new VirtualClock();
  const { store } = openFailingLimitStore(clock);
  const limits = {
    streams: 1,
    tokensPerDay: 1000,
    priority: 'normal',
    answer: {},
    user: {},
    session: {},
  } as const;
  const defects = new Defects({ error: (error) => expect.unreachable(JSON.stringify(error)) });
  const limiter = new Limiter({
    settings: {
      tenants: new Map([['clinic', limits]]),
      others: undefined,
      keys: new Map(),
      callers: [],
      minAnswerTokens: 10,
      userFrom: [],
      sessionFrom: [],
      maxUsers: 100,
      prices: [],
      speechPrices: [],
      currency: '',
      store: undefined,
      storePassword: undefined,
      whenStoreFails: 'closed',
    },
    store,
    clock,
    defects,
    config: { maxWaiting: 10, waitTimeoutMs: 5000 },
  });
  const publicUrl = 'https://calls.example';
  const refuse = (): never => expect.unreachable('nobody comes');
  const voice = new Voice({
    clock,
    defects,
    door: { refusal: () => undefined, refuse, known: refuse },
    isReady: () => true,
    limiter: () => limiter,
    log: { info: () => undefined },
    ownSimulator: undefined,
    ownUrl: undefined,
    requests: { read: refuse },
    served: () => ({ providers: [], models: [] }),
    settings: { ...unconfiguredVoice(), tenant: 'clinic', line: { authToken, publicUrl } },
    simulatorUrl: undefined,
    usage: () => undefined,
    watch: refuse,
  });
  onTestFinished(() => voice.close());
  const ask = async (call: string): Promise<boolean> => {
    const form = { CallSid: call };
    const target = '/voice/twilio';
    const signature = twilio.getExpectedTwilioSignature(authToken, publicUrl + target, form);
    return (await voice.asked({ host: 'calls.example', target, signature, form })).includes('<Connect');
  };
  expect(await ask('CA1')).toBe(true);
  expect(await ask('CA2')).toBe(false);
  await clock.advance(30_001);
  expect(await ask('CA3')).toBe(true);
  await limiter.close();
});
