import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { configSchema } from '../src/config/schema.ts';
import { neededDescriptors } from '../src/memory/descriptors.ts';
import { temporaryFolder } from './support/prometheus.ts';

const unit = readFileSync(fileURLToPath(new URL('../../../ops/spillway.service', import.meta.url)), 'utf8');

function setting(name: string): string {
  const [, value] = new RegExp(`^${name}=(.*)$`, 'm').exec(unit) ?? [];
  if (value === undefined) throw new Error(`ops/spillway.service has no ${name}`);
  return value;
}

describe('the unit of systemd', () => {
  const defaults = configSchema.parse({});

  test('leaves time to drain, and descriptors for all streams', () => {
    // Half a second for the last bytes of readers, 3 s for the last push of metrics.
    expect(Number(setting('TimeoutStopSec')) * 1000).toBeGreaterThan(defaults.shutdownMs + 3500);
    const used = { limit: Number(setting('LimitNOFILE')), used: 30 };
    expect(used.limit).toBeGreaterThan(neededDescriptors(defaults, used));
  });

  test('lets taps write where the documents have their files', () => {
    expect(setting('ProtectSystem')).toBe('strict');
    const written = [`/var/lib/${setting('StateDirectory')}/`, `/var/log/${setting('LogsDirectory')}/`];
    const configuration = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8');
    const files = configuration.match(/(?<=(?:sqlite|file|spill):)\/[^\s,`"]+/g) ?? [];
    expect(files.length).toBeGreaterThan(0);
    for (const path of files)
      expect(
        written.some((folder) => path.startsWith(folder)),
        path,
      ).toBe(true);
  });

  test('reloads by the signal for that', () => {
    expect(setting('ExecReload')).toBe('/bin/kill -HUP $MAINPID');
  });

  test('is one that systemd understands, and lets the gateway do little', (context) => {
    if (spawnSync('systemd-analyze', ['--version']).status !== 0) {
      context.skip('needs systemd-analyze (Debian: systemd)');
      return;
    }
    const path = join(temporaryFolder(), 'spillway.service');
    // The command is not installed here.
    writeFileSync(path, unit.replace('/usr/local/bin/spillway', process.execPath));
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', path], { encoding: 'utf8' });
    // It may say things of other units of this machine.
    expect(stderr.split('\n').filter((line) => line.includes('spillway'))).toEqual([]);
    expect(status).toBe(0);
    // From 0 to 100: "OK" is below 50.
    const offline = ['security', '--offline=true', '--threshold=25', path];
    const security = spawnSync('systemd-analyze', offline, { encoding: 'utf8' });
    expect(security.status, security.stdout).toBe(0);
  });
});
