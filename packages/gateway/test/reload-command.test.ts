import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { run, type RunningGateway, startGateway } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { postChat } from './support/requests.ts';

interface Done {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function spillway(
  args: string[],
  { adminUrl }: Pick<RunningGateway, 'adminUrl'>,
  options: { cwd?: string; env?: Record<string, string> } = {},
): Promise<Done> {
  const command = run([...args, '--url', adminUrl], options);
  const code = await command.exited;
  return { code, stdout: command.stdout(), stderr: command.stderr() };
}

/** What is said of entries that no key belongs to. */
const unused = (names: string): string =>
  `Limits of tenants are not used (${names}): without keys of clients all of them are one, which the limits of * are for.`;

describe('spillway reload', () => {
  test('loads, says what changed and what waits for a restart, and refuses with the reason', async () => {
    const cwd = temporaryFolder();
    const path = join(cwd, 'spillway.yaml');
    writeFileSync(path, 'tenant: name=a,streams=1 name=b,streams=1\n');
    const gateway = await startGateway([], { cwd });
    expect(await spillway(['reload'], gateway)).toEqual({
      code: 0,
      stdout: `The configuration was loaded; nothing in it has changed.\nNote: ${unused('a, b')}\n`,
      stderr: '',
    });
    writeFileSync(
      path,
      'tenant: name=a,streams=2 name=c,streams=1\nlogLevel: warn\nwindowBytes: 32KiB\nlimitStore: file:limits.json\n',
    );
    expect(await spillway(['reload'], gateway)).toEqual({
      code: 0,
      stdout:
        'The configuration was loaded, and changed:\n' +
        '  limits: added tenant c; changed tenant a; removed tenant b\n' +
        '  logLevel: added warn; removed info\n' +
        `In force only after a restart: limitStore, windowBytes\nNote: ${unused('a, c')}\n`,
      stderr: '',
    });
    const lines = gateway.stderr();
    expect(lines).toContain(`"code":"limit_unused","msg":"${unused('a, b')}"`);
    expect(lines).toContain(`"code":"limit_unused","msg":"${unused('a, c')}"`);
    writeFileSync(path, 'tenant: name=a,streams=none\n');
    const refused = await spillway(['reload'], gateway);
    expect([refused.code, refused.stdout]).toEqual([78, '']);
    expect(refused.stderr).toContain('the configuration was not loaded, and the old one stays');
    expect(refused.stderr).toContain('tenant.a.streams (spillway.yaml:1): expected a whole number');
  });

  test('needs an admin key where there are some, and a gateway', async () => {
    const gateway = await startGateway([], { env: { SPILLWAY_ADMIN_KEYS: 'ops=sk-admin' } });
    const without = await spillway(['reload'], gateway);
    expect([without.code, without.stderr]).toEqual([
      1,
      expect.stringContaining('an admin key goes into SPILLWAY_ADMIN_KEY'),
    ]);
    expect((await spillway(['reload'], gateway, { env: { SPILLWAY_ADMIN_KEY: 'sk-admin' } })).code).toBe(0);
    const own = await spillway(['reload', '--key-env', 'MINE'], gateway, { env: { MINE: 'sk-admin' } });
    expect(own.code).toBe(0);
    expect(gateway.stderr()).toMatch(/"action":"reload".*"caller":"ops"/);
    expect(gateway.stderr()).not.toContain('sk-admin');
    const nobody = await spillway(['reload'], { adminUrl: 'http://127.0.0.1:1' });
    expect([nobody.code, nobody.stderr]).toEqual([
      1,
      expect.stringMatching(/expected the admin listener .*, got (ECONNREFUSED|TypeError)/),
    ]);
  });

  test('no page of another origin may ask for it', async () => {
    const { adminUrl } = await startGateway();
    const headers = { 'content-type': 'application/json', origin: 'https://evil.example' };
    const answer = await fetch(`${adminUrl}/reload`, { method: 'POST', headers, body: '{}' });
    expect(answer.status).toBe(403);
    expect((await fetch(`${adminUrl}/reload`, { method: 'POST', body: '{}' })).status).toBe(400);
  });

  test('limits of keys and tenants are in force at once, also the first ones', async () => {
    const cwd = temporaryFolder();
    const path = join(cwd, 'spillway.yaml');
    writeFileSync(path, 'apiKeysFile: keys\n');
    const first = run(['keys', 'create', '--tenant', 'a'], { cwd });
    expect(await first.exited).toBe(0);
    const headers = { authorization: `Bearer ${first.stdout().trim()}` };
    const gateway = await startGateway([], { cwd });
    const ask = async (): Promise<[number, string]> => {
      const answer = await postChat(gateway.url, 'sim:tokens=1,tps=0', { headers });
      return [answer.status, await answer.text()];
    };
    const change = async (...args: string[]): Promise<void> => {
      const changed = await spillway(['keys', 'change', 'a', ...args, '--reload'], gateway, { cwd });
      expect(changed.code, changed.stderr).toBe(0);
    };
    for (let asked = 0; asked < 3; asked += 1) expect((await ask())[0]).toBe(200);
    await change('--requests', '2/h');
    expect((await ask())[0]).toBe(200);
    expect((await ask())[0]).toBe(200);
    expect(await ask()).toEqual([429, expect.stringContaining('requests')]);
    await change('--requests', 'none');
    expect((await ask())[0]).toBe(200);
    writeFileSync(path, 'apiKeysFile: keys\ntenant: name=a,models=other\n');
    expect((await spillway(['reload'], gateway)).code).toBe(0);
    expect((await ask())[0]).toBe(403);
  });

  test('a key that is made is accepted at once, and one that is revoked is not', async () => {
    const cwd = temporaryFolder();
    writeFileSync(join(cwd, 'spillway.yaml'), 'apiKeysFile: keys\n');
    const first = run(['keys', 'create', '--tenant', 'a'], { cwd });
    expect(await first.exited).toBe(0);
    const gateway = await startGateway([], { cwd });
    const made = await spillway(['keys', 'create', '--tenant', 'b', '--streams', '2', '--reload'], gateway, {
      cwd,
    });
    expect(made.code, made.stderr).toBe(0);
    expect(made.stdout).toMatch(/^sk-spillway-\w+\n$/);
    expect(made.stderr).toContain(
      'The configuration was loaded, and changed:\n  apiKeys: added b\n  limits: added key b',
    );
    const key = made.stdout.trim();
    const ask = async (): Promise<number> => {
      const answer = await postChat(gateway.url, 'sim:tokens=1,tps=0', {
        headers: { authorization: `Bearer ${key}` },
      });
      await answer.text();
      return answer.status;
    };
    expect(await ask()).toBe(200);
    expect(readFileSync(join(cwd, 'keys'), 'utf8')).toContain('streams=2');
    expect((await spillway(['keys', 'revoke', 'b', '--reload'], gateway, { cwd })).code).toBe(0);
    expect(await ask()).toBe(401);
  });
});
