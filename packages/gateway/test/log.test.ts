import { execFileSync, spawnSync } from 'node:child_process';
import { constants, closeSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventually, run, type RunningGateway, startGateway } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { metric, payloads, postChat } from './support/requests.ts';
import { spawnNode } from './support/spawn.ts';

/** A command that runs the program with its log in that file. */
const logTo = (file: string): readonly string[] => ['sh', '-c', `exec "$@" 2>>'${file}'`, 'sh'];

/** A pipe that is full, and that nobody reads. */
function stalledPipe(): string {
  const pipe = join(temporaryFolder(), 'log');
  execFileSync('mkfifo', [pipe]);
  const fd = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
  onTestFinished(() => closeSync(fd));
  try {
    for (;;) writeSync(fd, Buffer.alloc(4096));
  } catch (error) {
    expect((error as NodeJS.ErrnoException).code).toBe('EAGAIN');
  }
  return pipe;
}

/** So many requests, each with a line of so many bytes in the log. */
async function makeLines({ url }: RunningGateway, count: number, bytes: number): Promise<void> {
  for (let sent = 0; sent < count; sent += 20) {
    const requests = Array.from({ length: Math.min(20, count - sent) }, async () => {
      const response = await fetch(`${url}/v1/${'x'.repeat(bytes)}`, { method: 'POST', body: '{}' });
      await response.text();
    });
    await Promise.all(requests);
  }
}

const droppedLines = ({ adminUrl }: RunningGateway): Promise<number> =>
  metric(adminUrl, 'spillway_log_lines_dropped_total');

/** It serves, and ends when it is asked to. */
async function expectAlive(gateway: RunningGateway): Promise<void> {
  expect((await fetch(`${gateway.url}/health/ready`)).status).toBe(200);
  const response = await postChat(gateway.url, 'sim:tokens=10,tps=0,ttft=0');
  expect(payloads(await response.text()).at(-1)).toBe('[DONE]');
  gateway.process.kill('SIGTERM');
  expect(await gateway.exited).toBe(0);
}

describe('a log that takes nothing stops nothing', () => {
  test('a full disk', async () => {
    const gateway = await startGateway([], { prefix: logTo('/dev/full') });
    await makeLines(gateway, 100, 10);
    await eventually(async () => (await droppedLines(gateway)) >= 100, 'lines to be dropped');
    await expectAlive(gateway);
  });

  test('a full disk that has room again: what was dropped is told', async (context) => {
    const folder = temporaryFolder();
    const isRoot = spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', folder]).status === 0;
    if (!isRoot) context.skip('needs a mount namespace');
    const mount = `mount -t tmpfs -o size=64k none '${folder}' && exec "$@" 2>>'${folder}/log'`;
    const gateway = await startGateway([], { prefix: ['unshare', '-m', 'sh', '-c', mount, 'sh'] });
    // As the gateway's own namespace has it.
    const log = join(`/proc/${gateway.process.pid}/root`, folder, 'log');
    await makeLines(gateway, 40, 8000);
    await eventually(async () => (await droppedLines(gateway)) > 0, 'lines to be dropped');
    truncateSync(log);
    await makeLines(gateway, 1, 10);
    const lines = await eventually(() => {
      const text = readFileSync(log, 'utf8');
      return (
        text.endsWith('\n') && text.includes('stream ended') && text.split('\n').filter((line) => line !== '')
      );
    }, 'the log to go on');
    const parsed = lines.map((line) => JSON.parse(line) as { droppedLines?: number });
    expect(parsed[0]?.droppedLines).toBe(await droppedLines(gateway));
    await expectAlive(gateway);
  });

  test('a pipe that nobody reads', async () => {
    const gateway = await startGateway([], { prefix: logTo(stalledPipe()) });
    const streaming = postChat(gateway.url, 'sim:tokens=100,tps=50,ttft=0');
    // Twice what may wait, and what the kernel takes.
    await makeLines(gateway, 300, 8000);
    expect(await droppedLines(gateway)).toBeGreaterThan(100);
    expect(payloads(await (await streaming).text()).at(-1)).toBe('[DONE]');
    await expectAlive(gateway);
  });

  test('a reader that comes back is told what it missed', async () => {
    const gateway = await startGateway();
    gateway.process.stderr?.pause();
    await makeLines(gateway, 400, 8000);
    const dropped = await droppedLines(gateway);
    expect(dropped).toBeGreaterThan(100);
    gateway.process.stderr?.resume();
    await eventually(() => gateway.stderr().includes('droppedLines'), 'the log to go on');
    gateway.process.kill('SIGTERM');
    expect(await gateway.exited).toBe(0);
    await eventually(() => gateway.process.stderr?.readableEnded, 'its end');
    const lines = gateway.stderr().trimEnd().split('\n');
    const parsed = lines.map((line) => JSON.parse(line) as { droppedLines?: number; msg: string });
    expect(parsed.reduce((sum, { droppedLines: told = 0 }) => sum + told, 0)).toBe(dropped);
    expect(parsed.filter(({ msg }) => msg === 'stream ended')).toHaveLength(400 - dropped);
  });

  test('a reader that is gone', async () => {
    const gateway = await startGateway();
    gateway.process.stderr?.destroy();
    await makeLines(gateway, 100, 10);
    await eventually(async () => (await droppedLines(gateway)) >= 100, 'lines to be dropped');
    await expectAlive(gateway);
  });

  test('standard output that is full, or that nobody reads', async () => {
    for (const file of ['/dev/full', stalledPipe()]) {
      const prefix = ['sh', '-c', `exec "$@" >>'${file}'`, 'sh'];
      const gateway = run(['serve', '--port', '0', '--admin-port', '0'], { prefix });
      const url = await eventually(
        () => /listening at (http[^"]+)/.exec(gateway.stderr())?.[1],
        'it to listen',
      );
      const response = await postChat(url, 'sim:tokens=10,tps=0,ttft=0');
      expect(payloads(await response.text()).at(-1)).toBe('[DONE]');
      gateway.process.kill('SIGTERM');
      expect(await gateway.exited).toBe(0);
    }
  });

  test('what Node itself warns of', async () => {
    const warn = `process.on('SIGWINCH', () => {
      for (let count = 0; count < 3000; count += 1) process.emitWarning('x'.repeat(1000));
    });`;
    const nodeArgs = ['--import', `data:text/javascript,${encodeURIComponent(warn)}`];
    const gateway = await startGateway([], { prefix: logTo(stalledPipe()), nodeArgs });
    gateway.process.kill('SIGWINCH');
    await eventually(async () => (await droppedLines(gateway)) > 1000, 'them to be dropped');
    await expectAlive(gateway);
  });
});

test('the exit waits for no thread that is in a write', async () => {
  const program = fileURLToPath(new URL('support/stuck.ts', import.meta.url));
  const command = spawnNode(program, [stalledPipe()]);
  onTestFinished(() => void command.process.kill('SIGKILL'));
  expect(await command.exited).toBe(7);
});
