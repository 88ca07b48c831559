import { speech } from '@spillway/voice/simulate/speech';
import { expect, onTestFinished, test } from 'vitest';
import { until } from '../../core/test/support/until.ts';
import { type CallEvent, openCall, openOpenAiRealtime } from '../src/index.ts';
import { placeCall } from '../src/simulate/carrier/index.ts';
import {
  serveSimulatedModels,
  type SimulatedModel,
  type SimulatedModelServerOptions,
} from '../src/simulate/model/index.ts';
import { ended, openLegs } from './support/carrier-server.ts';

/** A model that fails, and one that is in order. */
async function serve(
  options: SimulatedModelServerOptions,
): Promise<{ readonly url: string; readonly sessions: SimulatedModel[] }> {
  const sessions: SimulatedModel[] = [];
  const server = await serveSimulatedModels({
    thinkMs: 50,
    ...options,
    onSession: (one) => sessions.push(one),
  });
  onTestFinished(() => server.close());
  return { url: server.url, sessions };
}

test.each<[string, SimulatedModelServerOptions, string]>([
  ['is cut in the middle of its answer', { faults: { cutAtMs: 400 } }, 'lost'],
  ['stops in the middle of its answer', { faults: { stallAtMs: 400 } }, 'late'],
  ['is rate limited', { faults: { isRateLimited: true } }, 'response_failed'],
  ['is at its session’s maximum age', { maxAgeMs: 1200 }, 'expired'],
])('a model that %s is followed by another one, and the caller is answered', async (_, options, code) => {
  const failing = await serve(options);
  const next = await serve({ greeting: speech('model-hours') });
  const events: CallEvent[] = [];
  const url = await openLegs((carrier) => {
    openCall({
      carrier,
      model: openOpenAiRealtime({ url: failing.url, model: 'gpt-realtime-2' }),
      reopenModel: (past) => openOpenAiRealtime({ url: next.url, model: 'gpt-realtime-2', past }),
      answerTimeoutMs: 1000,
      greeting: 'Say hello.',
      onEvent: (event) => events.push(event),
    });
  });
  const call = await placeCall(url);
  await until(() => events.some(({ kind }) => kind === 'reopening'), 'the session has failed');
  expect(events.find((event) => event.kind === 'reopening')).toMatchObject({ code, inMs: 0 });
  await until(() => events.filter(({ kind }) => kind === 'ready').length === 2, 'another one is ready');
  if (code === 'expired') call.say(speech('caller-hello').audio);
  // More than what the first one has said.
  const heardMs = call.heardMs;
  expect(await call.whenHeard(heardMs + 2000, 20_000)).toBe(true);
  call.hangUp();
  const record = await ended(call);
  expect(record.refusals).toEqual([]);
  expect(next.sessions[0]?.truth.refusals).toEqual([]);
  expect(events.at(-1)).toMatchObject({ kind: 'ended', reason: 'hangup' });
});
