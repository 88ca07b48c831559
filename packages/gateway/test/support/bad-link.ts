import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { killPid } from '../../../core/test/support/kill-pid.ts';
import { eventually } from './spawn.ts';

const maxAttempts = 1000;

/** A machine at the other end of a wire that delays and loses, on this machine. */
export interface BadLink {
  /** Where this machine is, seen from there. */
  readonly address: string;
  /** The command that runs another one there. */
  readonly inside: readonly [string, ...string[]];
  close(): void;
}

/**
 * Joins a network namespace to this machine by `wirefilter` with these arguments: `-d 50` delays each direction by 50 ms,
 * `-l 5` loses 5 % of the packets of each, `-b 6250` passes so many bytes a second. Needs Linux, root, iproute2, and Debian's
 * `vde2` and `vde-wirefilter`. Several at once need different indices, 0 to 3.
 *
 * @throws when it cannot be made.
 */
export async function openBadLink(filter: readonly string[], index = 0): Promise<BadLink> {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-link-'));
  // The name of an interface has at most 15 characters.
  const name = `bad${process.pid}n${index}`;
  const [near, far] = [`${name}a`, `${name}b`];
  // Processes that run at once have their own.
  const subnet = `10.196.${(process.pid * 4 + index) % 256}`;
  const run = (command: string, ...args: readonly string[]): void => {
    execFileSync(command, args, { stdio: 'pipe' });
  };
  const ip = (line: string): void => run('ip', ...line.split(' '));
  const at = (part: string): string => join(folder, part);
  const isThere = (line: string): boolean => spawnSync('ip', line.split(' ')).status === 0;
  const close = (): void => {
    for (const part of ['a', 'b', 'w']) {
      try {
        killPid(readFileSync(at(`${part}.pid`), 'utf8'));
      } catch {
        // It was not started.
      }
    }
    try {
      ip(`netns del ${name}`);
    } catch {
      // It was not made.
    }
    // Switches that end remove what is theirs at the same time.
    for (let attempt = 0; existsSync(folder) && attempt < maxAttempts; attempt += 1)
      rmSync(folder, { recursive: true, force: true });
  };
  try {
    ip(`netns add ${name}`);
    run('vde_switch', '-s', at('a'), '-tap', near, '-daemon', '-p', at('a.pid'));
    const inside = ['netns', 'exec', name, 'vde_switch'];
    run('ip', ...inside, '-s', at('b'), '-tap', far, '-daemon', '-p', at('b.pid'));
    // A switch is a daemon before it is ready.
    await eventually(
      () => isThere(`link show ${near}`) && isThere(`-n ${name} link show ${far}`),
      'the switches',
    );
    ip(`addr add ${subnet}.1/24 dev ${near}`);
    ip(`link set ${near} up`);
    ip(`-n ${name} addr add ${subnet}.2/24 dev ${far}`);
    ip(`-n ${name} link set ${far} up`);
    ip(`-n ${name} link set lo up`);
    run('wirefilter', '-v', `${at('a')}:${at('b')}`, ...filter, '--daemon', '--pidfile', at('w.pid'));
    // The file is there before what it says.
    await eventually(() => existsSync(at('w.pid')) && readFileSync(at('w.pid'), 'utf8') !== '', 'the wire');
  } catch (error) {
    close();
    throw error;
  }
  return { address: `${subnet}.1`, inside: ['ip', 'netns', 'exec', name], close };
}

/** Whether this machine can make such links. */
export async function canMakeBadLinks(): Promise<boolean> {
  if (spawnSync('sh', ['-c', 'command -v wirefilter vde_switch ip']).status !== 0) return false;
  try {
    (await openBadLink([], 2)).close();
    return true;
  } catch {
    return false;
  }
}
