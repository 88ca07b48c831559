import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import type { EndedPage, Overview } from '@spillway/server/console/snapshot';
import { openClient } from '../../client/src/index.ts';
import type { Finding } from '../src/cli/check/finding.ts';
import { lineWith, linesOf } from './support/log-lines.ts';
import { eventually, run, type RunningGateway, startGateway } from './support/processes.ts';
import { metric, payloads, postChat } from './support/requests.ts';
import { folderWithEngine, SmallEngine, withoutEngines } from './support/small-engine.ts';

const quick = 'sim:tokens=5,tps=0,ttft=0';
/** More than merges into one record. */
const large = 'sim:tokens=60,tps=0,ttft=0,size=5000';
const slow = 'sim:tokens=40,tps=20,ttft=0';

interface TappedGateway extends RunningGateway {
  readonly folder: string;
}

/** A gateway in a folder with the package of the small engine, and nowhere else one of an engine. */
async function start(tap: object, folder = folderWithEngine()): Promise<TappedGateway> {
  writeTap(folder, tap);
  const gateway = await startGateway([], { cwd: folder, nodeArgs: withoutEngines });
  return Object.assign(gateway, { folder });
}

function writeTap(folder: string, tap: object): void {
  const text = stringify({ tap: [{ name: 'bus', ...tap }], retainMs: 100 });
  writeFileSync(join(folder, 'spillway.yaml'), text);
}

async function failToStart(
  tap: object,
  folder = folderWithEngine(),
  nodeArgs = withoutEngines,
): Promise<string> {
  writeTap(folder, tap);
  const command = run(['serve', '--port', '0', '--admin-port', '0'], { cwd: folder, nodeArgs });
  expect(await command.exited, command.stderr()).toBe(78);
  return command.stderr();
}

async function reload(gateway: TappedGateway, tap: object): Promise<string> {
  writeTap(gateway.folder, tap);
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(`${gateway.adminUrl}/reload`, { method: 'POST', headers, body: '{}' });
  return await answer.text();
}

/** What clients get at the moment: the answer's end, or why there is none. */
async function ask(gateway: RunningGateway, model = quick): Promise<string> {
  const answer = await postChat(gateway.url, model);
  const text = await answer.text();
  return answer.status === 200 ? (payloads(text).at(-1) ?? '') : `${answer.status} ${text}`;
}

/** The taps as the console has them. */
async function tapsOf({ adminUrl }: RunningGateway): Promise<Overview['taps']> {
  const client = openClient({ url: adminUrl });
  try {
    for await (const item of client.read('/streams/overview', {
      from: 'now',
      overflow: 'latest',
      autoAck: true,
    })) {
      if (item.type === 'chunk') return (JSON.parse(new TextDecoder().decode(item.bytes)) as Overview).taps;
    }
    throw new Error('there is no overview');
  } finally {
    await client.close();
  }
}

/** Waits until the engine has that many whole streams. */
function wholeStreams(engine: SmallEngine, count: number): Promise<unknown> {
  const isWhole = (records: readonly { kind: string }[]): boolean =>
    ['begin', 'end', 'reader'].every((kind) => records.some((record) => record.kind === kind));
  return eventually(
    () => [...engine.streams().values()].filter(isWhole).length === count,
    `${count} whole streams in the engine`,
  );
}

const isDown = 'a tap is down: what it writes to cannot be opened';
const isOpen = 'what a tap writes to is open';

describe('a tap to an engine', () => {
  test('has its records there, says what the engine is, and on which terms it keeps them', async () => {
    const engine = await SmallEngine.create();
    const gateway = await start({ to: engine.url, gate: true });
    expect(await ask(gateway)).toBe('[DONE]');
    await wholeStreams(engine, 1);
    expect(await lineWith(gateway, 'what a tap writes to', { tap: 'bus' })).toMatchObject({
      engine: 'Small 1.0',
      durability: 'fsync',
      why: 'It says that it is fsync.',
      duplicates: 'It knows each record for ever.',
      warnings: [],
    });
    expect(await metric(gateway.adminUrl, 'spillway_tap_up{tap="bus"}')).toBe(1);
  });

  test.each([
    ['gate', { gate: true }],
    ['lossless', { lossless: true }],
  ])('that is down at the start: with %s new streams get 503 at once, until it is there', async (_, keys) => {
    const engine = await SmallEngine.create();
    await engine.stop();
    const gateway = await start({ to: engine.url, ...keys });
    await lineWith(gateway, isDown, { tap: 'bus', reason: 'ECONNREFUSED' });
    const beforeMs = performance.now();
    expect(await ask(gateway)).toMatch(/^503 .*tap_unavailable/s);
    expect(performance.now() - beforeMs).toBeLessThan(2000);
    expect(await metric(gateway.adminUrl, 'spillway_tap_up{tap="bus"}')).toBe(0);
    await engine.start();
    await lineWith(gateway, isOpen, { tap: 'bus' });
    expect(await ask(gateway)).toBe('[DONE]');
    await wholeStreams(engine, 1);
    expect(linesOf(gateway, isDown)).toHaveLength(1);
  });

  test('that is down at the start: a tap that may lose makes nobody wait, and says what it lost', async () => {
    const engine = await SmallEngine.create();
    await engine.stop();
    const gateway = await start({ to: engine.url, maxRecords: 4 });
    expect(payloads(await (await postChat(gateway.url, large)).text()).at(-1)).toBe('[DONE]');
    await engine.start();
    await lineWith(gateway, isOpen, { tap: 'bus' });
    expect(await ask(gateway)).toBe('[DONE]');
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_tap_lost_total{tap="bus"}')) > 0,
      'chunks to be lost',
    );
    await wholeStreams(engine, 2);
    expect([...engine.streams().values()].flat().filter(({ kind }) => kind === 'gap')).not.toEqual([]);
  });

  test('that is silent at the start delays it once, however many there are', async () => {
    const silent = await Promise.all(Array.from({ length: 3 }, () => SmallEngine.create()));
    for (const engine of silent) engine.answerMs = 600_000;
    const folder = folderWithEngine();
    const tap = silent.map(({ url }, index) => ({ name: `bus-${index}`, to: url }));
    writeFileSync(join(folder, 'spillway.yaml'), stringify({ tap }));
    const gateway = await startGateway([], { cwd: folder, nodeArgs: withoutEngines });
    // Each says after 5 s that it was not opened. Later tries are not over yet when all have.
    const told = await Promise.all(tap.map(({ name }) => lineWith(gateway, isDown, { tap: name })));
    const times = told.map(({ time }) => Number(time));
    expect(Math.max(...times) - Math.min(...times)).toBeLessThan(4000);
  });

  test('that is down at the start: a spill has the records until it is there', async () => {
    const engine = await SmallEngine.create();
    await engine.stop();
    const gateway = await start({ to: engine.url, gate: true, spill: 'spill' });
    expect(await ask(gateway)).toBe('[DONE]');
    expect(await metric(gateway.adminUrl, 'spillway_tap_up{tap="bus"}')).toBe(1);
    expect(await metric(gateway.adminUrl, 'spillway_tap_spill_engine_up')).toBe(0);
    expect((await fetch(`${gateway.url}/health/ready`)).status).toBe(200);
    await engine.start();
    await wholeStreams(engine, 1);
  });

  test('that goes down ends the streams of a gate after its deadline, and serves again by itself', async () => {
    const engine = await SmallEngine.create();
    const gateway = await start({ to: engine.url, gate: true, deadlineMs: 500 });
    const running = await postChat(gateway.url, slow);
    await engine.stop();
    expect(await running.text()).toContain('tap_unavailable');
    expect(await ask(gateway)).toMatch(/^503 .*tap_unavailable/s);
    await engine.start();
    await lineWith(gateway, 'a tap is up again', { tap: 'bus' });
    expect(await ask(gateway)).toBe('[DONE]');
  });

  test('that is slow delays readers of a gate and loses nothing; slower than its deadline, it is down', async () => {
    const engine = await SmallEngine.create();
    const gateway = await start({ to: engine.url, gate: true, deadlineMs: 4000 });
    engine.answerMs = 300;
    expect(await ask(gateway)).toBe('[DONE]');
    engine.answerMs = 9000;
    expect(await ask(gateway)).toMatch(/^50\d .*tap_unavailable/s);
    engine.answerMs = 0;
    await lineWith(gateway, 'a tap is up again', { tap: 'bus' });
    expect(await ask(gateway)).toBe('[DONE]');
  });

  test.each([
    ['an answer', quick, 'completed', 200],
    ['a refusal of the provider', 'sim:status=418', 'failed', 418],
  ])(
    'that hangs: %s that no client got is none that was delivered, wherever it is counted',
    async (_, model, state, status) => {
      const engine = await SmallEngine.create();
      const gateway = await start({ to: engine.url, gate: true, deadlineMs: 500, maxRecords: 1 });
      const counted = (which: string): Promise<number> =>
        metric(gateway.adminUrl, `spillway_streams_ended_total{${which}}`);
      expect((await postChat(gateway.url, model)).status).toBe(status);
      expect(await lineWith(gateway, 'stream ended', {})).toMatchObject({ state, status });
      engine.answerMs = 60_000;
      const answer = await postChat(gateway.url, model);
      expect(answer.status).toBe(503);
      expect(await answer.text()).toContain('tap_unavailable');
      await lineWith(gateway, 'stream ended', { state: 'failed', code: 'tap_unavailable', status });
      expect(linesOf(gateway, 'stream ended')).toHaveLength(2);
      expect(await counted('state="completed"')).toBe(state === 'completed' ? 1 : 0);
      expect(await counted('state="failed",error_type="tap_unavailable"')).toBe(1);
      const listed = (await (await fetch(`${gateway.adminUrl}/ended`)).json()) as EndedPage;
      expect(listed.streams[0]).toMatchObject({ condition: 'failed', code: 'tap_unavailable' });
      expect(listed.streams[1]).toMatchObject({ condition: state });
      engine.answerMs = 0;
      await wholeStreams(engine, 2);
      const [, records = []] = [...engine.streams().values()];
      // What the provider did is in `end`, what the client got in `reader`.
      expect(records.find(({ kind }) => kind === 'end')).toMatchObject({ state });
      expect(records.find(({ kind }) => kind === 'reader')).toMatchObject({
        code: 'tap_unavailable',
        delivered: 0,
      });
    },
  );

  test('that takes longer than a spill waits gets its records all the same', async () => {
    const engine = await SmallEngine.create();
    const gateway = await start({ to: engine.url, gate: true, spill: 'spill', deadlineMs: 4000 });
    engine.answerMs = 3000;
    expect(await ask(gateway)).toBe('[DONE]');
    await wholeStreams(engine, 1);
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_tap_spill_records')) === 0,
      'the spill to be empty',
    );
  });

  test('is refused at the start: its package is missing, its URL is wrong, its grade is too low', async () => {
    const engine = await SmallEngine.create();
    expect(await failToStart({ to: 'nats://127.0.0.1:1/llm' })).toMatch(
      /tap bus: expected to open nats:\/\/127\.0\.0\.1:1\/llm, got: expected the package @spillway\/nats, .* npm install @spillway\/nats$/m,
    );
    expect(await failToStart({ to: `${engine.url}?acks=2`, passwordEnv: 'PATH' })).toContain(
      'url: expected no parameter, got acks.',
    );
    engine.durability = 'replicated';
    for (const keys of [{ gate: true }, { lossless: true }, { durability: 'fsync' }]) {
      expect(await failToStart({ to: engine.url, ...keys })).toContain(
        'expected durability fsync, got replicated (It says that it is replicated): change that in the engine, or take it with durability: replicated',
      );
    }
    engine.isLossy = true;
    expect(await failToStart({ to: engine.url, lossless: true, durability: 'replicated' })).toContain(
      'expected an engine that keeps its records until they are read',
    );
    engine.isLossy = false;
    const gateway = await start({ to: engine.url, gate: true, durability: 'replicated' });
    expect(await ask(gateway)).toBe('[DONE]');
  });

  test('whose grade is too low when it is reached stays down, says why, and is up when that is mended', async () => {
    const engine = await SmallEngine.create();
    await engine.stop();
    engine.durability = 'memory';
    const gateway = await start({ to: engine.url, gate: true });
    await engine.start();
    const { reason } = await lineWith(gateway, isDown, {
      reason:
        'expected durability fsync, got memory (It says that it is memory): change that in the engine, or take it with durability: memory',
    });
    expect(await ask(gateway)).toMatch(/^503 .*tap_unavailable/s);
    expect(await tapsOf(gateway)).toMatchObject([{ problem: reason, isUp: false, durability: null }]);
    engine.durability = 'fsync';
    await lineWith(gateway, isOpen, { tap: 'bus' });
    expect(await ask(gateway)).toBe('[DONE]');
    // A new setting of the engine: what it acknowledges then is not enough.
    engine.durability = 'memory';
    expect(await ask(gateway)).toMatch(/tap_unavailable/);
    expect(await ask(gateway)).toMatch(/^503 .*tap_unavailable/s);
    engine.durability = 'fsync';
    await eventually(async () => (await ask(gateway)) === '[DONE]', 'it to serve again');
  });

  test('measures how far groups of readers are behind', async () => {
    const engine = await SmallEngine.create();
    engine.lag = [120, 90_000];
    const gateway = await start({ to: engine.url, groups: ['indexer', 'none'] });
    const records = 'spillway_tap_group_lag_records{tap="bus",group="indexer"}';
    // There is no series before the first answer.
    const isKnown = (): Promise<boolean> =>
      metric(gateway.adminUrl, records).then(
        (value) => value === 120,
        () => false,
      );
    await eventually(isKnown, 'the lag');
    expect(
      await metric(gateway.adminUrl, 'spillway_tap_group_lag_time_seconds{tap="bus",group="indexer"}'),
    ).toBe(90);
    await lineWith(gateway, 'how far readers of a tap are behind is not known', {
      group: 'none',
      reason: 'no such group: none',
    });
    expect(await tapsOf(gateway)).toMatchObject([
      {
        groups: [
          { group: 'indexer', entries: 120, ms: 90_000, problem: null },
          { group: 'none', entries: null, ms: null, problem: 'no such group: none' },
        ],
      },
    ]);
  });
});

describe('records that an engine refuses for ever', () => {
  const file = 'dead-letters-bus.jsonl';
  const refused = 'what a tap writes to refuses records for ever: they are dead letters';

  test.each([
    ['a gate', { gate: true }],
    ['a gate and a spill', { gate: true, spill: 'spill' }],
  ])('are dead letters, and block nothing behind them: with %s', async (_, keys) => {
    const engine = await SmallEngine.create();
    engine.refuses = ({ value }) => value.includes('"kind":"answer"');
    const gateway = await start({ to: engine.url, ...keys });
    expect(await ask(gateway)).toBe('[DONE]');
    expect(await ask(gateway)).toBe('[DONE]');
    await wholeStreams(engine, 2);
    const path = join(gateway.folder, file);
    const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect(lines).toHaveLength(2);
    const letter = JSON.parse(lines[0] ?? '') as { stream: string; value: string };
    expect(letter).toMatchObject({
      tap: 'bus',
      seq: 1,
      reason: 'it breaks the schema',
      at: expect.any(Number) as number,
    });
    expect(JSON.parse(letter.value)).toMatchObject({ stream: letter.stream, kind: 'answer' });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await metric(gateway.adminUrl, 'spillway_tap_dead_letters_total{tap="bus"}')).toBe(2);
    expect(await metric(gateway.adminUrl, 'spillway_tap_dead_letter_bytes{tap="bus"}')).toBe(
      statSync(path).size,
    );
    expect(await metric(gateway.adminUrl, 'spillway_tap_lost_total{tap="bus"}')).toBe(0);
    expect(linesOf(gateway, refused)).toMatchObject([
      { tap: 'bus', records: 1, lost: 0, seq: 1, path: file },
    ]);
    // What came since is told at the end at the latest.
    gateway.process.kill('SIGTERM');
    await gateway.exited;
    expect(linesOf(gateway, refused).slice(1)).toMatchObject([{ tap: 'bus', records: 1, lost: 0 }]);
  });

  test('have no room: a gate is down until there is some, and another tap loses them', async () => {
    const engine = await SmallEngine.create();
    engine.refuses = ({ value }) => value.includes('"kind":"answer"');
    const keys = { to: engine.url, deadLetters: 'refused.jsonl', maxDeadLetterBytes: 1024, deadlineMs: 500 };
    const folder = folderWithEngine();
    writeFileSync(join(folder, 'refused.jsonl'), 'x'.repeat(1000));
    const gated = await start({ ...keys, gate: true }, folder);
    expect(await ask(gated)).toMatch(/tap_unavailable/);
    const { reason } = await lineWith(gated, 'a tap is down: its sink does not keep what is written', {});
    expect(reason).toContain('The dead letters refused.jsonl are full');
    expect(await tapsOf(gated)).toMatchObject([{ problem: reason, isUp: false }]);
    writeFileSync(join(folder, 'refused.jsonl'), '');
    await lineWith(gated, 'a tap is up again', {});
    expect(readFileSync(join(folder, 'refused.jsonl'), 'utf8')).toContain('"seq":1');
    writeFileSync(join(folder, 'refused.jsonl'), 'x'.repeat(1000));
    expect(await reload(Object.assign(gated, { folder }), keys)).toContain('"changed":["bus"]');
    expect(await ask(gated)).toBe('[DONE]');
    await eventually(
      async () => (await metric(gated.adminUrl, 'spillway_tap_lost_total{tap="bus"}')) === 1,
      'it to be lost',
    );
    expect(readFileSync(join(folder, 'refused.jsonl'), 'utf8')).toBe('x'.repeat(1000));
    // The first loss is told at once, also where a line about others came before it.
    await lineWith(gated, refused, { records: 1, lost: 1 });
  });
});

describe('the password of an engine', () => {
  const secret = 'hunter2-is-secret';

  test.each([
    ['in its URL', (url: string) => ({ to: url.replace('//', `//user:${secret}@`) }), {}],
    ['in a variable', (url: string) => ({ to: url, passwordEnv: 'BUS_PASSWORD' }), { BUS_PASSWORD: secret }],
  ])('%s is used, and shown nowhere', async (_, keys, env) => {
    const engine = await SmallEngine.create();
    engine.password = secret;
    const folder = folderWithEngine();
    const tap = { ...keys(engine.url), gate: true, deadlineMs: 500 };
    writeTap(folder, tap);
    const options = { cwd: folder, nodeArgs: withoutEngines, env };
    const gateway = Object.assign(await startGateway([], options), { folder });
    expect(await ask(gateway)).toBe('[DONE]');
    const shown = [
      await (await fetch(`${gateway.adminUrl}/metrics`)).text(),
      JSON.stringify(await tapsOf(gateway)),
      await (await fetch(`${gateway.adminUrl}/gateway`)).text(),
      await reload(gateway, { ...tap, content: 'text' }),
    ];
    engine.password = 'another';
    await engine.stop();
    await engine.start();
    expect(await ask(gateway)).toMatch(/tap_unavailable/);
    for (const args of [['config'], ['config', '--json'], ['check'], ['check', '--json']]) {
      const command = run(args, options);
      await command.exited;
      shown.push(command.stdout(), command.stderr());
    }
    shown.push(gateway.stdout(), gateway.stderr());
    expect(shown.filter((text) => text.includes(secret))).toEqual([]);
    expect(shown.filter((text) => text.includes('127.0.0.1')).length).toBeGreaterThan(4);
  });

  test('in a URL that is refused, or of which nothing is an engine, is not shown either', async () => {
    for (const to of [
      `kafka://user:${secret}@127.0.0.1:1/llm?acks=1&password=${secret}`,
      `http://user:${secret}@127.0.0.1/`,
      `kafka://user:${secret} x@127.0.0.1:1/llm`,
      `kafka://user:a/b,${secret}@127.0.0.1:1/llm`,
    ]) {
      const text = await failToStart({ to, retainBytes: '1MiB' });
      expect(text, to).not.toContain(secret);
      expect(text, to).toContain('expected');
    }
  });

  test('is replaced by a reload, while streams go on with the old one', async () => {
    const engine = await SmallEngine.create();
    engine.password = 'old';
    const folder = folderWithEngine();
    writeFileSync(join(folder, 'password'), 'old\n');
    const tap = { to: engine.url, gate: true, passwordFile: 'password', deadlineMs: 500 };
    const gateway = await start(tap, folder);
    expect(await ask(gateway)).toBe('[DONE]');
    engine.password = 'new';
    writeFileSync(join(folder, 'password'), 'new\n');
    expect(await reload(gateway, tap)).toContain('"changed":["bus"]');
    expect(await ask(gateway)).toBe('[DONE]');
  });

  test('that is wrong refuses a reload, which changes nothing; at the start the log says so', async () => {
    const [one, other] = [await SmallEngine.create(), await SmallEngine.create()];
    other.password = 'right';
    const gateway = await start({ to: one.url, gate: true });
    for (const keys of [{}, { spill: 'spill' }]) {
      const refused = await reload(gateway, { to: other.url, gate: true, ...keys });
      expect(refused).toContain('config_invalid');
      expect(refused).toContain('wrong password');
      expect(await ask(gateway)).toBe('[DONE]');
    }
    expect(linesOf(gateway, isDown)).toEqual([]);
    // One that is away may come.
    await other.stop();
    expect(await reload(gateway, { to: other.url, gate: true })).toContain('"changed":["bus"]');
    await other.start();
    await lineWith(gateway, isDown, { tap: 'bus', reason: 'ECONNREFUSED' });
    const begun = await start({ to: other.url, gate: true });
    await lineWith(begun, isDown, { tap: 'bus', reason: 'wrong password' });
  });
});

test('a gateway whose every stream would be refused is not ready, and no other tap makes it so', async () => {
  const engine = await SmallEngine.create();
  const gateway = await start({ to: engine.url, gate: true, deadlineMs: 500 });
  const readiness = async (): Promise<string> => {
    const answer = await fetch(`${gateway.url}/health/ready`);
    return `${answer.status} ${await answer.text()}`;
  };
  const down = '503 {"status":"tap_unavailable"}';
  expect(await readiness()).toBe('200 {"status":"ok"}');
  await engine.stop();
  expect(await ask(gateway)).toContain('tap_unavailable');
  expect(await readiness()).toBe(down);
  expect((await fetch(`${gateway.url}/health/live`)).status).toBe(200);
  await engine.start();
  await eventually(async () => (await readiness()).startsWith('200'), 'it to be ready again');
  await engine.stop();
  const readyWith = async (keys: object): Promise<string> => {
    expect(await reload(gateway, { to: engine.url, deadlineMs: 500, ...keys })).toContain(
      '"changed":["bus"]',
    );
    await ask(gateway);
    return await readiness();
  };
  expect(await readyWith({ lossless: true })).toBe(down);
  expect(await readyWith({ gate: true, models: ['some-*'] })).toBe('200 {"status":"ok"}');
  // Its own streams are refused, and the others are not.
  expect(await ask(gateway, 'some-model:tokens=5,tps=0,ttft=0')).toContain('tap_unavailable');
  expect(await ask(gateway)).toBe('[DONE]');
  expect(await readiness()).toBe('200 {"status":"ok"}');
  expect(await readyWith({})).toBe('200 {"status":"ok"}');
});

test('a reload to another engine: running streams go on there where they began', async () => {
  const [one, other] = [await SmallEngine.create(), await SmallEngine.create()];
  const gateway = await start({ to: one.url, gate: true });
  const running = await postChat(gateway.url, slow);
  expect(await reload(gateway, { to: other.url, gate: true })).toContain('"changed":["bus"]');
  expect(await ask(gateway)).toBe('[DONE]');
  expect(payloads(await running.text()).at(-1)).toBe('[DONE]');
  await wholeStreams(one, 1);
  await wholeStreams(other, 1);
  await lineWith(gateway, 'a tap that a reload took out is closed: its last stream is over', { tap: 'bus' });
  // One that cannot be loaded changes nothing.
  expect(await reload(gateway, { to: 'nats://127.0.0.1:1/llm' })).toContain('npm install @spillway/nats');
  expect(await ask(gateway)).toBe('[DONE]');
});

test('a reload to another engine: what is told of the tap is of the engine that it has now', async () => {
  const [one, other] = [await SmallEngine.create(), await SmallEngine.create()];
  one.lag = [120, 90_000];
  other.lag = [7, 3000];
  const keys = { groups: ['indexer'], gate: true, deadlineMs: 500 };
  const gateway = await start({ to: one.url, ...keys });
  const lag = (): Promise<number | undefined> =>
    metric(gateway.adminUrl, 'spillway_tap_group_lag_records{tap="bus",group="indexer"}').catch(
      () => undefined,
    );
  await eventually(async () => (await lag()) === 120, 'the lag');
  const running = await postChat(gateway.url, 'sim:tokens=4000,tps=20,ttft=0');
  expect(await reload(gateway, { to: other.url, ...keys })).toContain('"changed":["bus"]');
  await eventually(async () => (await lag()) === 7, 'the lag of the other');
  const questions = one.lagQuestions;
  // The first engine would have been asked before the other one is for the second time.
  await eventually(() => other.lagQuestions === 2, 'the next question');
  expect(one.lagQuestions).toBe(questions);
  await one.stop();
  expect(await running.text()).toContain('tap_unavailable');
  await lineWith(gateway, 'a tap is down: its sink does not keep what is written', {
    tap: 'bus',
    leaving: true,
  });
  expect(await metric(gateway.adminUrl, 'spillway_tap_up{tap="bus"}')).toBe(1);
  expect(linesOf(gateway, 'how far readers of a tap are behind is not known')).toEqual([]);
  expect(await lag()).toBe(7);
});

describe('a reload of a tap with a spill', () => {
  const stays = 'a tap that a reload took out stays until what is in its spill is written';
  const isClosed = 'a tap that a reload took out is closed: its last stream is over';
  const isLeft = 'a tap was closed with records in its spill: a start with its to and spill writes them';

  async function spilled(): Promise<{ engine: SmallEngine; gateway: TappedGateway; tap: object }> {
    const engine = await SmallEngine.create();
    await engine.stop();
    const tap = { to: engine.url, lossless: true, spill: 'spill' };
    const gateway = await start(tap);
    expect(await ask(gateway)).toBe('[DONE]');
    const records = (): Promise<number> => metric(gateway.adminUrl, 'spillway_tap_spill_records{tap="bus"}');
    // All of the stream, the end of its reader too.
    await eventually(async () => (await records()) >= 4, 'the spill to have the stream');
    return { engine, gateway, tap };
  }

  test.each([
    ['taken out', (): object => ({ name: 'other', to: 'file:other.jsonl' })],
    ['changed to another place', (): object => ({ to: 'file:other.jsonl', spill: 'spill-2' })],
  ])('promise 13: one that is %s stays until its spill is written', async (_, other) => {
    const { engine, gateway } = await spilled();
    expect(await reload(gateway, other())).toContain('"removed"');
    const { records, spill } = await lineWith(gateway, stays, { tap: 'bus', leaving: true });
    expect(spill).toBe('spill');
    expect(records).toBeGreaterThanOrEqual(4);
    expect(linesOf(gateway, isClosed)).toEqual([]);
    await engine.start();
    await wholeStreams(engine, 1);
    await lineWith(gateway, isClosed, { tap: 'bus' });
    expect(linesOf(gateway, stays)).toHaveLength(1);
  });

  test('a stop says what is left in a spill, and of a tap that was taken out it is an error', async () => {
    for (const isTakenOut of [false, true]) {
      const { gateway } = await spilled();
      if (isTakenOut) await reload(gateway, { name: 'other', to: 'file:other.jsonl' });
      gateway.process.kill('SIGTERM');
      await gateway.exited;
      const level = isTakenOut ? 50 : 30;
      expect(await lineWith(gateway, isLeft, { tap: 'bus', level })).toMatchObject({ spill: 'spill' });
    }
  });

  test('promise 13: one that comes back has its spill, and each record is written once', async () => {
    const { engine, gateway, tap } = await spilled();
    await reload(gateway, { name: 'other', to: 'file:other.jsonl' });
    await lineWith(gateway, stays, { tap: 'bus' });
    expect(await reload(gateway, tap)).toContain('"added":["bus"]');
    expect(await ask(gateway)).toBe('[DONE]');
    await engine.start();
    await wholeStreams(engine, 2);
  });

  test('its password, and whatever does not say where its records belong, can be changed', async () => {
    const engine = await SmallEngine.create();
    engine.password = 'old';
    engine.lag = [120, 90_000];
    const folder = folderWithEngine();
    writeFileSync(join(folder, 'password'), 'old\n');
    const tap = { to: engine.url, lossless: true, spill: 'spill', passwordFile: 'password' };
    const gateway = await start(tap, folder);
    expect(await ask(gateway)).toBe('[DONE]');
    const running = await postChat(gateway.url, slow);
    engine.password = 'new';
    writeFileSync(join(folder, 'password'), 'new\n');
    expect(await reload(gateway, tap)).toContain('"changed":["bus"]');
    // The stream that runs is written by the new way, too.
    expect(payloads(await running.text()).at(-1)).toBe('[DONE]');
    await wholeStreams(engine, 2);
    for (const keys of [
      { groups: ['indexer'] },
      { durability: 'memory' },
      { gate: true },
      { deadlineMs: 700 },
      { maxSpillBytes: '2MiB' },
      { deadLetters: 'refused.jsonl' },
      { maxDeadLetterBytes: '1MiB' },
    ])
      expect(await reload(gateway, { ...tap, ...keys }), JSON.stringify(keys)).toContain('"changed":["bus"]');
    await reload(gateway, { ...tap, groups: ['indexer'], maxSpillBytes: '2MiB' });
    expect(await ask(gateway)).toBe('[DONE]');
    await wholeStreams(engine, 3);
    expect(await metric(gateway.adminUrl, 'spillway_tap_spill_max_bytes{tap="bus"}')).toBe(2_097_152);
    await eventually(
      () =>
        metric(gateway.adminUrl, 'spillway_tap_group_lag_records{tap="bus",group="indexer"}').then(
          (lag) => lag === 120,
          () => false,
        ),
      'the lag',
    );
    expect(linesOf(gateway, stays)).toEqual([]);
    // A password that is wrong changes nothing.
    writeFileSync(join(folder, 'password'), 'wrong\n');
    expect(await reload(gateway, tap)).toContain('wrong password');
    expect(await ask(gateway)).toBe('[DONE]');
    await wholeStreams(engine, 4);
  });

  test('the bound of its folder can be changed, and holds', async () => {
    const { engine, gateway, tap } = await spilled();
    const bytes = (): Promise<number> => metric(gateway.adminUrl, 'spillway_tap_spill_bytes{tap="bus"}');
    // Less than the next stream takes.
    expect(await reload(gateway, { ...tap, maxSpillBytes: '1MiB', deadlineMs: 500 })).toContain(
      '"changed":["bus"]',
    );
    const huge = await postChat(gateway.url, 'sim:tokens=600,tps=0,ttft=0,size=5000');
    expect(await huge.text()).toContain('tap_unavailable');
    expect(await bytes()).toBeLessThanOrEqual(1_048_576);
    await engine.start();
    await eventually(async () => (await ask(gateway)) === '[DONE]', 'the tap to be up again');
  });

  test('its place cannot be changed over the same folder, and the message says so', async () => {
    const { engine, gateway } = await spilled();
    const other = await SmallEngine.create();
    const refused = await reload(gateway, { to: other.url, lossless: true, spill: './spill' });
    expect(refused).toContain(
      `another spill than ./spill, where the tap bus keeps records for ${engine.url}`,
    );
    // Without one, or with another folder, it can.
    expect(await reload(gateway, { to: engine.url })).toContain('"changed":["bus"]');
    await engine.start();
    await wholeStreams(engine, 1);
  });
});

test('what is in a spill goes to no other place after a restart, and check says so', async () => {
  const engine = await SmallEngine.create();
  const other = await SmallEngine.create();
  await engine.stop();
  const tap = { to: engine.url, lossless: true, spill: 'spill' };
  const gateway = await start(tap);
  const { folder } = gateway;
  expect(await ask(gateway)).toBe('[DONE]');
  gateway.process.kill('SIGTERM');
  await gateway.exited;
  const moved = { ...tap, to: other.url };
  expect(await failToStart(moved, folder)).toContain(`of records for ${engine.url}. Take another folder`);
  const check = async (): Promise<Finding | undefined> => {
    const command = run(['check', '--json', '--port', '0', '--admin-port', '0'], {
      cwd: folder,
      nodeArgs: withoutEngines,
    });
    await command.exited;
    return (JSON.parse(command.stdout()) as Finding[]).find((each) => each.check === 'tap bus (spill)');
  };
  expect(await check()).toMatchObject({
    status: 'fail',
    message: expect.stringContaining(engine.url) as string,
  });
  expect(other.records.size).toBe(0);
  await engine.start();
  await start(tap, folder);
  await wholeStreams(engine, 1);
});

test('a tap that is written to again by a reload has its groups again, and is not said to leave', async () => {
  const [one, other] = [await SmallEngine.create(), await SmallEngine.create()];
  one.lag = [120, 90_000];
  const keys = { gate: true, deadlineMs: 500 };
  const gateway = await start({ to: one.url, groups: ['indexer'], ...keys });
  const running = await postChat(gateway.url, 'sim:tokens=4000,tps=20,ttft=0');
  await reload(gateway, { to: other.url, ...keys });
  await reload(gateway, { to: one.url, groups: ['indexer'], ...keys });
  await eventually(
    () =>
      metric(gateway.adminUrl, 'spillway_tap_group_lag_records{tap="bus",group="indexer"}').then(
        (value) => value === 120,
        () => false,
      ),
    'the lag',
  );
  await one.stop();
  expect(await running.text()).toContain('tap_unavailable');
  expect(
    await lineWith(gateway, 'a tap is down: its sink does not keep what is written', {}),
  ).not.toHaveProperty('leaving');
});

describe('spillway check', () => {
  async function check(tap: object): Promise<{ code: number | null; findings: Finding[] }> {
    const folder = folderWithEngine();
    writeTap(folder, tap);
    const command = run(['check', '--json', '--port', '0', '--admin-port', '0'], {
      cwd: folder,
      nodeArgs: withoutEngines,
    });
    const code = await command.exited;
    const findings = JSON.parse(command.stdout()) as Finding[];
    return { code, findings: findings.filter((finding) => finding.check.startsWith('tap ')) };
  }

  test('says what the engine of a tap is, how good it is, and how far its readers are behind', async () => {
    const engine = await SmallEngine.create();
    engine.lag = [7, 3000];
    const at = engine.url.slice('kafka://'.length, -'/llm'.length);
    expect(await check({ to: engine.url, gate: true, groups: ['indexer', 'none'] })).toEqual({
      code: 0,
      findings: [
        {
          check: 'tap bus',
          status: 'ok',
          message: `${at} answers: Small 1.0. A kept record is worth fsync: It says that it is fsync. The tap asks for fsync or more. It knows each record for ever.`,
        },
        {
          check: 'tap bus',
          status: 'ok',
          message: 'The group indexer is behind: 7 entries, the oldest 3 s old.',
        },
        {
          check: 'tap bus',
          status: 'warn',
          message: 'How far the group none is behind cannot be told: no such group: none',
        },
      ],
    });
    expect(engine.records.size).toBe(0);
    engine.durability = 'memory';
    expect(await check({ to: engine.url, gate: true })).toMatchObject({
      code: 1,
      findings: [
        {
          status: 'fail',
          message: expect.stringContaining('expected durability fsync, got memory') as string,
        },
        { status: 'warn', message: 'Its memory is small.' },
      ],
    });
    expect(await check({ to: engine.url, deadLetters: 'none/a' })).toMatchObject({
      code: 0,
      findings: [
        { status: 'ok' },
        { status: 'warn', message: 'Its memory is small.' },
        {
          status: 'warn',
          message: expect.stringMatching(/^Dead letters .* is not there: make it\.$/) as string,
        },
      ],
    });
    await engine.stop();
    expect(await check({ to: engine.url })).toMatchObject({
      code: 1,
      findings: [{ status: 'fail', message: 'It cannot write there: ECONNREFUSED' }],
    });
  });
});
