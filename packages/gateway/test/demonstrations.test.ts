import { levelOf, telephoneAudio } from '@spillway/core/audio';
import { placeCall } from '@spillway/voice/simulate/carrier';
import { describe, expect, onTestFinished, test } from 'vitest';
import { WebSocket } from 'ws';
import { openClient } from '../../client/src/index.ts';
import type { CallsSnapshot } from '../src/voice/calls-snapshot.ts';
import type {
  DemonstrationInterruption,
  DemonstrationLine,
  DemonstrationSample,
  Lane,
} from '../src/voice/demonstration-lines.ts';
import { lineWith, linesOf } from './support/log-lines.ts';
import { eventually, type RunningGateway, startBoth, startGateway } from './support/processes.ts';
import { metric } from './support/requests.ts';

const json = { 'content-type': 'application/json' };

function post(
  { adminUrl }: RunningGateway,
  path: string,
  headers: Readonly<Record<string, string>> = json,
  signal?: AbortSignal,
): Promise<Response> {
  return fetch(adminUrl + path, { method: 'POST', headers, ...(signal === undefined ? {} : { signal }) });
}

/** A demonstration that somebody watches. */
class Watched {
  readonly lines: DemonstrationLine[] = [];
  readonly over: Promise<void>;
  readonly #leave = new AbortController();

  constructor(gateway: RunningGateway) {
    onTestFinished(() => this.leave());
    // Whoever leaves gets an error instead of the end.
    this.over = this.#read(gateway).catch(() => undefined);
  }

  get samples(): DemonstrationSample[] {
    return this.lines.filter((line) => line.kind === 'sample');
  }

  get id(): string {
    const [begin] = this.lines;
    return begin?.kind === 'began' ? begin.id : '';
  }

  interruption(lane: Lane): DemonstrationInterruption | undefined {
    return this.lines.find((line) => line.kind === 'interruption' && line.lane === lane) as
      | DemonstrationInterruption
      | undefined;
  }

  /** What an ear has heard, or the caller has said, silence in it too. */
  heard(of: (sample: DemonstrationSample) => string): Buffer {
    const stretches = this.samples.map((sample) => {
      const silence = Buffer.alloc((sample.toMs - sample.fromMs) * 8, 0xff);
      return of(sample) === '' ? silence : Buffer.from(of(sample), 'base64');
    });
    return Buffer.concat(stretches);
  }

  leave(): void {
    this.#leave.abort();
  }

  async #read(gateway: RunningGateway): Promise<void> {
    const { body, status } = await post(gateway, '/playground/calls', json, this.#leave.signal);
    expect(status).toBe(200);
    let rest = '';
    for await (const text of (body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.lines.push(JSON.parse(line) as DemonstrationLine);
    }
  }
}

/** How much waits for an ear now. */
function waitingMs({ samples }: Watched, lane: Lane): number {
  const now = samples.at(-1)?.lanes[lane];
  return (now?.atEarMs ?? 0) + (now?.inBridgeMs ?? 0);
}

/** The calls as a page sees them. */
async function snapshotOf(gateway: RunningGateway): Promise<CallsSnapshot> {
  const client = openClient({ url: gateway.adminUrl });
  try {
    for await (const item of client.read('/streams/calls', {
      from: 'now',
      overflow: 'latest',
      autoAck: true,
    }))
      if (item.type === 'chunk') return JSON.parse(new TextDecoder().decode(item.bytes)) as CallsSnapshot;
  } finally {
    await client.close();
  }
  throw new Error('the calls ended');
}

describe('promise 22: a call that is there to be heard', () => {
  test('is the same for both bridges until it is interrupted: one is quiet at once and says what was heard', async () => {
    const gateway = await startGateway();
    const watched = new Watched(gateway);
    // All of the greeting is made, and most of it waits.
    await eventually(() => waitingMs(watched, 'naive') > 2000, 'an answer that waits');
    const { lanes } = watched.samples.at(-1) ?? expect.unreachable('no sample');
    expect(lanes.spillway.atEarMs).toBeLessThanOrEqual(800);
    expect(lanes.naive.inBridgeMs).toBe(0);
    await eventually(() => waitingMs(watched, 'naive') < 2500, 'some of it to be heard');
    expect((await post(gateway, `/playground/calls/${watched.id}/interrupt`)).status).toBe(200);
    // Pressed again while the caller speaks: nothing is said twice.
    expect((await post(gateway, `/playground/calls/${watched.id}/interrupt`)).status).toBe(200);
    await eventually(
      () => watched.interruption('spillway') !== undefined && watched.interruption('naive') !== undefined,
      'both to be quiet',
    );
    const own = watched.interruption('spillway') ?? expect.unreachable('none');
    const other = watched.interruption('naive') ?? expect.unreachable('none');
    const droppedMs = own.droppedAtEarMs + own.droppedInBridgeMs;
    expect(droppedMs).toBeGreaterThan(0);
    // The truth at the ear, and what the model was told: right to a mark, when it was told, which was before the ear was quiet.
    const lackingMs = (own.heardMs ?? expect.unreachable('not heard')) - (own.toldMs ?? 0);
    expect(lackingMs).toBeGreaterThanOrEqual(-160);
    expect(lackingMs).toBeLessThanOrEqual(160 + own.quietAfterMs);
    expect(own.toldMs).toBeGreaterThan(0);
    expect(other).toMatchObject({ toldMs: null, droppedAtEarMs: 0, droppedInBridgeMs: 0 });
    expect(other.quietAfterMs).toBeGreaterThan(own.quietAfterMs);
    // What was not heard of the one was heard of the other: they are the same call, but for a busy machine's delays.
    expect(Math.abs(own.quietAfterMs + droppedMs - other.quietAfterMs)).toBeLessThan(1000);
    const counted = watched.samples.filter(({ lanes: { naive } }) => naive.unwantedMs > 0);
    expect(counted.length).toBeGreaterThan(3);
    expect(counted.at(-1)?.lanes.naive.unwantedMs).toBeLessThan(counted[0]?.lanes.naive.unwantedMs ?? 0);
    // After it, the model answers what the caller has said.
    await eventually(() => waitingMs(watched, 'spillway') > 1000, 'another answer');
    expect(watched.samples.at(-1)?.lanes.spillway.marksBack).toBeGreaterThan(3);

    // What a page hears: without a hole, real words of both sides.
    const { samples } = watched;
    for (const [index, { fromMs }] of samples.entries()) expect(fromMs).toBe(samples[index - 1]?.toMs ?? 0);
    for (const of of [
      ({ mouth }: DemonstrationSample) => mouth,
      ({ lanes: { spillway } }: DemonstrationSample) => spillway.ear,
      ({ lanes: { naive } }: DemonstrationSample) => naive.ear,
    ]) {
      const heard = watched.heard(of);
      expect(heard.byteLength).toBe((watched.samples.at(-1)?.toMs ?? 0) * 8);
      expect(levelOf(telephoneAudio, heard)).toBeGreaterThan(0.01);
    }
    const words = watched.lines.filter((line) => line.kind === 'words');
    expect(words.map(({ who }) => who)).toContain('model');
    expect(words.map(({ text }) => text)).toContain('Wait, stop. I only have one question.');
    expect(words.filter(({ who }) => who === 'caller')).toHaveLength(1);

    // A page that is closed ends its calls.
    watched.leave();
    const { callId } = watched.lines[0] as { readonly callId: string };
    expect(await lineWith(gateway, 'call ended', { call: callId })).toMatchObject({ reason: 'hangup' });
    expect(await metric(gateway.adminUrl, 'spillway_calls_active')).toBe(0);
    await eventually(
      async () => (await post(gateway, `/playground/calls/${watched.id}/interrupt`)).status === 404,
      'nothing to be left of it',
    );
    expect(linesOf(gateway, 'a defect of the gateway')).toEqual([]);
  });

  test('goes on without anybody, to its end', async () => {
    const gateway = await startGateway();
    const watched = new Watched(gateway);
    await watched.over;
    expect(watched.lines.at(-1)).toEqual({ kind: 'ended', why: 'over' });
    // The caller has lost patience with the long answer.
    const own = watched.interruption('spillway') ?? expect.unreachable('none');
    expect(own.toldMs).toBeGreaterThan(1500);
    expect(own.toldMs).toBeLessThan(own.droppedInBridgeMs);
    expect(watched.interruption('naive')?.quietAfterMs).toBeGreaterThan(7000);
    expect(await metric(gateway.adminUrl, 'spillway_calls_active')).toBe(0);
  }, 90_000);

  test('is one of four at most, and all end with the gateway', async () => {
    const gateway = await startGateway();
    const watched = [1, 2, 3, 4].map(() => new Watched(gateway));
    await eventually(() => watched.every(({ id }) => id !== ''), 'four of them');
    const refused = await post(gateway, '/playground/calls');
    expect(refused.status).toBe(503);
    expect(await refused.text()).toContain('4 demonstrations run, and there may be no more at once.');
    gateway.process.kill('SIGTERM');
    expect(await gateway.exited).toBe(0);
    await Promise.all(watched.map(({ over }) => over));
    for (const { lines } of watched) expect(lines.at(-1)).toEqual({ kind: 'ended', why: 'stopping' });
  });

  test('is not for pages of other origins, for gateways with providers, or while one is drained', async () => {
    const gateway = await startGateway();
    const evil = { origin: 'https://evil.example' };
    expect((await post(gateway, '/playground/calls', { ...json, ...evil })).status).toBe(403);
    expect((await post(gateway, '/playground/calls', { 'content-type': 'text/plain' })).status).toBe(400);
    expect((await post(gateway, '/playground/calls?x=1')).status).toBe(400);
    expect((await post(gateway, '/playground/calls/none/interrupt')).status).toBe(404);
    expect((await snapshotOf(gateway)).hasDemonstrations).toBe(true);
    const watched = new Watched(gateway);
    await eventually(() => watched.id !== '', 'one that runs');
    await post(gateway, '/drain');
    await watched.over;
    expect(watched.lines.at(-1)).toEqual({ kind: 'ended', why: 'stopping' });
    expect((await post(gateway, '/playground/calls')).status).toBe(503);
    const { gateway: real } = await startBoth();
    expect((await post(real, '/playground/calls')).status).toBe(404);
    expect(await snapshotOf(real)).toMatchObject({ isServed: false, hasDemonstrations: false, calls: [] });
  });
});

describe('calls, for operators', () => {
  test('are seen while they run and after their end, are interrupted and ended, and never say what was said', async () => {
    const gateway = await startGateway(['--voice', 'simulated']);
    const call = await placeCall(`${gateway.url.replace('http', 'ws')}/voice/twilio`);
    expect(await call.whenHeard(1000, 20_000)).toBe(true);
    const { callId } = call;
    const running = await snapshotOf(gateway);
    expect(running).toMatchObject({ isServed: true, calls: [{ callId, carrier: 'twilio' }], ended: [] });
    const [row] = running.calls;
    expect(row?.ageMs).toBeGreaterThan(1000);
    expect(row?.figures.outUnconfirmedMs).toBeLessThanOrEqual(800);
    expect(row?.figures.outWaitingMs).toBeGreaterThan(0);
    expect((await post(gateway, `/calls/${callId}/interrupt`)).status).toBe(200);
    await eventually(() => call.clears.length === 1, 'the ear to be told');
    expect((await snapshotOf(gateway)).calls[0]?.figures.interruptions).toBe(1);
    expect((await post(gateway, `/calls/${callId}/end`)).status).toBe(200);
    expect((await call.ended).end).toMatchObject({ why: 'closed', code: 1000 });
    const after = await snapshotOf(gateway);
    expect(after.calls).toEqual([]);
    expect(after.ended).toMatchObject([{ callId, carrier: 'twilio', reason: 'closed', interruptions: 1 }]);
    expect(after.ended[0]?.droppedMs).toBeGreaterThan(0);
    // The greeting's words.
    expect(JSON.stringify([running, after])).not.toContain('library');
    await lineWith(gateway, 'an operator acted', { action: 'interrupt_call', call: callId });
    await lineWith(gateway, 'an operator acted', { action: 'end_call', call: callId });
    expect((await post(gateway, `/calls/${callId}/end`)).status).toBe(404);
    expect((await post(gateway, '/calls/none/interrupt')).status).toBe(404);
    const evil = { ...json, origin: 'https://evil.example' };
    expect((await post(gateway, `/calls/${callId}/end`, evil)).status).toBe(403);
  });

  test('50 that ended are remembered', async () => {
    const gateway = await startGateway(['--voice', 'simulated']);
    const url = `${gateway.url.replace('http', 'ws')}/voice/twilio`;
    for (let count = 0; count < 52; count += 1) {
      const call = await placeCall(url);
      call.hangUp();
      await call.ended;
    }
    await eventually(() => linesOf(gateway, 'call ended').length === 52, 'all to end');
    const { ended } = await snapshotOf(gateway);
    expect(ended).toHaveLength(50);
    const [newest, next] = ended;
    expect(newest?.endedAtMs).toBeGreaterThanOrEqual(next?.endedAtMs ?? Infinity);
  });

  test('a caller who hangs up in the same breath is a call that ended', async () => {
    const gateway = await startGateway();
    const socket = new WebSocket(`${gateway.url.replace('http', 'ws')}/voice/twilio`);
    onTestFinished(() => socket.terminate());
    await new Promise((resolve) => socket.once('open', resolve));
    const start = {
      accountSid: 'AC1',
      streamSid: 'MZ1',
      callSid: 'CA1',
      tracks: ['inbound'],
      mediaFormat: { encoding: 'audio/x-mulaw', sampleRate: 8000, channels: 1 },
      customParameters: {},
    };
    for (const message of [
      { event: 'connected', protocol: 'Call', version: '1.0.0' },
      { event: 'start', sequenceNumber: '1', streamSid: 'MZ1', start },
      { event: 'stop', sequenceNumber: '2', streamSid: 'MZ1', stop: { accountSid: 'AC1', callSid: 'CA1' } },
    ])
      socket.send(JSON.stringify(message));
    expect(await lineWith(gateway, 'call ended', { call: 'CA1' })).toMatchObject({ reason: 'hangup' });
    expect(await metric(gateway.adminUrl, 'spillway_calls_active')).toBe(0);
    expect(linesOf(gateway, 'a defect of the gateway')).toEqual([]);
  });
});
