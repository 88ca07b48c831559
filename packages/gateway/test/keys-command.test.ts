import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  lstatSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openKeyFile } from '../src/keys/key-file.ts';
import { newKey } from '../src/keys/new-key.ts';
import { run, startGateway } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { postChat } from './support/requests.ts';

const keyFileModule = import.meta.resolve('../src/keys/key-file.ts');
const projectRoot = join(import.meta.dirname, '../../..');

interface Done {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function keys(folder: string, ...args: string[]): Promise<Done> {
  const command = run(['keys', ...args], { cwd: folder });
  const code = await command.exited;
  return { code, stdout: command.stdout(), stderr: command.stderr() };
}

const sha256 = (key: string): string => createHash('sha256').update(key).digest('hex');
const list = async (folder: string): Promise<Record<string, unknown>[]> =>
  JSON.parse((await keys(folder, 'list', '--file', 'keys', '--json')).stdout) as Record<string, unknown>[];

describe('a new key', () => {
  test('has 256 random bits and the sum of what stands before', () => {
    const made = Array.from({ length: 200 }, newKey);
    expect(new Set(made).size).toBe(200);
    const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
    for (const key of made) {
      expect(key).toMatch(/^sk-spillway-[\dA-Za-z]{49}$/);
      const sum = Array.from(key.slice(-6)).reduce((value, digit) => value * 62 + alphabet.indexOf(digit), 0);
      expect(sum).toBe(crc32(key.slice(0, -6)));
    }
    // Each digit of the random part takes many values: it is no counter, and no part of it is constant.
    for (let at = 14; at < 55; at += 1) expect(new Set(made.map((key) => key[at])).size).toBeGreaterThan(20);
  });
});

describe('spillway keys', () => {
  test('create prints a key once, and keeps its hash in a file for its owner alone', async () => {
    const folder = temporaryFolder();
    const made = await keys(
      folder,
      ...'create --tenant clinic --name front --tokens-per-day 200000 --streams 20 --file keys'.split(' '),
      '--requests',
      '10/s burst 20',
      '--expires',
      '2030-12-31',
    );
    expect(made.code, made.stderr).toBe(0);
    const key = made.stdout.trim();
    expect(made.stdout).toMatch(/^sk-spillway-\w{49}\n$/);
    expect(made.stderr).not.toContain(key);
    const text = readFileSync(join(folder, 'keys'), 'utf8');
    expect(text).not.toContain(key);
    expect(text).toMatch(
      new RegExp(
        `^clinic/front sha256:${sha256(key)} requests=10/s\\+burst\\+20 streams=20 tokensPerDay=200000 created=\\S+Z expires=2030-12-31\\n$`,
      ),
    );
    expect(statSync(join(folder, 'keys')).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['keys']);
    const shown = await keys(folder, 'list', '--file', 'keys');
    expect(shown.stdout).toMatch(/^NAME +ID +STATE +CREATED +EXPIRES +LIMITS\n/);
    expect(shown.stdout).toContain(`clinic/front  sha256:${sha256(key).slice(0, 8)}  active`);
    expect(shown.stdout).not.toContain(key);
  });

  test('many at once lose nothing', async () => {
    const folder = temporaryFolder();
    const names = Array.from({ length: 8 }, (_, index) => `n${index}`);
    const made = await Promise.all(
      names.map((name) => keys(folder, 'create', '--tenant', 'clinic', '--name', name, '--file', 'keys')),
    );
    expect(made.map(({ code, stderr }) => (code === 0 ? '' : stderr))).toEqual(names.map(() => ''));
    const text = readFileSync(join(folder, 'keys'), 'utf8');
    for (const { stdout } of made) expect(text).toContain(sha256(stdout.trim()));
    expect(readdirSync(folder)).toEqual(['keys']);
  });

  test('change, expire and revoke touch nothing else in the file', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'keys');
    writeFileSync(
      path,
      `# the desk\n\nclinic/front sha256:${sha256('a')} streams=2 tokensPerDay=1000\n  # end\na=sk-plain,c=sk-other\n`,
    );
    chmodSync(path, 0o640);
    const changed = await keys(
      folder,
      'change',
      'clinic/front',
      '--streams',
      'none',
      '--requests',
      '5/s',
      '--file',
      'keys',
    );
    expect(changed.code, changed.stderr).toBe(0);
    expect(readFileSync(path, 'utf8')).toBe(
      `# the desk\n\nclinic/front sha256:${sha256('a')} requests=5/s tokensPerDay=1000\n  # end\na=sk-plain,c=sk-other\n`,
    );
    expect(statSync(path).mode & 0o777).toBe(0o640);
    expect((await keys(folder, 'expire', 'clinic/front', '--at', '2031-01-31', '--file', 'keys')).code).toBe(
      0,
    );
    const id = `sha256:${sha256('sk-plain').slice(0, 10)}`;
    const revoked = await keys(folder, 'revoke', id, '--file', 'keys');
    expect(revoked.code, revoked.stderr).toBe(0);
    const text = readFileSync(path, 'utf8');
    expect(text).toMatch(
      new RegExp(
        `^# the desk\\n\\nclinic/front sha256:\\S+ requests=5/s tokensPerDay=1000 expires=2031-01-31\\n  # end\\nc=sk-other\\na sha256:${sha256('sk-plain')} revoked=\\S+Z\\n$`,
      ),
    );
    expect((await list(folder)).map(({ name, state }) => [name, state])).toEqual([
      ['clinic/front', 'active'],
      ['c', 'active'],
      ['a', 'revoked'],
    ]);
  });

  test('what is wrong is said, and changes nothing', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'keys');
    const text = `clinic/front sha256:${sha256('a')} streams=2\n`;
    writeFileSync(path, text);
    const cases: [string[], number, string][] = [
      [['create', '--tenant', 'Clinic'], 2, '--tenant: expected lower-case letters'],
      [
        ['create', '--tenant', 'a', '--streams', '0'],
        2,
        '--streams: expected a whole number from 1 to 1000000, got "0"',
      ],
      [['create', '--tenant', 'a', '--requests', '5'], 2, '--requests: expected requests in a time, as 10/s'],
      [['create', '--tenant', 'a', '--expires', 'soon'], 2, '--expires: expected a day such as 2026-12-31'],
      [
        ['create', '--tenant', 'a', '--expires', '2020-01-01'],
        2,
        '--expires: expected a time to come, got "2020-01-01"',
      ],
      [
        ['create', '--tenant', 'clinic', '--name', 'front', '--streams', '3'],
        78,
        '"spillway keys change clinic/front" changes them',
      ],
      [['change', 'clinic/front'], 2, 'expected what to change'],
      [['revoke', 'clinic/other'], 67, 'there is no key clinic/other that is not revoked'],
      [['revoke', 'sk-spillway-secret?'], 2, 'expected the name of a key'],
      [['list', '--file', 'none/keys'], 0, ''],
      [['create', '--tenant', 'a', '--file', 'none/keys'], 78, 'none/keys.lock: expected its folder'],
    ];
    for (const [args, code, message] of cases) {
      const done = await keys(folder, ...args, ...(args.includes('--file') ? [] : ['--file', 'keys']));
      expect([args[0], done.code, done.stderr]).toEqual([args[0], code, expect.stringContaining(message)]);
      expect(done.stderr).not.toContain('secret');
    }
    expect(readFileSync(path, 'utf8')).toBe(text);
    writeFileSync(path, `${text}clinic sha256:short\n`);
    const broken = await keys(folder, 'revoke', 'clinic/front', '--file', 'keys');
    expect([broken.code, broken.stderr]).toEqual([
      78,
      expect.stringContaining('keys, line 2: expected KEY, NAME=KEY'),
    ]);
    expect((await keys(folder, 'list')).stderr).toContain(
      '--file: expected the file of keys, or apiKeysFile',
    );
  });

  test('limits under which no request starts are kept, and said', async () => {
    const folder = temporaryFolder();
    const says = async (...args: string[]): Promise<string> =>
      (await keys(folder, ...args, '--file', 'keys')).stderr;
    const starved = 'No request of a will start: 100 tokens are less than minAnswerTokens';
    expect(await says('create', '--tenant', 'a', '--tokens-per-day', '100')).toContain(`${starved} (256)`);
    expect(await says('change', 'a', '--tokens-per-day', '300')).not.toContain('will start');
    writeFileSync(join(folder, 'spillway.yaml'), 'minAnswerTokens: 400\n');
    expect(await says('change', 'a', '--tokens-per-minute', '100')).toContain(`${starved} (400)`);
  });

  test('the file is that of the configuration, and a link to it stays one', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'spillway.yaml'), 'apiKeysFile: link\nhost: wrong host\n');
    writeFileSync(join(folder, 'real'), '# keys\n');
    symlinkSync('real', join(folder, 'link'));
    expect((await keys(folder, 'create', '--tenant', 'a')).code).toBe(0);
    expect(readFileSync(join(folder, 'real'), 'utf8')).toMatch(/^# keys\na sha256:/);
    expect(lstatSync(join(folder, 'link')).isSymbolicLink()).toBe(true);
  });

  test('a file that the gateway would refuse is neither listed nor changed', async () => {
    const path = join(temporaryFolder(), 'keys');
    const line = `a sha256:${sha256('a')} streams=2\n`;
    writeFileSync(path, `${line}b sha256:short\n`);
    await expect(openKeyFile(path).list()).rejects.toThrow('keys, line 2: expected KEY');
    writeFileSync(path, line);
    const store = openKeyFile(path);
    const [known] = await store.list();
    const other = { ...known, name: 'a', digest: Buffer.alloc(32), limits: { streams: 3 } };
    await expect(store.update(() => [other])).rejects.toThrow('keys, line 2: expected the limits of');
    expect([readFileSync(path, 'utf8'), readdirSync(join(path, '..'))]).toEqual([line, ['keys']]);
  });

  test('a command waits for one that changes the file, and takes over from one that was killed', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'keys');
    const holder = await lockInProcess(path);
    const refused = await keys(folder, 'create', '--tenant', 'a', '--file', 'keys');
    expect([refused.code, refused.stderr]).toEqual([
      78,
      expect.stringContaining(
        `${path}.lock: expected that no other command changes the keys, got one that has not ended in 5 s`,
      ),
    ]);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    expect(existsSync(`${path}.lock`)).toBe(true);
    const done = await keys(folder, 'create', '--tenant', 'a', '--file', 'keys');
    expect(done.code, done.stderr).toBe(0);
    expect(readdirSync(folder)).toEqual(['keys']);
  });

  test('a file that is no lock is named, and stays', async () => {
    const folder = temporaryFolder();
    const lock = join(folder, 'keys.lock');
    writeFileSync(lock, 'words of somebody else that are no lock at all');
    const done = await keys(folder, 'create', '--tenant', 'a', '--file', 'keys');
    expect([done.code, done.stderr]).toEqual([
      78,
      expect.stringContaining(`${lock}: expected an empty file that can be locked`),
    ]);
    expect(readdirSync(folder)).toEqual(['keys.lock']);
  });
});

/** A process that changes the file of keys, and does not end. */
async function lockInProcess(path: string): Promise<ChildProcess> {
  const program = `
    import { openKeyFile } from ${JSON.stringify(keyFileModule)};
    await openKeyFile(${JSON.stringify(path)}).update(() => {
      process.stdout.write('locked');
      for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
    });`;
  const args = ['--conditions=spillway-source', '--input-type=module', '--eval', program];
  const holder = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], cwd: projectRoot });
  onTestFinished(() => void holder.kill('SIGKILL'));
  await once(holder.stdout, 'data');
  return holder;
}

describe('a gateway', () => {
  test('refuses keys that are expired or revoked, and says so to who has them', async () => {
    const folder = temporaryFolder();
    const line = (name: string, key: string, words: string): string =>
      `${name} sha256:${sha256(key)} ${words}\n`;
    writeFileSync(
      join(folder, 'keys'),
      line('a/good', 'good', 'expires=2999-12-31') +
        line('a/old', 'old', 'expires=2026-01-31') +
        line('a/gone', 'gone', 'revoked=2026-02-01T10:20:30Z'),
    );
    const gateway = await startGateway(['--api-keys-file', join(folder, 'keys')]);
    const ask = async (...bearer: string[]): Promise<[number, string]> => {
      const [key = '', other] = bearer;
      const headers = { authorization: `Bearer ${key}`, ...(other && { 'x-api-key': other }) };
      const answer = await postChat(gateway.url, 'sim:tokens=1,tps=0', { headers });
      return [answer.status, await answer.text()];
    };
    expect((await ask('good'))[0]).toBe(200);
    expect((await ask('old', 'good'))[0]).toBe(200);
    expect(await ask('old')).toEqual([
      401,
      expect.stringContaining('This API key expired at the end of 2026-01-31 (UTC)'),
    ]);
    expect(await ask('gone')).toEqual([
      401,
      expect.stringContaining('This API key was revoked on 2026-02-01 at 10:20 (UTC)'),
    ]);
    expect(await ask('bad')).toEqual([
      401,
      expect.stringContaining("Expected one of this gateway's API keys"),
    ]);
  });

  test('with nothing but ended keys still needs one', async () => {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'keys'), `a sha256:${sha256('a')} revoked=2026-01-01\n`);
    const gateway = await startGateway(['--api-keys-file', join(folder, 'keys')]);
    expect((await postChat(gateway.url, 'sim:tokens=1,tps=0')).status).toBe(401);
  });
});
