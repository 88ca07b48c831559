import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventually, type RunningGateway, startGateway } from './support/processes.ts';
import { metric, payloads, postChat } from './support/requests.ts';
import { chatRequest, openSession } from './support/session.ts';
import { printed, spawnProgram } from './support/spawn.ts';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const serve = ['serve', '--port', '0', '--admin-port', '0'];
const fromSource = [process.execPath, '--conditions=spillway-source', 'packages/gateway/src/main.ts'];

const npx = ['npm', 'exec', '--call', [...fromSource, ...serve].join(' ')];

/** Starts a gateway with a command that starts it for others, such as npm: its process is that command’s. */
async function startWith(command: readonly string[]): Promise<RunningGateway> {
  const started = spawnProgram(command, { cwd: root, isGroup: true, env: { HOME: root } });
  onTestFinished(() => {
    try {
      if (started.process.pid !== undefined) process.kill(-started.process.pid, 'SIGKILL');
    } catch {
      // Nothing of it is left.
    }
  });
  const url = await printed(started, /Spillway on (\S+)/);
  return Object.assign(started, { url, adminUrl: await printed(started, /metrics (\S+)\/metrics/) });
}

/** Whether nobody listens there any more. */
function isFree(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect({ host: hostname, port: Number(port) });
    socket.once('connect', () => resolve(false)).once('error', () => resolve(true));
    socket.once('connect', () => socket.destroy());
  });
}

async function isNotReady({ url }: RunningGateway): Promise<boolean> {
  return (await fetch(`${url}/health/ready`)).status === 503;
}

/** A stream that needs a while, so that a stop has to wait for it. */
const slow = 'sim:tokens=60,tps=60,ttft=0';

describe('who is started by npm', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)('npm start passes %s on and waits', async (signal) => {
    const gateway = await startWith(['npm', 'start', '--', ...serve.slice(1)]);
    const response = await postChat(gateway.url, slow);
    gateway.process.kill(signal);
    await eventually(() => isNotReady(gateway), 'the gateway to hear of it');
    expect(gateway.process.exitCode).toBe(null);
    expect(payloads(await response.text()).at(-1)).toBe('[DONE]');
    expect(await gateway.exited).toBe(0);
    expect(await isFree(gateway.url)).toBe(true);
  });

  test('npx: SIGTERM is heard, although its shell ends without a word', async () => {
    const gateway = await startWith(npx);
    const response = await postChat(gateway.url, slow);
    gateway.process.kill('SIGTERM');
    await eventually(() => isNotReady(gateway), 'the gateway to hear of it');
    expect(payloads(await response.text()).at(-1)).toBe('[DONE]');
    await eventually(() => isFree(gateway.url), 'the port to be free');
  });

  // A terminal’s Ctrl-C reaches npm, the shell and the gateway, and npm passes it on.
  test.each([
    ['npm start', ['npm', 'start', '--', ...serve.slice(1)]],
    ['npx', npx],
  ])('%s: Ctrl-C is one signal, however often it comes', async (_name, command) => {
    const gateway = await startWith(command);
    const response = await postChat(gateway.url, slow);
    process.kill(-(gateway.process.pid ?? 0), 'SIGINT');
    expect(payloads(await response.text()).at(-1)).toBe('[DONE]');
    await eventually(() => isFree(gateway.url), 'the port to be free');
  });
});

test('two signals at once are one request to stop', async () => {
  const gateway = await startGateway();
  const response = await postChat(gateway.url, slow);
  // Two of the same could become one on their way.
  gateway.process.kill('SIGINT');
  gateway.process.kill('SIGTERM');
  expect(payloads(await response.text()).at(-1)).toBe('[DONE]');
  expect(await gateway.exited).toBe(0);
  expect(gateway.stdout()).not.toContain('Stopping now');
});

describe('the first process of a container', () => {
  test('drains when it is told to stop', async (context) => {
    const prefix = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'];
    if (spawnSync(prefix[0] ?? '', [...prefix.slice(1), 'true']).status !== 0) {
      context.skip('needs Linux and root: a process namespace cannot be made');
      return;
    }
    const gateway = await startGateway([], { prefix });
    const { pid } = gateway.process;
    const first = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
    expect(readFileSync(`/proc/${first}/status`, 'utf8')).toMatch(/^NSpid:\s+\d+\s+1$/m);
    const response = await postChat(gateway.url, slow);
    process.kill(first, 'SIGTERM');
    await eventually(() => isNotReady(gateway), 'the gateway to hear of it');
    expect(payloads(await response.text()).at(-1)).toBe('[DONE]');
    expect(await gateway.exited).toBe(0);
  });
});

describe('signals that end nothing', () => {
  test('SIGHUP, SIGUSR1, SIGUSR2 and SIGPIPE: streams go on, and there is no debugger', async () => {
    const gateway = await startGateway();
    const response = await postChat(gateway.url, slow);
    for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGPIPE'] as const) gateway.process.kill(signal);
    expect(payloads(await response.text()).at(-1)).toBe('[DONE]');
    expect((await fetch(`${gateway.url}/health/ready`)).status).toBe(200);
    gateway.process.kill('SIGTERM');
    expect(await gateway.exited).toBe(0);
    expect(gateway.stderr()).not.toMatch(/debugger/i);
  });

  test('but SIGHUP stops a gateway whose terminal was closed', async (context) => {
    if (spawnSync('script', ['-qec', 'true', '/dev/null']).status !== 0) {
      context.skip('needs script (bsdutils), which opens a terminal');
      return;
    }
    const gateway = await startWith(['script', '-qfec', [...fromSource, ...serve].join(' '), '/dev/null']);
    expect(await isFree(gateway.url)).toBe(false);
    // Its end of the terminal is closed, and the kernel tells everybody at the other.
    gateway.process.kill('SIGKILL');
    await eventually(() => isFree(gateway.url), 'the gateway to stop');
  });
});

describe('a stop says what it does', () => {
  /** The lines of the log with these messages, without time and process. */
  function steps({ stderr }: RunningGateway): unknown[] {
    return stderr()
      .split('\n')
      .filter((line) => /"msg":"(?:still )?stopp(?:ed|ing)/.test(line))
      .map((line) => {
        const {
          level: _level,
          pid: _pid,
          hostname: _host,
          time: _time,
          ...rest
        } = JSON.parse(line) as Record<string, unknown>;
        return rest;
      });
  }

  test('when every stream finishes', async () => {
    const gateway = await startGateway();
    const response = await postChat(gateway.url, slow);
    gateway.process.kill('SIGTERM');
    await response.text();
    expect(await gateway.exited).toBe(0);
    expect(steps(gateway)).toEqual([
      { streams: 1, deadlineMs: 30_000, msg: 'stopping' },
      { streams: 1, cut: 0, tookMs: expect.any(Number) as number, msg: 'stopped' },
    ]);
    expect(gateway.stdout()).toMatch(
      /Stopping: 1 stream may finish, within 30 s\. A second signal ends them now\.\nStopped after [\d.]+ s: every stream finished\.\n$/,
    );
  });

  test('how far it is, every 5 s, to the log, the terminal and the console; and what was cut', async () => {
    const gateway = await startGateway(['--shutdown-ms', '6000']);
    const responses = await Promise.all([1, 2].map(() => postChat(gateway.url, 'sim:stall=2,tps=0,ttft=0')));
    const askedMs = Date.now();
    gateway.process.kill('SIGTERM');
    const draining = await eventually(async () => {
      const samples = (await (await fetch(`${gateway.adminUrl}/history`)).json()) as {
        draining: { sinceMs: number; deadlineMs: number } | null;
      }[];
      return samples.at(-1)?.draining ?? undefined;
    }, 'the console to show it');
    expect(draining.sinceMs).toBeGreaterThanOrEqual(askedMs);
    expect(draining.deadlineMs).toBe(draining.sinceMs + 6000);
    for (const response of responses) expect(await response.text()).toContain('shutting_down');
    expect(await gateway.exited).toBe(0);
    const number = expect.any(Number) as number;
    expect(steps(gateway)).toEqual([
      { streams: 2, deadlineMs: 6000, msg: 'stopping' },
      { streams: 2, leftMs: number, msg: 'still stopping' },
      { streams: 2, cause: 'the deadline (shutdownMs)', msg: 'stopping now' },
      { streams: 2, cut: 2, tookMs: number, msg: 'stopped' },
    ]);
    expect(gateway.stdout()).toMatch(/Still stopping: 2 streams, [\d.]+ s left\.\n/);
    expect(gateway.stdout()).toMatch(/Stopped after [\d.]+ s: 2 streams had to be ended\.\n$/);
  });

  test('a second signal is said, and waits for no client that takes nothing', async () => {
    const gateway = await startGateway(['--shutdown-ms', '3600000']);
    const session = await openSession(gateway.url);
    // It acknowledges nothing: the model is soon done, and the answer waits for its reader.
    session.send(chatRequest('sim:ttft=0,tps=0,tokens=500', { stream: 1, windowBytes: 1024 }));
    await eventually(
      async () => (await metric(gateway.adminUrl, 'spillway_streams{state="draining"}')) === 1,
      'the model to be done',
    );
    // Signals within a second are one.
    const again = setInterval(() => gateway.process.kill('SIGTERM'), 50);
    onTestFinished(() => clearInterval(again));
    expect(await gateway.exited).toBe(0);
    expect(gateway.stdout()).toMatch(
      /Stopping: 1 stream may finish, within 3600 s.*\nStopping now: 1 stream ended by a second request to stop\.\nStopped after [\d.]+ s: 1 stream had to be ended\.\n$/,
    );
  });
});
