import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { eventually, run, type RunningGateway, startGateway } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { metric, payloads, postChat } from './support/requests.ts';

interface TapRecord {
  readonly stream: string;
  readonly seq: number;
  readonly kind: string;
}

interface Reloadable extends RunningGateway {
  readonly folder: string;
  /** Writes the taps into the configuration and has it loaded. Returns the answer of the admin listener. */
  readonly reload: (tap: unknown[]) => Promise<{ status: number; text: string }>;
  readonly records: (file: string) => TapRecord[];
  /** The files in the folder that the process has open. */
  readonly open: () => string[];
}

async function start(tap: unknown[]): Promise<Reloadable> {
  const folder = temporaryFolder();
  const write = (taps: unknown[]): void =>
    writeFileSync(join(folder, 'spillway.yaml'), stringify({ tap: taps, retainMs: 100 }));
  write(tap);
  const gateway = await startGateway([], { cwd: folder });
  const fds = `/proc/${gateway.process.pid}/fd`;
  return Object.assign(gateway, {
    folder,
    async reload(taps: unknown[]) {
      write(taps);
      const headers = { 'content-type': 'application/json' };
      const answer = await fetch(`${gateway.adminUrl}/reload`, { method: 'POST', headers, body: '{}' });
      return { status: answer.status, text: await answer.text() };
    },
    records: (file: string) =>
      existsSync(join(folder, file))
        ? readFileSync(join(folder, file), 'utf8')
            .split('\n')
            .slice(0, -1)
            .map((line) => JSON.parse(line) as TapRecord)
        : [],
    open: () =>
      readdirSync(fds).flatMap((fd) => {
        try {
          const target = readlinkSync(join(fds, fd));
          return target.startsWith(`${folder}/`) && !target.endsWith('.lock')
            ? [target.slice(folder.length + 1)]
            : [];
        } catch {
          return [];
        }
      }),
  });
}

const quick = 'sim:tokens=3,tps=0,ttft=0';
const slow = 'sim:tokens=40,tps=20,ttft=0';

async function ask(gateway: RunningGateway): Promise<void> {
  await (await postChat(gateway.url, quick)).text();
}

/** The kinds of the records of each stream, in the order in which the streams are there. */
function kindsIn(records: readonly TapRecord[]): string[][] {
  const streams = new Map<string, string[]>();
  for (const { kind, stream } of records) streams.set(stream, [...(streams.get(stream) ?? []), kind]);
  return [...streams.values()];
}

const file = (name: string, more: object = {}): object => ({
  name,
  to: `file:${name}.jsonl`,
  content: 'full',
  ...more,
});

describe('a reload of taps', () => {
  test('one that is new reads streams that begin then, and one that is gone reads its own to the end', async () => {
    const gateway = await start([file('old')]);
    const running = await postChat(gateway.url, slow);
    expect((await gateway.reload([file('new')])).text).toContain(
      '{"part":"taps","added":["new"],"changed":[],"removed":["old"]}',
    );
    await ask(gateway);
    expect(payloads(await running.text())).toContain('[DONE]');
    // Its last stream is over with its history, and only then its file is closed.
    await eventually(() => !gateway.open().includes('old.jsonl'), 'the old file to be closed');
    const old = kindsIn(gateway.records('old.jsonl'));
    expect(old).toHaveLength(1);
    expect(old[0]).toEqual(expect.arrayContaining(['begin', 'answer', 'end', 'reader']));
    await eventually(() => kindsIn(gateway.records('new.jsonl'))[0]?.includes('reader'), 'the new record');
    expect(kindsIn(gateway.records('new.jsonl'))).toHaveLength(1);
    expect(gateway.open()).toContain('new.jsonl');
    await eventually(
      () => gateway.stderr().includes('a tap that a reload took out is closed: its last stream is over'),
      'the line of the log',
    );
    expect(await metric(gateway.adminUrl, 'spillway_tap_up{tap="new"}')).toBe(1);
  });

  test('one that is changed has one writer with the one before it', async () => {
    const gateway = await start([{ name: 'audit', to: 'sqlite:audit.db', content: 'full', gate: true }]);
    const running = await postChat(gateway.url, slow);
    const other = { name: 'audit', to: 'sqlite:./audit.db', content: 'text', gate: true };
    expect((await gateway.reload([other])).text).toContain('"changed":["audit"]');
    await ask(gateway);
    // The gate of a running stream stays: it gets its whole answer, and no more than is kept.
    expect(payloads(await running.text())).toContain('[DONE]');
    await eventually(
      () => gateway.stderr().includes('a tap that a reload took out is closed'),
      'the old tap to be closed',
    );
    await ask(gateway);
    gateway.process.kill('SIGTERM');
    expect(await gateway.exited).toBe(0);
    const verify = run(['audit', 'verify', '--from', 'sqlite:audit.db', '--json'], { cwd: gateway.folder });
    expect(await verify.exited, verify.stdout()).toBe(0);
    const exported = run(['audit', 'export', '--from', 'sqlite:audit.db'], { cwd: gateway.folder });
    await exported.exited;
    const kinds = kindsIn(
      exported
        .stdout()
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as TapRecord),
    );
    expect(kinds).toHaveLength(3);
    for (const each of kinds) expect(each).toEqual(expect.arrayContaining(['begin', 'end', 'reader']));
  });

  test('one that comes back while its file is still written shares the writer', async () => {
    const gateway = await start([file('a')]);
    const running = await postChat(gateway.url, slow);
    expect((await gateway.reload([])).status).toBe(200);
    expect((await gateway.reload([file('a', { content: 'usage' })])).status).toBe(200);
    await ask(gateway);
    expect(gateway.open().filter((name) => name === 'a.jsonl')).toHaveLength(1);
    await running.text();
    await eventually(
      () => gateway.stderr().includes('a tap that a reload took out is closed'),
      'the end of the old one',
    );
    await ask(gateway);
    await eventually(() => kindsIn(gateway.records('a.jsonl')).length === 3, 'three streams');
    const ids = gateway.records('a.jsonl').map(({ seq, stream }) => `${stream} ${seq}`);
    expect(new Set(ids).size).toBe(ids.length);
    expect(gateway.open()).toContain('a.jsonl');
  });

  test('what cannot be opened, or would be a second writer, is refused and changes nothing', async () => {
    const gateway = await start([file('a')]);
    const running = await postChat(gateway.url, slow);
    const cases: [unknown[], string][] = [
      [[file('a', { maxFileBytes: '1MiB' })], 'expected maxFileBytes as of the tap a, because'],
      [[file('b'), { name: 'c', to: 'file:none/c.jsonl' }], 'tap c: expected to open file:none/c.jsonl'],
      [[file('a'), { name: 'out', to: 'stdout:' }], 'it needs a restart'],
      [[{ name: 'a', to: 'nowhere' }], 'expected sqlite:PATH, file:PATH, stdout: or the URL of an engine'],
    ];
    for (const [taps, reason] of cases) {
      expect(await gateway.reload(taps)).toEqual({ status: 422, text: expect.stringContaining(reason) });
      expect(gateway.open()).toEqual(['a.jsonl']);
    }
    await running.text();
    await ask(gateway);
    await eventually(() => kindsIn(gateway.records('a.jsonl')).length === 2, 'both streams');
    expect(await metric(gateway.adminUrl, 'spillway_config_last_reload_successful')).toBe(0);
  });

  test('a stop closes those that a reload took out, too', async () => {
    const gateway = await start([file('a')]);
    const running = await postChat(gateway.url, 'sim:tokens=10000,tps=20,ttft=0');
    await gateway.reload([file('b')]);
    gateway.process.kill('SIGTERM');
    await eventually(() => gateway.stderr().includes('"stopping"'), 'the stop');
    await running.body?.cancel();
    expect(await gateway.exited).toBe(0);
    expect(kindsIn(gateway.records('a.jsonl'))[0]).toEqual(
      expect.arrayContaining(['begin', 'end', 'reader']),
    );
  });
});
