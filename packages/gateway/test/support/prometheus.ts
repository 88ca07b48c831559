import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished, type TestContext } from 'vitest';
import { stringify } from 'yaml';
import { eventually } from './spawn.ts';

/** What `promtool` says, and whether it is content. */
export interface Verdict {
  readonly isGood: boolean;
  readonly text: string;
}

/** A running Prometheus. */
export interface Prometheus {
  /** Asks its HTTP API, as `query?query=up`; throws what it complains about. */
  readonly ask: <Data>(path: string) => Promise<Data>;
  /** The series that a query has now. */
  readonly query: (expression: string) => Promise<readonly Sample[]>;
}

/** A series' value: when it was so, and a number as text. */
interface Sample {
  readonly value: readonly [number, string];
}

/**
 * Skips a test where Prometheus is not installed (Debian: `prometheus`), but never without a word; with
 * `PROMETHEUS_REQUIRED` it fails instead.
 */
export function needsPrometheus(context: TestContext): void {
  const missing = ['promtool', 'prometheus'].filter(
    (program) => spawnSync(program, ['--version']).error !== undefined,
  );
  if (missing.length === 0) return;
  const reason = `needs ${missing.join(' and ')} (Debian's package prometheus) in the PATH`;
  if (process.env['PROMETHEUS_REQUIRED'] !== undefined) throw new Error(reason);
  context.skip(reason);
}

export function promtool(...args: readonly string[]): Verdict {
  const { status, stderr, stdout } = spawnSync('promtool', args, { encoding: 'utf8' });
  return { isGood: status === 0, text: stdout + stderr };
}

/** A folder that is gone after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-ops-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Starts a Prometheus that scrapes one target every second, as the job `spillway`; it ends with the test. */
export async function startPrometheus(targetUrl: string, ruleFile: string): Promise<Prometheus> {
  const folder = temporaryFolder();
  const config = join(folder, 'prometheus.yaml');
  writeFileSync(
    config,
    stringify({
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: [ruleFile],
      scrape_configs: [{ job_name: 'spillway', static_configs: [{ targets: [new URL(targetUrl).host] }] }],
    }),
  );
  const child: ChildProcess = spawn(
    'prometheus',
    [
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      '--web.listen-address=127.0.0.1:0',
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const exited = once(child, 'exit');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exited;
  });
  let log = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (log += text));
  const address = await eventually(() => {
    if (child.exitCode !== null) throw new Error(`prometheus exited with ${child.exitCode}: ${log}`);
    return /msg="Listening on" address=(\S+)/.exec(log)?.[1];
  }, 'prometheus to listen');
  await eventually(async () => (await fetch(`http://${address}/-/ready`)).ok, 'prometheus to be ready');
  const ask = async <Data>(path: string): Promise<Data> => {
    const response = await fetch(`http://${address}/api/v1/${path}`);
    const answer = (await response.json()) as { readonly data: Data; readonly error?: string };
    if (answer.error !== undefined) throw new Error(`${path}: ${answer.error}`);
    return answer.data;
  };
  return {
    ask,
    query: async (expression) => {
      const path = `query?query=${encodeURIComponent(expression)}`;
      return (await ask<{ readonly result: readonly Sample[] }>(path)).result;
    },
  };
}
