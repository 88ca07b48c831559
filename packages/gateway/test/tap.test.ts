import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { AuditReader } from '@spillway/server/audit/audit-reader';
import { verifyAudit } from '@spillway/server/audit/verify-audit';
import { parseRecord, type TapRecord } from '@spillway/server/tap/tap-record';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createFetch, type SpillwayFetch } from '../../client/src/index.ts';
import { loadSettings } from '../src/config/load.ts';
import { lineWith, linesOf } from './support/log-lines.ts';
import { startOwnProvider } from './support/own-provider.ts';
import { eventually, type RunningGateway, startGateway, startSimulator } from './support/processes.ts';
import { chatBody, metric, postChat } from './support/requests.ts';
import { inside, smallDisk } from './support/small-disk.ts';
import { type SpawnOptions, spawnSpillway } from './support/spawn.ts';
import { anthropicSdk, openaiSdk } from './support/sdks.ts';
import { stopProcess } from '../../core/test/support/stop-process.ts';

/** A folder that is gone with the test. */
function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tap-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The records of a log, by the model that was asked for: each client of a test asks for another. */
function recordsByModel(path: string): Map<string, TapRecord[]> {
  const log = new AuditReader(path);
  const found = new Map<string, TapRecord[]>();
  for (const { model, name } of log.streams()) {
    const records = [...log.recordsOf(name)].map(({ value = new Uint8Array() }) => parseRecord(value));
    found.set(model ?? '', records);
  }
  log.close();
  return found;
}

/** What was said in events or a body of any format. */
function said(records: readonly TapRecord[] = []): string {
  return textOfEvents(
    records.map((record) => (record.kind === 'chunks' ? (record.data ?? '') : '')).join(''),
  );
}

function textOfEvents(data: string): string {
  return [...data.matchAll(/"(?:content|text)":\s*("(?:[^"\\]|\\.)*")/g)]
    .map(([, text = '""']) => JSON.parse(text) as string)
    .join('');
}

/** A client that reads until its gateway is gone. `text`: what it has got so far. */
interface Client {
  readonly model: string;
  readonly text: () => string;
  readonly done: Promise<unknown>;
}

type Reading = (model: string, got: (text: string) => void) => Promise<void>;

function start(model: string, read: Reading): Client {
  let text = '';
  const done = read(model, (more) => (text += more)).catch(() => undefined);
  return { model, text: () => text, done };
}

function clientsOf(url: string, fetch: SpillwayFetch): Reading[] {
  const at = { url, apiKey: 'none' };
  const chat =
    (openai: ReturnType<typeof openaiSdk>): Reading =>
    async (model, got) => {
      const stream = await openai.chat.completions.create({ model, stream: true, messages: [] });
      for await (const event of stream) got(event.choices[0]?.delta.content ?? '');
    };
  return [
    chat(openaiSdk(at)),
    chat(openaiSdk(at)),
    chat(openaiSdk(at).withOptions({ fetch })),
    chat(openaiSdk(at).withOptions({ fetch })),
    async (model, got) => {
      const stream = anthropicSdk(at).messages.stream({ model, max_tokens: 10_000, messages: [] });
      stream.on('text', (text) => got(text));
      await stream.finalMessage();
    },
    async (model, got) => {
      const reply = await openaiSdk(at).chat.completions.create({ model, messages: [] });
      got(reply.choices[0]?.message.content ?? '');
    },
  ];
}

/** A gateway with a simulated provider, and a tap that writes to an audit log. */
async function startTapped(
  keys: string,
  path = join(folder(), 'audit.db'),
  options?: SpawnOptions,
): Promise<{ readonly gateway: RunningGateway; readonly path: string }> {
  const { url } = await startSimulator();
  const tap = `name=audit,to=sqlite:${path},${keys}`;
  return { gateway: await startGateway(['--upstream', `${url}/v1`, '--tap', tap], options), path };
}

function kinds(records: readonly TapRecord[] = []): string[] {
  return records.map(({ kind }) => kind);
}

const kills = Number(process.env['AUDIT_KILLS'] ?? 10);

describe('a tap of the gateway', () => {
  test(`promise 12: kill -9 at any moment (${kills} times): what a client got is a prefix of the log`, async () => {
    const simulator = await startSimulator();
    const { url } = simulator;
    const upstream = `${url}/v1 api=anthropic,url=${url}`;
    let compared = 0;
    let characters = 0;
    for (let kill = 0; kill < kills; kill += 1) {
      const path = join(folder(), 'audit.db');
      const tap = `name=audit,to=sqlite:${path},gate=true`;
      const gateway = await startGateway(['--upstream', upstream, '--tap', tap]);
      const fetch = createFetch({ url: gateway.url });
      const clients = clientsOf(gateway.url, fetch).map((read, index) =>
        start(`sim:tokens=${2000 + index},tps=${index % 2 === 0 ? 400 : 0},ttft=${index * 20}`, read),
      );
      // By what came, and not by time, so that a slow machine kills in the midst of answers, too.
      const wanted = (kill * 7919) % 20_000;
      const received = (): number => clients.reduce((sum, { text }) => sum + text().length, 0);
      await eventually(() => received() >= wanted, `${wanted} characters`);
      gateway.process.kill('SIGKILL');
      await gateway.exited;
      // It would wait for a gateway that comes back.
      await fetch.close();
      await Promise.all(clients.map(({ done }) => done));
      expect(verifyAudit(path)).toMatchObject({ problems: [] });
      const log = recordsByModel(path);
      for (const { model, text } of clients) {
        const kept = said(log.get(model));
        expect(kept.startsWith(text()), `${model}: ${text().length} characters, ${kept.length} kept`).toBe(
          true,
        );
        characters += text().length;
        if (text() !== '') compared += 1;
      }
    }
    // Most had got something.
    expect(compared).toBeGreaterThan(kills);
    expect(characters).toBeGreaterThan(kills * 1000);
  }, 600_000);

  test('every request that reached a provider is in the log: streams, bodies, refusals, and those that pass through', async () => {
    const { gateway, path } = await startTapped('gate=true,request=true');
    const openai = openaiSdk({ url: gateway.url, apiKey: 'none' });
    const model = 'sim:tokens=20,tps=0,ttft=0';
    const other = 'sim:tokens=21,tps=0,ttft=0';
    const messages = [{ role: 'user', content: 'What is the weather?' }] as const;
    const stream = await openai.chat.completions.create({ model, stream: true, messages: [...messages] });
    let text = '';
    for await (const event of stream) text += event.choices[0]?.delta.content ?? '';
    const whole = await openai.chat.completions.create({ model: other, messages: [...messages] });
    const refused = openai.chat.completions.create({ model: 'sim:status=429', stream: true, messages: [] });
    await expect(refused).rejects.toMatchObject({ status: 429 });
    await openai.embeddings.create({ model: 'embed', input: 'words' });
    const headers = { 'content-type': 'application/json' };
    await fetch(`${gateway.url}/v1/chat/completions`, { method: 'POST', headers, body: '{' });
    const log = await eventually(() => {
      const found = recordsByModel(path);
      const readers = [...found.values()].flat().filter(({ kind }) => kind === 'reader');
      return readers.length >= 4 && found;
    }, 'the readers’ ends');
    expect([...log.keys()].toSorted()).toEqual(['embed', model, other, 'sim:status=429'].toSorted());
    expect(kinds(log.get(model))).toEqual(['begin', 'answer', 'chunks', 'end', 'reader']);
    expect(said(log.get(model))).toBe(text);
    expect(log.get(model)?.[0]).toMatchObject({
      kind: 'begin',
      provider: 'upstream',
      api: 'openai',
      agent: expect.stringMatching(/^OpenAI\/JS/) as string,
      request: { data: expect.stringContaining('What is the weather?') as string },
    });
    expect(JSON.stringify(log.get(model))).not.toContain('Bearer');
    expect(log.get(model)?.at(-1)).toMatchObject({
      kind: 'reader',
      via: 'http',
      reason: 'delivered',
      lost: 0,
    });
    expect(said(log.get(other))).toBe(whole.choices[0]?.message.content);
    const refusal = log.get('sim:status=429') ?? [];
    expect(kinds(refusal)).toEqual(['begin', 'answer', 'chunks', 'end', 'reader']);
    expect(refusal[1]).toMatchObject({
      status: 429,
      headers: { 'content-type': expect.stringContaining('application/json') as string },
    });
    expect(refusal[2]).toMatchObject({
      from: 0,
      to: 1,
      data: expect.stringContaining('"error"') as string,
    });
    expect(refusal[3]).toMatchObject({ state: 'failed', code: 'upstream_invalid', offset: 1 });
    expect(refusal[4]).toMatchObject({ reason: 'delivered', delivered: 1 });
    expect(verifyAudit(path)).toMatchObject({ problems: [] });
  });

  test('what a session got and acknowledged is in the log', async () => {
    const { gateway, path } = await startTapped('gate=true');
    const fetchOverSession = createFetch({ url: gateway.url });
    onTestFinished(() => fetchOverSession.close());
    const model = 'sim:tokens=50,tps=0,ttft=0';
    const answer = await fetchOverSession(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: chatBody(model),
    });
    const text = textOfEvents(await answer.text());
    const records = await eventually(() => {
      const found = recordsByModel(path).get(model);
      return found?.at(-1)?.kind === 'reader' && found;
    }, 'the reader’s end');
    expect(said(records)).toBe(text);
    const end = records.find((record) => record.kind === 'end');
    const { offset } = end ?? { offset: -1 };
    expect(records.at(-1)).toMatchObject({ via: 'session', delivered: offset, acknowledged: offset });
  });

  test('what is to be replaced is found across deltas, in the prompt and in a body', async () => {
    const provider = await startOwnProvider();
    const path = join(folder(), 'audit.db');
    const tap = `name=audit,to=sqlite:${path},gate=true,request=true,redact=email+card`;
    const gateway = await startGateway(['--upstream', `${provider.url}/v1`, '--tap', tap]);
    const asked = fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'm',
        stream: true,
        messages: [{ role: 'user', content: 'I am ada@example.com' }],
      }),
    });
    for (const part of [
      'Write to bob',
      '@exam',
      'ple.org, card 4111 1',
      '111 1111 1111',
      ' and',
      undefined,
    ]) {
      provider.say(part);
      await sleep(20);
    }
    const text = await (await asked).text();
    expect(textOfEvents(text)).toBe('Write to bob@example.org, card 4111 1111 1111 1111 and');
    const records = await eventually(() => {
      const found = recordsByModel(path).get('m');
      return found?.some(({ kind }) => kind === 'end') === true && found;
    }, 'the end');
    expect(said(records)).toBe('Write to [email], card [card] and');
    const whole = JSON.stringify(records);
    expect(whole).toContain('I am [email]');
    for (const secret of ['ada@', 'bob', '4111', '1111']) expect(whole).not.toContain(secret);
  });

  test('a full disk: the stream ends, new ones get 503 at once, and when there is room it goes on by itself', async (context) => {
    const mounted = folder();
    const prefix = smallDisk(context, mounted, '2m', 1024);
    const { gateway } = await startTapped('gate=true,deadlineMs=500', join(mounted, 'audit.db'), { prefix });
    const disk = inside(gateway, mounted);
    const model = 'sim:tokens=100000,tps=2000,ttft=0';
    const running = await postChat(gateway.url, model);
    const text = await running.text();
    expect(text).toContain('tap_unavailable');
    const refused = await postChat(gateway.url, 'sim:tokens=5');
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1']);
    expect(await refused.json()).toMatchObject({ error: { code: 'tap_unavailable' } });
    rmSync(join(disk, 'filler'));
    await eventually(
      async () => (await postChat(gateway.url, 'sim:tokens=5,tps=0,ttft=0')).status === 200,
      'the tap',
    );
    stopProcess(gateway.process.pid);
    // SQLite follows links by their names, which mean other files here.
    const path = join(folder(), 'audit.db');
    for (const end of ['', '-wal']) copyFileSync(join(disk, `audit.db${end}`), `${path}${end}`);
    expect(verifyAudit(path)).toMatchObject({ problems: [] });
    expect(said(recordsByModel(path).get(model)).startsWith(textOfEvents(text))).toBe(true);
  });

  test('a line of JSON a record, and only of the models that are wanted', async () => {
    const path = join(folder(), 'audit.jsonl');
    const gateway = await startGateway(['--tap', `to=file:${path},models=sim:tokens=3*+other,content=text`]);
    for (const model of ['sim:tokens=3,tps=0', 'sim:tokens=4,tps=0'])
      await (await postChat(gateway.url, model)).text();
    const lines = await eventually(() => {
      const found = readFileSync(path, 'utf8').trimEnd().split('\n');
      return found.length >= 5 && found;
    }, 'the records');
    const records = lines.map((line) => parseRecord(Buffer.from(line)));
    expect(kinds(records)).toEqual(expect.arrayContaining(['begin', 'answer', 'chunks', 'end', 'reader']));
    expect(new Set(records.map(({ stream }) => stream)).size).toBe(1);
    const chunks = records.filter((record) => record.kind === 'chunks');
    expect(chunks.some(({ text }) => (text?.['choices.0.content'] ?? '') !== '')).toBe(true);
    expect(chunks.every(({ data }) => data === undefined)).toBe(true);
  });

  test('requests that the gateway refused are in it only where that is asked for', async () => {
    const path = join(folder(), 'audit.jsonl');
    const other = join(folder(), 'other.jsonl');
    const taps = `name=all,to=file:${path},refused=true name=some,to=file:${other}`;
    const gateway = await startGateway(['--tap', taps], {
      env: { SPILLWAY_API_KEYS: 'clinic/web=sk-right' },
    });
    const headers = { 'content-type': 'application/json', authorization: 'Bearer sk-right' };
    await postChat(gateway.url, 'sim:tokens=3', { headers: { authorization: 'Bearer sk-wrong' } });
    const secret = { method: 'POST', headers, body: '{"model": "m", "messages": [secret' };
    await fetch(`${gateway.url}/v1/chat/completions`, secret);
    const records = await eventually(() => {
      const lines = readFileSync(path, 'utf8').trimEnd().split('\n');
      return lines.length === 4 && lines.map((line) => parseRecord(Buffer.from(line)));
    }, 'the records');
    expect(kinds(records)).toEqual(['begin', 'end', 'begin', 'end']);
    expect(records[1]).toMatchObject({ state: 'failed', code: 'invalid_api_key', events: 0 });
    expect(records[2]).toMatchObject({ tenant: 'clinic', caller: 'clinic/web', provider: '' });
    expect(records[3]).toMatchObject({ state: 'failed', code: 'invalid_request' });
    for (const word of ['sk-', 'secret']) expect(JSON.stringify(records)).not.toContain(word);
    expect(readFileSync(other, 'utf8')).toBe('');
  });

  test('standard output has the records alone', async () => {
    const gateway = spawnSpillway(['serve', '--port', '0', '--admin-port', '0', '--tap', 'to=stdout:']);
    const url = await eventually(
      () => /Spillway on (\S+)/.exec(gateway.stderr())?.[1],
      'the banner on stderr',
    );
    await (await postChat(url, 'sim:tokens=3,tps=0')).text();
    gateway.process.kill('SIGTERM');
    await gateway.exited;
    const records = gateway
      .stdout()
      .trimEnd()
      .split('\n')
      .map((line) => parseRecord(Buffer.from(line)));
    expect(kinds(records)).toEqual(expect.arrayContaining(['begin', 'answer', 'chunks', 'end', 'reader']));
  });

  test('what cannot be opened keeps the gateway from starting', async () => {
    const command = spawnSpillway(['serve', '--tap', 'name=audit,to=sqlite:/nowhere/audit.db']);
    expect(await command.exited).toBe(78);
    expect(command.stderr()).toContain('tap audit: expected to open sqlite:/nowhere/audit.db');
  });
});

describe('a tap with a spill', () => {
  /** Starts a gateway whose log is to be in a folder that is not there. */
  async function startAway(): Promise<{
    gateway: RunningGateway;
    place: string;
    path: string;
    keys: string;
  }> {
    const place = join(folder(), 'later');
    const path = join(place, 'audit.db');
    const keys = `gate=true,spill=${join(folder(), 'spill')}`;
    return { ...(await startTapped(keys, path)), place, keys };
  }
  const away = 'what a tap writes to is away: its spill takes the records';

  test('starts without what it writes to, and writes there when that is there', async () => {
    const { gateway, path, place } = await startAway();
    const model = 'sim:tokens=20,tps=0,ttft=0';
    expect(await lineWith(gateway, away, { tap: 'audit' })).toMatchObject({
      reason: expect.stringContaining('audit.db') as string,
    });
    const text = textOfEvents(await (await postChat(gateway.url, model)).text());
    expect(text).not.toBe('');
    expect(gateway.stdout()).toMatch(/Writes down\n {2}audit .*content: \w+, gate, spill: \/\S+\n/);
    expect(await metric(gateway.adminUrl, 'spillway_tap_spill_engine_up')).toBe(0);
    expect(await metric(gateway.adminUrl, 'spillway_tap_spill_records')).toBeGreaterThan(0);
    mkdirSync(place);
    await lineWith(gateway, 'what a tap writes to is back: it gets what is in the spill', { tap: 'audit' });
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_tap_spill_records')) === 0,
      'an empty spill',
    );
    expect(await metric(gateway.adminUrl, 'spillway_tap_spill_engine_up')).toBe(1);
    expect(said(recordsByModel(path).get(model))).toBe(text);
    expect(verifyAudit(path)).toMatchObject({ problems: [] });
    expect(linesOf(gateway, away)).toHaveLength(1);
    gateway.process.kill('SIGTERM');
    expect(await gateway.exited).toBe(0);
  });

  test('stops while what it writes to is away, and the next one writes what was spilled', async () => {
    const { gateway, keys, path, place } = await startAway();
    const model = 'sim:tokens=20,tps=0,ttft=0';
    const text = textOfEvents(await (await postChat(gateway.url, model)).text());
    gateway.process.kill('SIGTERM');
    expect(await gateway.exited).toBe(0);
    mkdirSync(place);
    const next = await startTapped(keys, path);
    await eventually(() => said(recordsByModel(path).get(model)) === text, 'what was spilled');
    expect(linesOf(next.gateway, away)).toEqual([]);
  });

  test.each([
    'sqlite:other.db',
    'sqlite:a-folder',
    'sqlite:a-pipe',
    'sqlite:/dev/null',
    'sqlite:text/audit.db',
    'file:text',
    'file:a-folder',
    'file:/dev/null',
  ])('does not start with something that would never take a record: %s', async (to) => {
    const cwd = folder();
    const other = new DatabaseSync(join(cwd, 'other.db'));
    other.exec('CREATE TABLE notes (text)');
    other.close();
    writeFileSync(join(cwd, 'text'), 'This is no record.\n');
    mkdirSync(join(cwd, 'a-folder'));
    execFileSync('mkfifo', [join(cwd, 'a-pipe')]);
    const command = spawnSpillway(['serve', '--tap', `name=audit,to=${to},spill=spill`], { cwd });
    expect(await command.exited).toBe(78);
    expect(command.stderr()).toContain(`tap audit: expected to open ${to}`);
  });
});

describe('settings of taps that could lose what must not be lost', () => {
  const cases = [
    ['gate=true,content=usage', 'tap.0.content'],
    ['gate=true,overflow=drop-oldest', 'tap.0.overflow'],
    ['lossless=true,overflow=drop-newest', 'tap.0.overflow'],
    ['lossless=true,shed=logprobs', 'tap.0.shed'],
    ['gate=true,to=stdout:', 'tap.0.durability'],
    ['to=stdout:,durability=fsync', 'tap.0.durability'],
    ['shedAboveMs=1000,shedBelowMs=1000', 'tap.0.shedBelowMs'],
    ['retainMs=1000,to=file:a', 'tap.0.to'],
    ['to=http://a', 'tap.0.to'],
    ['to=redis://', 'tap.0.to'],
    ['to=redis://a,passwordEnv=A,passwordFile=b', 'tap.0.passwordFile'],
    ['to=redis://:b@a,passwordEnv=A', 'tap.0.to'],
    ['to=file:a,groups=b', 'tap.0.to'],
    ['to=sqlite:a,durability=replicated', 'tap.0.durability'],
    ['to=stdout:,durability=replicated', 'tap.0.durability'],
    ['models=', 'tap.0.models'],
    ['redact=names', 'tap.0.redact'],
    [
      'name=lines,retainMs=1000,to=file:a',
      'tap.lines.to (--tap): expected sqlite:PATH with retainMs and retainBytes, got file:a',
    ],
    [
      'name=log,maxFiles=3,to=sqlite:a',
      'tap.log.to (--tap): expected file:PATH with maxFileBytes, maxFileAgeMs and maxFiles, got sqlite:a',
    ],
    ['name=log,gate=true,overflow=drop-oldest', 'nothing with gate or lossless: true, got drop-oldest'],
    ['name=log,lossless=true,shed=logprobs', 'because it leaves parts out, got ["logprobs"]'],
    ['name=log,shedAboveMs=1000,shedBelowMs=1000', 'expected less than shedAboveMs (1000), got 1000'],
    ['gates=true', 'tap.0.gates: unknown setting (--tap); did you mean gate?'],
  ] as const;
  for (const [keys, problem] of cases)
    test(`${keys}: ${problem}`, () => {
      const tap = keys.includes('to=') ? keys : `to=sqlite:audit.db,${keys}`;
      expect(() => loadSettings({ flags: { tap }, env: {}, file: undefined })).toThrow(problem);
    });

  test('two taps do not share a name or a place', () => {
    const load = (tap: string) => () => loadSettings({ flags: { tap }, env: {}, file: undefined });
    expect(load('to=file:a to=file:b')).toThrow('expected a different name for each');
    expect(load('name=a,to=file:a name=b,to=file:a')).toThrow('expected a different place (to) for each');
    expect(load('name=a,to=sqlite:q.db name=b,to=sqlite:./x/../q.db')).toThrow(
      'expected a different place (to)',
    );
    expect(load('name=a,to=file:a name=b,to=file:b')).not.toThrow();
  });

  test('the line of the file is named', () => {
    const text = [
      'port: 0',
      'tap:',
      '  - name: audit',
      '    to: sqlite:a.db',
      '    gate: true',
      '    overflow: drop-oldest',
      '    to2: x',
    ];
    const file = { path: 'spillway.yaml', text: text.join('\n') };
    const load = (): unknown => loadSettings({ flags: {}, env: {}, file });
    expect(load).toThrow('tap.audit.to2: unknown setting (spillway.yaml:7); did you mean to?');
    const known = { ...file, text: text.slice(0, -1).join('\n') };
    expect(() => loadSettings({ flags: {}, env: {}, file: known })).toThrow(
      'tap.audit.overflow (spillway.yaml:6): expected coalesce, block or nothing with gate or lossless: true',
    );
  });
});
