import { fileURLToPath } from 'node:url';
import { openChannel } from '@spillway/core';
import type { EventRun } from '@spillway/core/format/sse';
import { describe, expect, onTestFinished, test } from 'vitest';
import { configSchema } from '../src/config/schema.ts';
import { Defects } from '@spillway/server/defects';
import { Meter } from '@spillway/server/stream/meter';
import { reportError } from '../src/process/error-report.ts';
import { nodeClock } from '@spillway/server/time/node-clock';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import type { ReaderResponse } from '@spillway/server/sink/reader-response';
import type { Reply } from '../src/source/reply.ts';
import { ReplySource } from '../src/source/reply-source.ts';
import { Streams } from '@spillway/server/stream/streams';
import { eventually, type RunningGateway, startGateway } from './support/processes.ts';
import { metric, payloads, postChat } from './support/requests.ts';
import { chatRequest, openSession } from './support/session.ts';
import { nobody } from '../../server/test/support/nobody.ts';

const broken = fileURLToPath(new URL('support/broken.ts', import.meta.url));

function startBroken(args: readonly string[] = []): Promise<RunningGateway> {
  return startGateway(args, { nodeArgs: ['--import', broken] });
}

const defectsOf = ({ adminUrl }: RunningGateway): Promise<number> =>
  metric(adminUrl, 'spillway_defects_total');

describe('a defect ends the part that has it, and nothing else', () => {
  test.each(['tick', 'checkReaders', 'received', 'sent', 'start'])(
    'in the %s of one stream',
    async (method) => {
      const args = ['--keep-alive-ms', '200', '--stall-timeout-ms', '600', '--detach-grace-ms', '600'];
      const gateway = await startBroken(args);
      const other = await postChat(gateway.url, 'sim:tokens=100,tps=50,ttft=0');
      const headers = { 'user-agent': `broken-${method}` };
      const response = await postChat(gateway.url, 'sim:tokens=100000,tps=50,ttft=0', { headers });
      expect(await response.text()).toContain('internal_error');
      expect(payloads(await other.text()).at(-1)).toBe('[DONE]');
      await eventually(() => gateway.stderr().includes(`${method} is broken`), 'the defect to be noted');
      expect(await defectsOf(gateway)).toBeGreaterThan(0);
      expect(gateway.process.exitCode).toBe(null);
      await eventually(
        async () => (await metric(gateway.adminUrl, 'spillway_readers')) === 0,
        'nothing to be left of it',
      );
      gateway.process.kill('SIGTERM');
      expect(await gateway.exited).toBe(0);
    },
  );

  test.each(['ended', 'detached'])(
    'in the %s of one stream, which its client no longer sees',
    async (method) => {
      const gateway = await startBroken();
      const headers = { 'user-agent': `broken-${method}` };
      const left = new AbortController();
      await postChat(gateway.url, 'sim:tokens=100000,tps=50,ttft=0', { headers, signal: left.signal });
      left.abort();
      await eventually(() => gateway.stderr().includes(`${method} is broken`), 'the defect to be noted');
      const other = await postChat(gateway.url, 'sim:tokens=10,tps=0,ttft=0');
      expect(payloads(await other.text()).at(-1)).toBe('[DONE]');
      expect(gateway.process.exitCode).toBe(null);
    },
  );

  test('in what is received of an answer that is no stream', async () => {
    const gateway = await startBroken();
    const headers = { 'user-agent': 'broken-received' };
    const response = await postChat(gateway.url, 'sim:tokens=10', { stream: false, headers });
    expect(response.status).toBe(500);
    expect(await response.text()).toContain('internal_error');
    await eventually(() => gateway.stderr().includes('received is broken'), 'the defect to be noted');
    expect(gateway.process.exitCode).toBe(null);
  });

  test('in the timer of one session, or in what it does with a frame', async () => {
    const gateway = await startBroken(['--keep-alive-ms', '200']);
    const other = await openSession(gateway.url);
    other.send(chatRequest('sim:tokens=100,tps=50,ttft=0', { windowBytes: 1_000_000 }));
    const ticking = await openSession(gateway.url, { headers: { 'user-agent': 'broken-tick' } });
    const taking = await openSession(gateway.url, { headers: { 'user-agent': 'broken-take' } });
    taking.send(chatRequest('sim:tokens=10'));
    await eventually(() => ticking.closed && taking.closed, 'both to be ended');
    await eventually(() => other.text().includes('[DONE]'), 'the other one to go on');
    expect(other.closed).toBe(undefined);
    expect(gateway.process.exitCode).toBe(null);
  });

  test('in the samples of the console', async () => {
    const gateway = await startBroken();
    await eventually(async () => (await defectsOf(gateway)) >= 2, 'the timer to go on');
    expect(await (await fetch(`${gateway.adminUrl}/history`)).json()).toEqual([]);
    expect((await fetch(`${gateway.url}/health/ready`)).status).toBe(200);
  });

  test('in the timer of all streams: it goes on', async () => {
    const config = configSchema.parse({ waitTimeoutMs: 30_000, stallTimeoutMs: 30_000 });
    const clock = new VirtualClock();
    let looks = 0;
    const links = {
      readQueues: () => {
        looks += 1;
        return Promise.reject(new Error('no queues'));
      },
    };
    const defects = new Defects({ error: () => undefined });
    const streams = new Streams({ config, meter: new Meter(), links, defects, clock });
    onTestFinished(() => streams.stopWatching());
    const open = () => streams.open(nobody);
    const bad = open();
    bad.tick = () => {
      throw new Error('no tick');
    };
    const good = open();
    await clock.advance(config.waitTimeoutMs + 1000);
    expect(good.signal.aborted).toBe(true);
    expect(looks).toBeGreaterThan(2);
    expect(bad.signal.reason).toMatchObject({ code: 'internal_error' });
    expect(good.signal.reason).toMatchObject({ code: 'overloaded' });
    expect(defects.count).toBeGreaterThan(2);
  });

  test('in one of those who are due at the same moment', async () => {
    const thrown: unknown[] = [];
    process.setUncaughtExceptionCaptureCallback((error) => thrown.push(error));
    onTestFinished(() => process.setUncaughtExceptionCaptureCallback(null));
    let isCalled = false;
    nodeClock.soon(1, () => {
      throw new Error('one of many');
    });
    nodeClock.soon(1, () => (isCalled = true));
    await eventually(() => isCalled, 'the others to be called');
    expect(thrown).toHaveLength(1);
  });
});

describe('a defect that nobody can be told of', () => {
  const fail = (): never => {
    throw new Error('broken');
  };

  test('a reader whose response fails at every word is ended, and its connection is closed', async () => {
    const config = configSchema.parse({});
    const links = { readQueues: () => Promise.resolve(undefined) };
    const defects = new Defects({ error: () => undefined });
    const streams = new Streams({ config, meter: new Meter(), links, defects, clock: nodeClock });
    onTestFinished(() => streams.stopWatching());
    const stream = streams.open({ ...nobody, detach: 'finish' });
    const channel = openChannel<EventRun>({ maxItems: 10 });
    const body = {
      log: channel,
      format: undefined,
      isEvents: true,
      headers: {},
      status: 200,
      reason: '',
      maxWaitingBytes: 1000,
    };
    stream.start(body, performance.now());
    let closed = 0;
    const response = {
      isClosed: false,
      settled: Promise.resolve(),
      startEventStream: fail,
      fail,
      close: () => (closed += 1),
    };
    stream.attach(response as unknown as ReaderResponse);
    const bytes = Buffer.from('data: 1\n\n');
    channel.offer({ bytes, byteLength: bytes.length, events: 1 });
    await eventually(() => stream.audience.readers.size === 0, 'the reader to be ended');
    expect(closed).toBe(1);
    expect(defects.count).toBe(2);
  });

  test('a run that the channel cannot take later does not go missing in an answer that looks whole', async () => {
    const channel = openChannel<EventRun>({ maxItems: 1 });
    const reader = channel.reader();
    const ended = Promise.withResolvers<void>();
    const reply = { pause: () => undefined, resume: () => undefined, cancel: () => undefined };
    const options = {
      listener: {
        received: () => undefined,
        paused: () => undefined,
        accepted: () => undefined,
        events: 0,
        bytes: 0,
        large: { events: 0, bytes: 0, tokens: 0 },
        maxRunBytes: Infinity,
      },
      openPlace: () => {
        throw new Error('nothing here is large');
      },
      maxEventBytes: 1000,
      loop: { gapMs: 0, look: () => undefined },
      scanner: undefined,
      maxStreamBytes: 1000,
      onEnd: ended.resolve,
    };
    channel.write = fail;
    const source = new ReplySource(reply as unknown as Reply, channel, { own: (run) => run }, options);
    source.data(Buffer.from('one'), 0, 3);
    source.data(Buffer.from('two'), 0, 3);
    source.complete();
    await ended.promise;
    expect(reader.takeAll()).toHaveLength(1);
    expect(channel.end).toMatchObject({ state: 'failed', error: { code: 'internal_error' } });
  });
});

describe('the last handler', () => {
  test.each(['SIGUSR2', 'SIGWINCH'] as const)(
    '%s: logs once, is not ready, lets streams finish, and exits with 1',
    async (signal) => {
      const gateway = await startBroken();
      const response = await postChat(gateway.url, 'sim:tokens=150,tps=100,ttft=0');
      gateway.process.kill(signal);
      await eventually(
        async () => (await fetch(`${gateway.url}/health/ready`)).status === 503,
        'it to be not ready',
      );
      expect((await postChat(gateway.url, 'sim')).status).toBe(503);
      expect(payloads(await response.text()).at(-1)).toBe('[DONE]');
      expect(await gateway.exited).toBe(1);
      const lines = gateway.stderr().match(/"level":60.*/g) ?? [];
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain('nobody');
      expect(lines[0]).toContain('broken.ts');
      expect(gateway.stderr()).not.toContain('what somebody wrote');
    },
  );

  test('a second defect ends it at once', async () => {
    const gateway = await startBroken(['--shutdown-ms', '3600000']);
    await postChat(gateway.url, 'sim:tokens=100000,tps=50,ttft=0');
    gateway.process.kill('SIGUSR2');
    await eventually(() => gateway.stderr().includes('"level":60'), 'the first to be noted');
    gateway.process.kill('SIGUSR2');
    expect(await gateway.exited).toBe(1);
  });

  test('its drain has a bound', async () => {
    const gateway = await startBroken(['--shutdown-ms', '300']);
    const response = await postChat(gateway.url, 'sim:stall=2,tps=0,ttft=0');
    gateway.process.kill('SIGUSR2');
    expect(await response.text()).toContain('shutting_down');
    expect(await gateway.exited).toBe(1);
  });
});

test('an error in the log says where, and nothing that a client wrote', () => {
  const secret = 'my prompt about sk-123456';
  let parsed: unknown;
  try {
    JSON.parse(`{"a": ${secret}`);
  } catch (error) {
    parsed = error;
  }
  const errors = [
    parsed,
    Object.assign(new Error('failed', { cause: parsed }), { body: secret, rawPacket: Buffer.from(secret) }),
    new TypeError(`The argument 'x' is invalid. Received '${secret}'`),
    new TypeError(`expected "a", got "${secret}" and \`${secret}\``),
    secret,
    { message: secret },
  ];
  for (const error of errors) expect(JSON.stringify(reportError(error))).not.toMatch(/prompt|sk-/);
  expect(reportError(new TypeError("Cannot read properties of undefined (reading 'foo')")).message).toContain(
    "'foo'",
  );
  expect(reportError(new Error('x')).stack).toContain('defects.test.ts');
});
