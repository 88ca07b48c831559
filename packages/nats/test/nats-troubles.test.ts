import type { SinkRecord } from '@spillway/core';
import { type EngineSink, RefusedRecords } from '@spillway/core/engine';
import { openNatsSink } from '@spillway/nats';
import { headers } from '@nats-io/transport-node';
import { afterEach, describe, expect, onTestFinished, test } from 'vitest';
import { passTime } from '../../core/test/support/pass-time.ts';
import { until } from '../../core/test/support/until.ts';
import { NatsServer, needsNats } from './support/nats-server.ts';
import { readMessages, readRecords } from './support/read-stream.ts';

const servers: NatsServer[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await server.remove();
});

async function startServer(config?: string): Promise<NatsServer> {
  const server = await NatsServer.start(config);
  servers.push(server);
  return server;
}

async function openSink(url: string, options: object = {}): Promise<EngineSink> {
  const sink = await openNatsSink({ url, openTimeoutMs: 30_000, ...options });
  onTestFinished(() => sink.close());
  return sink;
}

function records(stream: string, from: number, count: number, bytes = 50): SinkRecord[] {
  return Array.from({ length: count }, (_, index) => ({
    stream,
    seq: from + index,
    value: new Uint8Array(bytes).fill(from + index),
  }));
}

const soon = (ms = 30_000): AbortSignal => AbortSignal.timeout(ms);
const numbers = (found: readonly SinkRecord[]): number[] => found.map(({ seq }) => seq);

describe('one server', () => {
  test('promise 15: NATS is killed between two writes and starts again, and each record is there once', async (context) => {
    needsNats(context);
    const server = await startServer();
    const sink = await openSink(`${server.url}/llm?create=1`);
    await sink.write(records('a', 0, 3), soon());
    await server.kill();
    const startedMs = performance.now();
    await expect(sink.write(records('a', 3, 2), soon())).rejects.toMatchObject({ code: 'sink_failed' });
    expect(performance.now() - startedMs).toBeLessThan(2000);
    await server.start();
    await sink.write(records('a', 2, 3), soon());
    expect(numbers(await readRecords(server, 'llm'))).toEqual([0, 1, 2, 3, 4]);
  });

  test('a trial makes no stream, and says that there is none', async (context) => {
    needsNats(context);
    const server = await startServer();
    const trial = await openSink(`${server.url}/tried?create=1`, { isTrial: true });
    expect(trial.facts.warnings[0]).toContain('The stream tried is not there');
    await expect(openSink(`${server.url}/tried`)).rejects.toThrow(/there is no stream tried/);
    const sink = await openSink(`${server.url}/tried?create=1`);
    expect(trial.facts.warnings.slice(1)).toEqual(sink.facts.warnings);
    expect([trial.durability, trial.isLossy]).toEqual([sink.durability, sink.isLossy]);
  });

  test('a trial says that a stream cannot be made, as an opening does, and what to do', async (context) => {
    needsNats(context);
    const server = await startServer();
    await server.api('STREAM.CREATE.other', { name: 'other', subjects: ['taken.>'] });
    for (const [query, told, refused] of [
      ['replicas=3', /expected a cluster for replicas=3.* Leave replicas= out/, /replicas > 1 not supported/],
      ['subject=taken', /subjects taken\.\* of no other stream, got some of other/, /subjects overlap/],
    ] as const) {
      const url = `${server.url}/tried?create=1&${query}`;
      await expect(openSink(url, { isTrial: true })).rejects.toThrow(told);
      await expect(openSink(url)).rejects.toThrow(refused);
    }
  });

  test('promise 15: what an aborted write had on its way is there once, when a stopped server goes on', async (context) => {
    needsNats(context);
    const server = await startServer();
    const sink = await openSink(`${server.url}/llm?create=1`);
    await sink.write(records('a', 0, 2), soon());
    server.stop();
    const startedMs = performance.now();
    await expect(sink.write(records('a', 2, 3), soon(200))).rejects.toMatchObject({ name: 'TimeoutError' });
    await expect(sink.write(records('a', 2, 3), soon(200))).rejects.toMatchObject({ name: 'TimeoutError' });
    // Sooner than an answer is given up.
    expect(performance.now() - startedMs).toBeLessThan(4500);
    server.continue();
    await sink.write(records('a', 2, 3), soon());
    expect(numbers(await readRecords(server, 'llm'))).toEqual([0, 1, 2, 3, 4]);
  });

  test('promise 15: a new sink knows what is there after the duplicate window', async (context) => {
    needsNats(context);
    const server = await startServer();
    await createStream(server, { duplicate_window: 100_000_000 });
    const first = await openSink(`${server.url}/llm`, { maxEntryBytes: 1024 });
    await first.write([...records('a', 0, 2), ...records('b', 0, 1, 3000)], soon());
    // An earlier sink has crashed after the first part of three.
    await expireIds(server);
    const next = await openSink(`${server.url}/llm`, { maxEntryBytes: 2048 });
    await next.write([...records('a', 0, 3), ...records('b', 0, 2, 3000)], soon());
    const found = await readRecords(server, 'llm');
    expect(numbers(found.filter(({ stream }) => stream === 'a'))).toEqual([0, 1, 2]);
    expect(numbers(found.filter(({ stream }) => stream === 'b'))).toEqual([0, 1]);
  });

  test('promise 15: half of a record is completed as it was begun', async (context) => {
    needsNats(context);
    const server = await startServer();
    await createStream(server, { max_msgs: 2, discard: 'new', duplicate_window: 100_000_000 });
    const first = await openSink(`${server.url}/llm`, { maxEntryBytes: 1024 });
    const value = crypto.getRandomValues(new Uint8Array(3000));
    const record = { stream: 'a', seq: 0, value };
    await expect(first.write([record], soon())).rejects.toThrow('maximum messages exceeded');
    await updateStream(server, { max_msgs: -1, discard: 'new', duplicate_window: 100_000_000 });
    await expireIds(server);
    const next = await openSink(`${server.url}/llm`, { maxEntryBytes: 1500 });
    await next.write([record, ...records('a', 1, 1)], soon());
    const found = await readRecords(server, 'llm');
    expect(found[0]?.value).toEqual(value);
    expect(numbers(found)).toEqual([0, 1]);
    expect(await readMessages(server, 'llm')).toHaveLength(4);
  });

  test('promise 15: a stream that is full rejects, keeps the order, and works again when there is room', async (context) => {
    needsNats(context);
    const server = await startServer();
    const sink = await openSink(`${server.url}/llm?create=1&maxBytes=20000`);
    // The large one does not fit, and the small ones behind it would.
    const batch = [...records('a', 0, 1), ...records('a', 1, 1, 30_000), ...records('a', 2, 3)];
    await expect(sink.write(batch, soon())).rejects.toThrow(/llm: .*maximum bytes exceeded/);
    await expect(sink.write(batch, soon())).rejects.toMatchObject({ code: 'sink_failed' });
    expect(numbers(await readRecords(server, 'llm'))).toEqual([0]);
    await updateStream(server, { max_bytes: 1_000_000, discard: 'new' });
    await sink.write(batch, soon());
    expect(numbers(await readRecords(server, 'llm'))).toEqual([0, 1, 2, 3, 4]);
  });

  test('promise 15: a record of too many parts is refused, and the others are kept', async (context) => {
    needsNats(context);
    const server = await startServer();
    const sink = await openSink(`${server.url}/llm?create=1`, { maxEntryBytes: 1024 });
    const huge = { stream: 'a', seq: 1, value: new Uint8Array(100_000 * 1024 + 1) };
    const batch = [...records('a', 0, 1), huge, ...records('a', 2, 1), ...records('b', 0, 1)];
    const error = await sink.write(batch, soon()).catch((came: unknown) => came);
    expect(error).toBeInstanceOf(RefusedRecords);
    // The very object: to compare its bytes would take minutes.
    expect(error instanceof RefusedRecords && error.refused.map(({ record }) => record === huge)).toEqual([
      true,
    ]);
    expect(numbers(await readRecords(server, 'llm')).toSorted((one, other) => one - other)).toEqual([
      0, 0, 2,
    ]);
  });

  test('promise 15: what a stream is worth is asked, and never said to be more', async (context) => {
    needsNats(context);
    const server = await startServer();
    const sink = await openSink(`${server.url}/llm?create=1`);
    expect(sink.durability).toBe('memory');
    expect(sink.facts.engine).toMatch(/^NATS \d+\.\d+/);
    expect(sink.facts.durability).toContain('sync_interval');
    expect(sink.facts.warnings).toEqual([expect.stringContaining('has one replica')]);
    await createStream(server, {
      name: 'old',
      subjects: ['old.>'],
      max_bytes: 1_000_000,
      max_age: 60_000_000_000,
    });
    const lossy = await openSink(`${server.url}/old`);
    expect(lossy.facts.warnings).toEqual([
      expect.stringContaining('one replica'),
      expect.stringContaining('removes its oldest messages'),
      expect.stringContaining('after 60 s (max_age)'),
    ]);
    expect([sink, lossy].map((each) => 'isLossy' in each && each.isLossy)).toEqual([false, true]);
  });

  test('promise 15: a stream that becomes less while it is connected says so to a write within 5 s', async (context) => {
    needsNats(context);
    const server = await startServer();
    await createStream(server, { discard: 'new', max_msgs: 100 });
    const sink = await openSink(`${server.url}/llm`);
    await sink.write(records('a', 0, 1), soon());
    await updateStream(server, { discard: 'old', max_msgs: 100 });
    await sink.write(records('a', 1, 1), soon());
    expect(sink.isLossy).toBe(false);
    passTime(5001);
    await sink.write(records('a', 2, 1), soon());
    expect(sink.isLossy).toBe(true);
    expect(sink.facts.warnings).toContainEqual(expect.stringContaining('discard old'));
    expect(numbers(await readRecords(server, 'llm'))).toEqual([0, 1, 2]);
  });

  test('promise 15: a NATS that comes back without its stream is said to have forgotten it', async (context) => {
    needsNats(context);
    const server = await startServer();
    const sink = await openSink(`${server.url}/llm?create=1`);
    await sink.write(records('a', 0, 1), soon());
    await server.kill();
    await server.start();
    await sink.write(records('a', 1, 1), soon());
    expect(sink.facts.forgot).toBeUndefined();
    await server.kill();
    server.forget();
    await server.start();
    await sink.write(records('a', 2, 1), soon());
    expect(sink.facts.forgot).toEqual({ times: 1, why: expect.stringContaining('was made anew at') });
  });

  test('a stream that does not keep what a sink writes is refused', async (context) => {
    needsNats(context);
    const server = await startServer();
    await createStream(server, { name: 'work', subjects: ['work.*'], retention: 'workqueue' });
    await createStream(server, { name: 'mute', subjects: ['mute.*'], no_ack: true });
    await expect(openSink(`${server.url}/work`)).rejects.toThrow(
      'expected the retention limits, got workqueue',
    );
    await expect(openSink(`${server.url}/mute`)).rejects.toThrow('expected acknowledgements');
    await expect(openSink(`${server.url}/mute?subject=other`)).rejects.toThrow(
      'expected the subjects other.*',
    );
    await expect(openSink(`${server.url}/none`)).rejects.toThrow('there is no stream none');
  });

  test('a trial says that a user may not write, and stores nothing', async (context) => {
    needsNats(context);
    const users = [
      ['all', '[">"]'],
      ['just', '["llm.*", "$JS.API.STREAM.INFO.llm", "$JS.API.STREAM.MSG.GET.llm"]'],
      ['none', '["$JS.API.>"]'],
      ['one', '["$JS.API.>", "llm.x"]'],
      ['blind', '["llm.*", "$JS.API.STREAM.INFO.llm"]'],
    ] as const;
    const listed = users.map(
      ([user, publish]) =>
        `{ user: ${user}, password: p, permissions: { publish: ${publish}, subscribe: ["_INBOX.>"] } }`,
    );
    const server = await NatsServer.start(`authorization { users: [${listed.join(', ')}] }`, {
      user: 'all',
      pass: 'p',
    });
    servers.push(server);
    const at = (user: string): string => `nats://${user}:p@127.0.0.1:${server.port}/llm`;
    const sink = await openSink(`${at('all')}?create=1`);
    for (const isTrial of [true, false]) {
      const just = await openSink(at('just'), { isTrial });
      expect(just.facts).toEqual(sink.facts);
    }
    for (const [user, what] of [
      ['none', 'Publish to "llm.'],
      ['one', 'Publish to "llm.'],
      ['blind', 'Publish to "$JS.API.STREAM.MSG.GET.llm"'],
    ] as const) {
      const opening = openNatsSink({ url: at(user), isTrial: true });
      await expect(opening).rejects.toMatchObject({ code: 'sink_failed', isDenied: true });
      await expect(opening).rejects.toThrow(what);
      await expect(opening).rejects.toThrow('let the user publish to llm.* and $JS.API.STREAM.MSG.GET.llm');
    }
    await sink.write(records('a', 0, 1), soon());
    const answer = await server.api('STREAM.INFO.llm');
    expect(answer).toMatchObject({ state: { messages: 1, last_seq: 1 } });
  });

  test('a consumer’s lag is counted in messages and has an age', async (context) => {
    needsNats(context);
    const server = await startServer();
    const sink = await openSink(`${server.url}/llm?create=1`);
    await sink.write(records('a', 0, 5), soon());
    await expect(sink.lagOf?.('index', soon())).rejects.toMatchObject({ code: 'sink_failed' });
    const config = { durable_name: 'index', ack_policy: 'explicit', deliver_policy: 'all' };
    await server.api('CONSUMER.DURABLE.CREATE.llm.index', { stream_name: 'llm', config });
    const client = await server.client();
    const next = await client.request('$JS.API.CONSUMER.MSG.NEXT.llm.index', '', {
      timeout: 5000,
      noMux: true,
    });
    await until(async () => ((await sink.lagOf?.('index', soon()))?.ms ?? 0) > 0, 'the lag has an age');
    expect(await sink.lagOf?.('index', soon())).toMatchObject({ entries: 5 });
    await client.request(next.reply ?? '', '+ACK', { timeout: 5000 });
    expect(await sink.lagOf?.('index', soon())).toMatchObject({ entries: 4 });
    await expect(sink.lagOf?.('none', soon())).rejects.toThrow(/no consumer none: .* nats consumer add/);
  });

  test('who asks is checked by the server, and no secret is in what is said', async (context) => {
    needsNats(context);
    const server = await NatsServer.start('authorization { user: u, password: "p@ss" }', {
      user: 'u',
      pass: 'p@ss',
    });
    servers.push(server);
    const at = `127.0.0.1:${server.port}`;
    const sink = await openSink(`nats://u:p%40ss@${at}/llm?create=1`);
    await sink.write(records('a', 0, 1), soon());
    expect(sink.address).toBe(`nats://${at}/llm`);
    await openSink(`nats://u@${at}/llm`, { password: 'p@ss' }).catch(() => undefined);
    const wrong = await openNatsSink({ url: `nats://u:secret-word@${at}/llm` }).catch(
      (error: unknown) => error,
    );
    expect(wrong).toMatchObject({ code: 'sink_failed', isDenied: true });
    expect(String(wrong)).toMatch(/authorization/i);
    expect(`${String(wrong)} ${JSON.stringify(wrong)}`).not.toContain('secret-word');
  });
});

describe('a cluster of three', () => {
  test('promise 15: the leader is killed and two of three are, and each record is there once', async (context) => {
    needsNats(context);
    const cluster = await NatsServer.startCluster();
    servers.push(...cluster);
    const hosts = cluster.map(({ port }) => `127.0.0.1:${port}`).join(',');
    const made = `nats://${hosts}/llm?create=1&replicas=3&timeoutMs=30000`;
    await openSink(made, { isTrial: true });
    await openSink(made);
    const sink = await openSink(`nats://${hosts}/llm?timeoutMs=1000`);
    expect(sink.durability).toBe('replicated');
    expect(sink.facts.warnings).toEqual([]);
    const written: SinkRecord[] = [];
    const write = async (): Promise<void> => {
      const batch = ['a', 'b'].flatMap((stream) => records(stream, written.length / 2, 1));
      written.push(...batch);
      await until(
        () =>
          sink.write(batch, soon(5000)).then(
            () => true,
            () => false,
          ),
        'a write resolves',
        40_000,
      );
    };
    const leaderOf = async (): Promise<NatsServer> => {
      let leader: NatsServer | undefined;
      await until(async () => {
        const alive = cluster.find(({ isRunning }) => isRunning);
        const info = await alive?.api('STREAM.INFO.llm').catch(() => undefined);
        const name = (info as { cluster?: { leader?: string } } | undefined)?.cluster?.leader ?? '';
        leader = name === '' ? undefined : cluster[Number(name.slice(1))];
        return leader?.isRunning ?? false;
      }, 'the stream has a leader');
      if (leader === undefined) throw new Error('expected a leader');
      return leader;
    };
    for (let round = 0; round < 20; round += 1) await write();
    const first = await leaderOf();
    await first.kill();
    for (let round = 0; round < 20; round += 1) await write();
    await first.start();
    await write();

    const leader = await leaderOf();
    const others = cluster.filter((server) => server !== leader);
    for (const server of others) await server.kill();
    const batch = records('c', 0, 3);
    for (let round = 0; round < 3; round += 1) await expect(sink.write(batch, soon(5000))).rejects.toThrow();
    for (const server of others) await server.start();
    await until(
      () =>
        sink.write(batch, soon(5000)).then(
          () => true,
          () => false,
        ),
      'there is a quorum again',
      40_000,
    );
    await write();

    // To read it the cluster has to have a leader, too, and not only the stream.
    let all: SinkRecord[] = [];
    await until(
      async () => {
        all = await readRecords(await leaderOf(), 'llm').catch(() => []);
        return all.length > 0;
      },
      'the stream can be read',
      60_000,
    );
    const found = Map.groupBy(all, ({ stream }) => stream);
    const expected = Array.from({ length: written.length / 2 }, (_, index) => index);
    expect(numbers(found.get('a') ?? [])).toEqual(expected);
    expect(numbers(found.get('b') ?? [])).toEqual(expected);
    expect(numbers(found.get('c') ?? [])).toEqual([0, 1, 2]);
  }, 240_000);
});

async function createStream(server: NatsServer, config: object): Promise<void> {
  const name = 'name' in config ? String(config.name) : 'llm';
  const answer = await server.api(`STREAM.CREATE.${name}`, {
    name,
    subjects: [`${name}.*`],
    num_replicas: 1,
    ...config,
  });
  expect(answer).not.toHaveProperty('error');
}

async function updateStream(server: NatsServer, config: object): Promise<void> {
  const answer = await server.api('STREAM.UPDATE.llm', {
    name: 'llm',
    subjects: ['llm.*'],
    num_replicas: 1,
    ...config,
  });
  expect(answer).not.toHaveProperty('error');
}

/** Waits until JetStream does not know the ids of what was written any more. */
async function expireIds(server: NatsServer): Promise<void> {
  const client = await server.client();
  await createStream(server, { name: 'probe', duplicate_window: 100_000_000 });
  const probe = headers();
  probe.set('Nats-Msg-Id', 'probe');
  const publish = async (): Promise<{ duplicate?: boolean }> =>
    JSON.parse((await client.request('probe.x', '', { timeout: 5000, headers: probe })).string()) as {
      duplicate?: boolean;
    };
  await publish();
  await until(async () => (await publish()).duplicate !== true, 'an id is forgotten');
}
