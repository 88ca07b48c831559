import { levelOf, telephoneAudio } from '@spillway/core/audio';
import { expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { until } from '../../../core/test/support/until.ts';
import { placeCall } from '../../src/simulate/carrier/index.ts';
import {
  serveSimulatedModels,
  type SimulatedModel,
  type SimulatedModelServerOptions,
} from '../../src/simulate/model/index.ts';
import { type NaiveBridge, type NaiveCall, serveNaiveBridge } from '../../src/simulate/naive-bridge.ts';
import { speech } from '../../src/simulate/speech.ts';
import { ended } from '../support/carrier-server.ts';
import { quickClock } from '../support/quick-clock.ts';

const clock = quickClock(5);

/** A bridge in front of a simulated model, and what both know. */
async function open(
  options: SimulatedModelServerOptions = {},
): Promise<{ bridge: NaiveBridge; calls: NaiveCall[]; models: SimulatedModel[] }> {
  const calls: NaiveCall[] = [];
  const models: SimulatedModel[] = [];
  const onSession = (session: SimulatedModel): void => void models.push(session);
  const model = await serveSimulatedModels({ clock, onSession, ...options });
  onTestFinished(() => model.close());
  const bridge = await serveNaiveBridge({
    modelUrl: `${model.url}?model=sim`,
    greeting: 'Say hello.',
    clock,
    onCall: (call) => calls.push(call),
  });
  onTestFinished(() => bridge.close());
  return { bridge, calls, models };
}

test('a naive bridge has all of an answer at the carrier, and takes nothing back', async () => {
  const { bridge, calls, models } = await open({ greeting: speech('model-events') });
  const call = await placeCall(bridge.url, { clock });
  expect(await call.whenHeard(3000, 60_000)).toBe(true);
  // It is made in 1.4 s: most of it waits, and the bridge has forgotten it.
  await until(() => (calls[0]?.sentMs ?? 0) > 13_000, 'all of it is made');
  expect(call.bufferedMs).toBeGreaterThan(6000);
  call.say(speech('caller-interruption').audio);
  await call.whenSaid();
  await until(() => calls[0]?.interruptions === 1, 'the model hears it');
  await call.wait(500);
  // Heard on and on, and nobody was told.
  expect(call.bufferedMs).toBeGreaterThan(1000);
  expect(call.clears).toEqual([]);
  expect(call.marks).toEqual([]);
  expect(calls[0]?.toldMs).toEqual([]);
  expect(models[0]?.truth.truncations).toEqual([]);
  expect(models[0]?.truth.said[0]).toBe(speech('model-events').text);
  call.hangUp();
  expect((await ended(call)).refusals).toEqual([]);
  await models[0]?.closed;
});

test('a naive bridge clears an answer that is still being made, and tells the time since it began', async () => {
  const { bridge, calls, models } = await open({ greeting: speech('model-events'), speed: 2 });
  const call = await placeCall(bridge.url, { clock });
  expect(await call.whenHeard(2000, 60_000)).toBe(true);
  call.say(speech('caller-interruption').audio);
  await until(() => models[0]?.truth.truncations.length === 1, 'the model is told');
  expect(call.clears).toHaveLength(1);
  const [told] = calls[0]?.toldMs ?? [];
  expect(told).toBeGreaterThan(2000);
  expect(models[0]?.truth.truncations).toMatchObject([{ audioEndMs: told }]);
  call.hangUp();
  await ended(call);
});

test('a naive bridge survives what is no message, and ends both ends together', async () => {
  const { bridge, calls, models } = await open();
  const wild = new WebSocket(bridge.url);
  onTestFinished(() => wild.terminate());
  await new Promise((resolve) => wild.once('open', resolve));
  for (const text of ['no JSON', 'null', '7', '{"event":"start"}', '{"event":"media"}']) wild.send(text);
  wild.send(Buffer.from([1, 2, 3]));
  await until(() => models.length === 1, 'a session for it');
  const call = await placeCall(bridge.url, { clock });
  expect(await call.whenHeard(500, 60_000)).toBe(true);
  expect(calls).toHaveLength(2);
  expect(calls[1]?.streamId).toBe(call.streamId);
  models[1]?.close();
  expect((await ended(call)).end.why).toBe('closed');
});

test('who listens in hears what the ear has played, stretch by stretch, and silence after the call', async () => {
  const { bridge } = await open();
  const call = await placeCall(bridge.url, { clock });
  const stretches: Uint8Array[] = [];
  // Whoever listens in has a clock of its own.
  const offsetMs = 0.3;
  let atMs = offsetMs;
  while (call.heardMs < 2500) {
    await call.wait(130);
    const toMs = Math.floor(call.nowMs) - 1 + offsetMs;
    stretches.push(call.heardBetween(atMs, toMs));
    atMs = toMs;
  }
  call.hangUp();
  const record = await ended(call);
  const heard = Buffer.concat(stretches);
  expect(heard.byteLength).toBe((atMs - offsetMs) * 8);
  expect(levelOf(telephoneAudio, heard)).toBeGreaterThan(0.02);
  // The same in one stretch, and the same as the truth.
  expect(Buffer.compare(heard, call.heardBetween(offsetMs, atMs))).toBe(0);
  const [first] = record.played;
  const all = Buffer.concat(record.played.map(({ audio }) => audio));
  const fromByte = Math.round(((first?.atMs ?? 0) - offsetMs) * 8);
  expect(Buffer.compare(heard.subarray(fromByte), all.subarray(0, heard.byteLength - fromByte))).toBe(0);
  const after = call.heardBetween(record.end.atMs + 1, record.end.atMs + 500);
  expect(after.byteLength).toBe(499 * 8);
  expect(new Set(after)).toEqual(new Set([0xff]));
});

test('a naive bridge joins calls that nobody wants to be told of', async () => {
  const model = await serveSimulatedModels({ clock });
  onTestFinished(() => model.close());
  const bridge = await serveNaiveBridge({ modelUrl: `${model.url}?model=sim`, greeting: 'Say hello.' });
  onTestFinished(() => bridge.close());
  const call = await placeCall(bridge.url, { clock });
  expect(await call.whenHeard(500, 60_000)).toBe(true);
  call.hangUp();
  await ended(call);
});
