import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { type AuditLog, openAuditLog } from '@spillway/server/audit/audit-log';
import { parseRecord } from '@spillway/server/tap/tap-record';
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest';
import { never, recordOf, streamRecords } from '../../server/test/support/audit.ts';
import { ownMount } from './support/small-disk.ts';
import { spawnSpillway, type SpawnOptions } from './support/spawn.ts';

let path: string;
let log: AuditLog;

beforeEach(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-audit-'));
  path = join(folder, 'audit.db');
  log = await openAuditLog(path);
  onTestFinished(async () => {
    await log.close();
    rmSync(folder, { recursive: true, force: true });
  });
});

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `spillway audit` to its end. */
async function audit(args: readonly string[], options?: SpawnOptions): Promise<Result> {
  const command = spawnSpillway(['audit', ...args], options);
  const code = await command.exited;
  return { code, stdout: command.stdout(), stderr: command.stderr() };
}

const from = (): string[] => ['--from', `sqlite:${path}`];

const reader = {
  v: 1,
  stream: 'a',
  at: 1_790_000_000_100,
  kind: 'reader',
  reader: 1,
  via: 'session',
  address: '10.0.0.7',
  reason: 'left',
  code: 'client_left',
  delivered: 2,
  acknowledged: 1,
  lost: 0,
};

/** Two streams that have ended, with a reader of the first one, and one that is still open. */
async function fill(): Promise<void> {
  const first = streamRecords('a', { caller: 'clinic/web', texts: ['Hel', 'lo,\n', '\u001b[31mworld'] });
  await log.write(
    [
      ...first,
      recordOf('a', first.length, JSON.stringify({ ...reader, seq: first.length })),
      ...streamRecords('b', { caller: 'bob', model: 'anthropic/opus', atMs: 1_790_000_100_000 }),
      ...streamRecords('c', { tenant: 'school', hasEnded: false, atMs: 1_790_000_200_000 }),
    ],
    never,
  );
}

describe('the log', () => {
  test('is that of the only such tap, whatever else is in the configuration', async () => {
    await fill();
    const cwd = dirname(path);
    const config = join(cwd, 'spillway.yaml');
    writeFileSync(
      config,
      `apiKeysFile: /nowhere\ntap: [{ name: a, to: 'sqlite:${path}' }, { name: b, to: 'file:b' }]`,
    );
    const listed = await audit(['list', '--json'], { cwd });
    expect([listed.code, listed.stdout.trimEnd().split('\n').length]).toEqual([0, 3]);
    writeFileSync(config, 'tap: [{ name: a, to: sqlite:a }, { name: b, to: sqlite:b }]');
    const unclear = await audit(['list'], { cwd });
    expect([unclear.code, unclear.stderr]).toEqual([
      2,
      'spillway: --from: expected sqlite:<path>, or one tap to sqlite: in spillway.yaml, got 2 such taps: a, b\n',
    ]);
  });
});

describe('audit list', () => {
  test('has a line for each stream, the newest first, also of one that is still written', async () => {
    await fill();
    const { code, stderr, stdout } = await audit(['list', ...from()]);
    expect([code, stderr]).toEqual([0, '']);
    const rows = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split(/ {2,}| +(?=\d|-)/));
    expect(rows.map((row) => row.at(-1))).toEqual(['stream', 'c', 'b', 'a']);
    expect(rows[1]).toEqual(
      expect.arrayContaining(['2026-09-21T14:16:40Z', 'open', 'ann (school)', 'openai/gpt']),
    );
    expect(rows[3]).toEqual(expect.arrayContaining(['completed', '7', '3', 'clinic/web']));
  });

  test('tokens that nobody has reported are marked as an estimate', async () => {
    await log.write(streamRecords('a', { usageSource: 'estimated', texts: ['one', 'two'] }), never);
    const { stdout } = await audit(['list', ...from()]);
    expect(stdout).toContain('      7      ~2  ann');
    const listed = await audit(['list', ...from(), '--json']);
    expect(JSON.parse(listed.stdout)).toMatchObject({ outputTokens: 2, usageSource: 'estimated' });
  });

  test.each([
    [
      ['--tenant', 'clinic'],
      ['b', 'a'],
    ],
    [['--caller', 'bob'], ['b']],
    [['--caller', 'clinic/web'], ['a']],
    [['--request', 'request-of-c'], ['c']],
    [['--request', 'c'], []],
    [
      ['--model', 'openai/gpt'],
      ['c', 'a'],
    ],
    [['--state', 'open'], ['c']],
    [
      ['--since', '2026-09-21T14:15:00Z'],
      ['c', 'b'],
    ],
    [['--since', '2020-01-01', '--limit', '1'], ['c']],
    [['--since', '1h'], []],
  ])('%j', async (args, names) => {
    await fill();
    const { stdout } = await audit(['list', ...from(), '--json', ...args]);
    const found = stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => (JSON.parse(line) as { name: string }).name);
    expect(found).toEqual(names);
  });
});

describe('audit list without a match', () => {
  test.each<[readonly string[], number, RegExp]>([
    [['--request', 'nope'], 67, /^spillway: no stream of request "nope" in this log that fits: .+\n$/],
    [['--tenant', 'nobody'], 0, /^spillway: no stream in this log that fits\n$/],
    [['--tenant', 'nobody', '--json'], 0, /^spillway: no stream in this log that fits\n$/],
  ])('%j says so', async (args, expected, message) => {
    await fill();
    const { code, stderr, stdout } = await audit(['list', ...from(), ...args]);
    expect([code, stdout]).toEqual([expected, '']);
    expect(stderr).toMatch(message);
  });
});

describe('audit show', () => {
  test('says who asked, what was answered, how it ended and what each reader got', async () => {
    await fill();
    const { code, stdout } = await audit(['show', 'a', ...from()]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^state +completed$/m);
    expect(stdout).toMatch(/^caller +clinic\/web, from 127\.0\.0\.1, test$/m);
    expect(stdout).toMatch(/^model +openai\/gpt, by openai \(openai\)$/m);
    expect(stdout).toMatch(/^tokens +7 in, 3 out \(reported\)$/m);
    // A terminal gets no commands out of an answer.
    expect(stdout).toContain('\nchoices.0.content\nHello,\n\\u{1b}[31mworld\n');
    expect(stdout).toMatch(
      /^reader +1, session from 10\.0\.0\.7: left \(client_left\), delivered to 2, acknowledged to 1$/m,
    );
  });

  test('with --json prints the records as they were written', async () => {
    await fill();
    const { stdout } = await audit(['show', 'b', ...from(), '--json']);
    const written = streamRecords('b', { caller: 'bob', model: 'anthropic/opus', atMs: 1_790_000_100_000 });
    expect(stdout).toBe(written.map(({ value }) => `${Buffer.from(value).toString()}\n`).join(''));
  });

  test('a stream by the id of its request, which is what a client has', async () => {
    await fill();
    const shown = await audit(['show', 'request-of-b', ...from()]);
    expect([shown.code, shown.stdout]).toEqual([0, (await audit(['show', 'b', ...from()])).stdout]);
    expect(shown.stdout).toMatch(/^request +request-of-b$/m);
  });

  test('a stream that is not there', async () => {
    const { code, stderr, stdout } = await audit(['show', 'zz', ...from()]);
    expect([code, stdout]).toEqual([67, '']);
    expect(stderr).toMatch(/^spillway: no stream "zz" in this log.*\n$/);
  });
});

describe('audit verify', () => {
  test('an intact log exits with 0, with its heads; those of the program’s log are found in it', async () => {
    await fill();
    const heads = join(dirname(path), 'gateway.log');
    const { count, hash, writer } = log.head;
    writeFileSync(
      heads,
      `a line\n${JSON.stringify({ level: 30, writer, count, hash, msg: 'head of an audit log' })}\n{"writer":1}\n`,
    );
    await log.write(streamRecords('d'), never);
    const bare = await audit(['verify', ...from()]);
    expect(bare).toMatchObject({ code: 0, stderr: '' });
    expect(bare.stdout).toContain(`${path}: 4 streams, 18 records, 1 chain: complete and unchanged\n`);
    expect(bare.stdout).toContain(`head 1:${log.head.count}:${log.head.hash}\n`);
    expect(bare.stdout).toContain('No head was given');
    const given = await audit([
      'verify',
      ...from(),
      '--heads',
      heads,
      '--head',
      `1:${log.head.count}:${log.head.hash}`,
    ]);
    expect(given.code).toBe(0);
    expect(given.stdout).not.toContain('No head was given');
    const asJson = await audit(['verify', ...from(), '--json']);
    expect(JSON.parse(asJson.stdout)).toMatchObject({ problems: [], records: 18 });
  });

  test('a log that was changed exits with 1, and says where', async () => {
    await fill();
    await log.close();
    const db = new DatabaseSync(path);
    db.exec('DELETE FROM records WHERE n = 4');
    db.close();
    const { code, stdout } = await audit(['verify', ...from()]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^missing: writer 1, record 4: record 4 is not there$/m);
    expect(stdout).toMatch(/1 problem$/m);
  });

  test('an older log than a head exits with 1', async () => {
    await fill();
    const { code, stdout } = await audit(['verify', ...from(), '--head', `1:99:${'a'.repeat(64)}`]);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^head: writer 1, record 99: .* older copy$/m);
  });
});

describe('audit export', () => {
  test('prints each record as a line that the schema reads', async () => {
    await fill();
    const { code, stdout } = await audit(['export', ...from()]);
    const lines = stdout.trimEnd().split('\n');
    expect([code, lines.length]).toEqual([0, 14]);
    expect(lines.map((line) => parseRecord(Buffer.from(line)).stream).join('')).toBe('aaaaaaabbbbccc');
    const one = await audit(['export', ...from(), '--stream', 'b']);
    expect(one.stdout.trimEnd().split('\n')).toHaveLength(4);
    expect((await audit(['export', ...from(), '--stream', 'request-of-b'])).stdout).toBe(one.stdout);
    const late = await audit(['export', ...from(), '--since', '2026-09-21T14:15:00Z']);
    expect(late.stdout.trimEnd().split('\n')).toHaveLength(7);
  });

  test('a reader that stops waits for nobody, and one that has enough ends it quietly', async () => {
    for (let index = 0; index < 20; index += 1)
      await log.write(
        streamRecords(`s${index}`, { texts: Array.from({ length: 50 }, () => 'x'.repeat(5000)) }),
        never,
      );
    const main = fileURLToPath(new URL('../src/main.ts', import.meta.url));
    const args = ['--conditions=spillway-source', main, 'audit', 'export', ...from()];
    const command = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    onTestFinished(() => void command.kill('SIGKILL'));
    let stderr = '';
    command.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    await once(command.stdout, 'readable');
    expect(command.exitCode).toBe(null);
    command.stdout.destroy();
    const [code] = (await once(command, 'exit')) as [number];
    expect([code, stderr]).toEqual([0, '']);
  });
});

describe('audit erase and prune', () => {
  test('erase wants --yes, and then erases; the rest is verified', async () => {
    await fill();
    const unsure = await audit(['erase', ...from(), '--stream', 'a']);
    expect(unsure).toMatchObject({ code: 2, stdout: '' });
    expect(unsure.stderr).toMatch(/^spillway: expected --yes/);
    const { code, stdout } = await audit(['erase', ...from(), '--stream', 'a', '--yes']);
    const [, head = ''] = /^erased 7 records of 1 streams, head (\d+:\d+:[\da-f]{64})\n$/.exec(stdout) ?? [];
    expect([code, head]).toEqual([0, expect.stringMatching(/^2:3:/)]);
    expect((await audit(['show', 'a', ...from()])).stdout).toMatch(
      /^records +7 cannot be read: they were erased$/m,
    );
    expect((await audit(['export', ...from(), '--stream', 'a'])).stdout).toMatch(
      /^\{"v":1,"stream":"a","seq":0,"at":\d+,"kind":"begin","erased":true\}\n/,
    );
    await log.write(streamRecords('d'), never);
    expect((await audit(['verify', ...from(), '--head', head])).stdout).toMatch(
      /complete and unchanged\nerased: 1 stream/,
    );
  });

  test('erase of a person', async () => {
    await fill();
    const { stdout } = await audit(['erase', ...from(), '--tenant', 'clinic', '--caller', 'bob', '--yes']);
    expect(stdout).toMatch(/^erased 4 records of 1 streams/);
    const nobody = await audit(['erase', ...from(), '--tenant', 'clinic', '--caller', 'bob', '--yes']);
    expect(nobody).toMatchObject({ code: 67, stdout: '' });
    expect(nobody.stderr).toMatch(/^spillway: no stream of caller "bob" of tenant "clinic" in this log: /);
    const nowhere = await audit(['erase', ...from(), '--tenant', 'none', '--yes']);
    expect(nowhere).toMatchObject({ code: 67, stdout: '' });
    expect(nowhere.stderr).toMatch(/^spillway: no stream of tenant "none" in this log: /);
    const gone = await audit(['erase', ...from(), '--stream', 'zz', '--yes']);
    expect(gone).toMatchObject({ code: 67, stdout: '' });
    const ofRequest = await audit(['erase', ...from(), '--stream', 'request-of-a', '--yes']);
    expect(ofRequest).toMatchObject({ code: 67, stdout: '' });
    expect(ofRequest.stderr).toContain('Its stream is a: give that to --stream');
  });

  test('prune by age and by size', async () => {
    const nowMs = Date.now();
    await log.write(
      [
        ...streamRecords('old', { atMs: nowMs - 100 * 86_400_000 }),
        ...streamRecords('new', { atMs: nowMs - 80 * 86_400_000 }),
        ...streamRecords('open', { atMs: nowMs, hasEnded: false }),
      ],
      never,
    );
    const young = await audit(['prune', ...from(), '--older-than', '101d']);
    expect(young.stdout).toMatch(/^pruned 0 records\n$/);
    // What the chain began with is younger.
    const sized = await audit(['prune', ...from(), '--max-bytes', '1k']);
    expect(sized.stdout).toMatch(/^pruned 9 records, head /);
    expect(statSync(path).size).toBeLessThan(100_000);
    const { code, stdout } = await audit(['verify', ...from()]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/1 stream, 3 records/);
  });
});

describe('a log that somebody has emptied while it was written', () => {
  test.each([['list'], ['show', 'a'], ['verify'], ['export'], ['erase', '--stream', 'a', '--yes']])(
    'is not opened by %s: its -wal stays',
    async (...args) => {
      await fill();
      truncateSync(path, 0);
      const wal = readFileSync(`${path}-wal`);
      const { code, stderr, stdout } = await audit([...args, ...from()]);
      expect([code, stdout]).toEqual([66, '']);
      expect(stderr).toMatch(/^spillway: \S+ is empty, but \S+-wal has \d+ bytes of it: somebody has cut/);
      expect(readFileSync(`${path}-wal`).equals(wal)).toBe(true);
    },
  );
});

describe('what cannot be done is one line, with a code', () => {
  test.each<[string, readonly string[], number, RegExp]>([
    [
      'no such file',
      ['list', '--from', 'sqlite:none.db'],
      66,
      /^spillway: none\.db: there is no such file\n$/,
    ],
    [
      'no log',
      ['verify', '--from', 'sqlite:text.db'],
      66,
      /^spillway: text\.db: expected an audit log, got a file that is no database\n$/,
    ],
    [
      'an empty file',
      ['verify', '--from', 'sqlite:empty.db'],
      66,
      /^spillway: empty\.db: expected an audit log, got an empty file\n$/,
    ],
    [
      'another database',
      ['list', '--from', 'sqlite:other.db'],
      66,
      /^spillway: other\.db: expected an audit log, got another database\n$/,
    ],
    [
      'another sink',
      ['list', '--from', 'kafka://x'],
      2,
      /^spillway: --from: expected sqlite:<path>, got "kafka:\/\/x"\n$/,
    ],
    ['no source', ['list'], 2, /--from/],
    [
      'a time',
      ['list', '--from', 'sqlite:text.db', '--since', 'soon'],
      2,
      /^spillway: --since: expected a date/,
    ],
    [
      'a number',
      ['list', '--from', 'sqlite:text.db', '--limit', '0'],
      2,
      /^spillway: --limit: expected a number from 1, got "0"\n$/,
    ],
    [
      'a state',
      ['list', '--from', 'sqlite:text.db', '--state', 'done'],
      2,
      /^spillway: --state: expected one of completed, failed, cancelled, open, interrupted, erased, got "done"\n$/,
    ],
    ['a head', ['verify', '--from', 'sqlite:text.db', '--head', '1:2:3'], 2, /^spillway: --head: expected/],
    [
      'a file of heads',
      ['verify', '--from', 'sqlite:text.db', '--heads', 'none.log'],
      66,
      /^spillway: --heads: ENOENT/,
    ],
    [
      'whom to erase',
      ['erase', '--from', 'sqlite:text.db', '--caller', 'ann', '--yes'],
      2,
      /^spillway: expected --stream <id>, or --tenant/,
    ],
    ['what to prune', ['prune', '--from', 'sqlite:text.db'], 2, /^spillway: expected --older-than/],
    [
      'a size',
      ['prune', '--from', 'sqlite:text.db', '--max-bytes', 'much'],
      2,
      /^spillway: --max-bytes: expected a size/,
    ],
    ['prune without a log', ['prune', '--from', 'sqlite:none.db', '--max-bytes', '1g'], 66, /no such file/],
    [
      'erase without a log',
      ['erase', '--from', 'sqlite:text.db', '--tenant', 'a', '--yes'],
      66,
      /no database/,
    ],
  ])('%s', async (_what, args, expected, message) => {
    const cwd = dirname(path);
    writeFileSync(join(cwd, 'text.db'), 'This is no database, whatever its name says.\n'.repeat(100));
    writeFileSync(join(cwd, 'empty.db'), '');
    const other = new DatabaseSync(join(cwd, 'other.db'));
    other.exec('CREATE TABLE mine(x)');
    other.close();
    const before = readFileSync(join(cwd, 'other.db'));
    const { code, stderr, stdout } = await audit(args, { cwd });
    expect([code, stdout]).toEqual([expected, '']);
    expect(stderr).toMatch(message);
    expect(existsSync(join(cwd, 'none.db'))).toBe(false);
    expect(readFileSync(join(cwd, 'other.db')).equals(before)).toBe(true);
  });
});

test('a log on a medium that cannot be written to', async (context) => {
  await fill();
  await log.close();
  const folder = dirname(path);
  const prefix = ownMount(
    context,
    `mount --bind '${folder}' '${folder}' && mount -o remount,ro,bind '${folder}'`,
  );
  const { code, stdout } = await audit(['verify', ...from()], { prefix });
  expect(stdout).toMatch(/3 streams, 14 records/);
  expect(code).toBe(0);
});
