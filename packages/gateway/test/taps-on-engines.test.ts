import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseRecord, type TapRecord } from '@spillway/server/tap/tap-record';
import { describe, expect, onTestFinished, test } from 'vitest';
import { stringify } from 'yaml';
import { eventually, type RunningGateway, startGateway } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { metric, payloads, postChat } from './support/requests.ts';
import { type TappedEngine, type TappedEngineKind, tappedEngines } from './support/tapped-engine.ts';

// The 23rd word of a simulated reply is a sign beyond U+FFFF, which the emulator of SQS refuses, and SQS does not.
const quick = 'sim:tokens=15,tps=0,ttft=0';
const slow = 'sim:tokens=20,tps=20,ttft=0';
const spilled = 'spillway_tap_spill_records';

/** A gateway whose tap loses nothing: what the engine does not take waits on the disk. */
async function startTapped(engine: TappedEngine, { env }: TappedEngineKind): Promise<RunningGateway> {
  const cwd = temporaryFolder();
  const tap = { name: 'bus', to: engine.url, lossless: true, durability: 'memory', spill: 'spill' };
  writeFileSync(join(cwd, 'spillway.yaml'), stringify({ tap: [tap] }));
  return await startGateway([], env === undefined ? { cwd } : { cwd, env });
}

/** The records of each stream in the order in which the engine has them. */
async function streamsIn(engine: TappedEngine): Promise<Map<string, TapRecord[]>> {
  const records = (await engine.records()).map(({ value }) => parseRecord(value));
  return Map.groupBy(records, ({ stream }) => stream);
}

/** Waits until the engine has so many streams with all that a stream has; the texts that were said in them. */
async function wholeStreams(engine: TappedEngine, count: number): Promise<readonly string[]> {
  const isWhole = (records: readonly TapRecord[]): boolean =>
    ['begin', 'end', 'reader'].every((kind) => records.some((record) => record.kind === kind));
  const streams = await eventually(async () => {
    const found = [...(await streamsIn(engine)).values()];
    return found.filter(isWhole).length === count && found;
  }, `${count} whole streams in the engine`);
  return streams.map(saidIn);
}

/** What was said in a stream, of which each record, and each chunk, has to be there once and in order. */
function saidIn(records: readonly TapRecord[]): string {
  expect(records.map(({ seq }) => seq)).toEqual(records.map((_, index) => index));
  const chunks = records.filter((record) => record.kind === 'chunks');
  const end = records.find((record) => record.kind === 'end');
  expect(chunks.map(({ from }) => from)).toEqual([0, ...chunks.slice(0, -1).map(({ to }) => to)]);
  expect(end).toMatchObject({ state: 'completed', offset: chunks.at(-1)?.to });
  return textOf(chunks.map(({ data = '' }) => data).join(''));
}

/** What was said in the events of an answer. Taps merge them, so that their bytes differ. */
function textOf(events: string): string {
  return payloads(events)
    .filter((payload) => payload !== '[DONE]')
    .map((payload) => {
      const { choices } = JSON.parse(payload) as { choices: { delta?: { content?: string } }[] };
      return choices.map(({ delta }) => delta?.content ?? '').join('');
    })
    .join('');
}

async function ask(gateway: RunningGateway, model: string): Promise<string> {
  const answer = await postChat(gateway.url, model);
  expect(answer.status).toBe(200);
  const text = await answer.text();
  expect(payloads(text).at(-1)).toBe('[DONE]');
  return textOf(text);
}

describe.each(tappedEngines)('a tap to $name', (kind) => {
  test('promise 15: has an answer once and in order, also those of an outage, by way of a spill', async (context) => {
    kind.needs(context);
    const engine = await kind.start();
    onTestFinished(() => engine.remove());
    const gateway = await startTapped(engine, kind);
    const said = [await ask(gateway, quick)];
    expect(said[0]).not.toBe('');
    expect(await wholeStreams(engine, 1)).toEqual(said);
    const running = ask(gateway, slow);
    await eventually(async () => {
      const streams = [...(await streamsIn(engine)).values()];
      return streams.filter((records) => records.some((record) => record.kind === 'chunks')).length === 2;
    }, 'the running stream in the engine');
    await engine.fail();
    said.push(await running, await ask(gateway, quick));
    expect(await metric(gateway.adminUrl, spilled)).toBeGreaterThan(0);
    await engine.heal();
    expect((await wholeStreams(engine, 3)).toSorted()).toEqual(said.toSorted());
    await eventually(async () => (await metric(gateway.adminUrl, spilled)) === 0, 'the spill to be empty');
    said.push(await ask(gateway, quick));
    expect((await wholeStreams(engine, 4)).toSorted()).toEqual(said.toSorted());
  });
});
