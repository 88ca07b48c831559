import { readdirSync, readFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { Agent, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { describe, expect, onTestFinished, test, type TestContext } from 'vitest';
import { eventually, type RunningGateway, startGateway, startSimulator } from './support/processes.ts';
import type { RunningSimulator } from './support/simulators.ts';
import { chatBody, metric, payloads, postChat } from './support/requests.ts';

/** A command that runs the program with so many descriptors. */
const limited = (descriptors: number): readonly string[] => [
  'sh',
  '-c',
  `ulimit -n ${descriptors}; exec "$@"`,
  'sh',
];

/** How many a process has open. */
const openIn = ({ process: { pid } }: RunningGateway): number => readdirSync(`/proc/${pid}/fd`).length;

interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  readonly text: string;
}

/** A client that has its connection already. */
function keptClient(url: string): (path: string, body?: string) => Promise<Answer> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  return (path, body) =>
    new Promise((resolve, reject) => {
      const method = body === undefined ? 'GET' : 'POST';
      const headers = { 'content-type': 'application/json' };
      const asked = request(`${url}${path}`, { agent, method, headers }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        const { headers: answered, statusCode: status = 0 } = response;
        response.on('end', () => resolve({ status, retryAfter: answered['retry-after'], text }));
      });
      asked.on('error', reject);
      asked.end(body);
    });
}

async function attack({ url }: RunningGateway, count: number): Promise<Socket[]> {
  const { hostname, port } = new URL(url);
  const sockets = Array.from({ length: count }, () => {
    const socket = connect({ host: hostname, port: Number(port) });
    socket.on('error', () => undefined);
    onTestFinished(() => void socket.destroy());
    return socket;
  });
  await Promise.all(
    sockets.map((socket) => new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))),
  );
  return sockets;
}

describe('connections that take all descriptors', () => {
  test('streams that run go on, the console too, and all recovers when they leave', async () => {
    const simulator = await startSimulator();
    const gateway = await startGateway(['--upstream', `${simulator.url}/v1`], { prefix: limited(96) });
    await eventually(() => gateway.stderr().includes('ulimit -Hn'), 'the warning');
    const [, streams = '', connections = ''] =
      /at most (\d+) streams and (\d+) connections/.exec(gateway.stderr()) ?? [];
    const before = openIn(gateway);
    const streaming = await postChat(gateway.url, 'sim:tokens=150,tps=50,ttft=0');
    const sockets = await attack(gateway, 300);
    await eventually(() => openIn(gateway) >= before + Number(connections), 'the descriptors to be taken');
    const history = async (): Promise<number> =>
      ((await (await fetch(`${gateway.adminUrl}/history`)).json()) as unknown[]).length;
    const samples = await history();
    await eventually(async () => (await history()) > samples, 'the console to go on');
    expect(await metric(gateway.adminUrl, 'process_memory_usage_bytes')).toBeGreaterThan(0);
    expect(payloads(await streaming.text()).at(-1)).toBe('[DONE]');
    for (const socket of sockets) socket.destroy();
    await eventually(async () => {
      const response = await fetch(`${gateway.url}/health/ready`).catch(() => undefined);
      return response?.status === 200;
    }, 'clients to be served again');
    // As many at once as it said.
    const answers = await Promise.all(
      Array.from({ length: Number(streams) }, async () => {
        const response = await postChat(gateway.url, 'sim:tokens=20,tps=50,ttft=0');
        return payloads(await response.text()).at(-1);
      }),
    );
    expect(answers).toEqual(answers.map(() => '[DONE]'));
    expect(await metric(gateway.adminUrl, 'spillway_defects_total')).toBe(0);
    // But for those that the test's own client keeps.
    const kept = Number(streams) + 5;
    await eventually(() => openIn(gateway) <= before + kept, 'descriptors to be given back');
    expect(Number(connections)).toBeGreaterThan(kept);
  });

  test('kept connections to providers make room for others', async () => {
    const simulators = await Promise.all([startSimulator(), startSimulator()]);
    const upstreams = simulators.map(({ url }, index) => `name=p${index},url=${url}/v1`).join(' ');
    const gateway = await startGateway(['--upstream', upstreams, '--max-streams', '3']);
    for (const provider of ['p0', 'p1']) {
      // Three that were used at once are kept for a while, and looked at before that is over.
      const answers = Array.from({ length: 3 }, () =>
        postChat(gateway.url, `${provider}/sim:tokens=5,tps=50,ttft=0`),
      );
      for (const answer of answers) expect(payloads(await (await answer).text()).at(-1)).toBe('[DONE]');
    }
    // One for each place.
    expect(upstreamConnections(gateway, simulators)).toBeLessThanOrEqual(3);
  });
});

/** Connections that a process has to servers, as Linux lists them. */
function upstreamConnections(
  { process: { pid } }: RunningGateway,
  servers: readonly RunningSimulator[],
): number {
  // It lists those of everybody.
  const stdout = readFileSync(`/proc/${pid}/net/tcp`, 'utf8');
  const ports = servers.map(({ url }) =>
    Number(new URL(url).port).toString(16).toUpperCase().padStart(4, '0'),
  );
  // 01: established.
  return stdout.split('\n').filter((line) => ports.some((port) => line.includes(`0100007F:${port} 01 `)))
    .length;
}

/** Lets a process that runs have so many descriptors from now on. */
function limit({ process: { pid } }: RunningGateway, descriptors: number | undefined): void {
  const bound = descriptors === undefined ? '20000' : `${descriptors}:20000`;
  const { status, stderr } = spawnSync('prlimit', ['--pid', String(pid), `--nofile=${bound}`], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(stderr);
}

function needsPrlimit(context: TestContext): void {
  if (spawnSync('prlimit', ['--version']).error !== undefined) context.skip('needs prlimit (util-linux)');
}

describe('without a single descriptor left', () => {
  test.for(['127.0.0.1', 'localhost'])(
    'a provider at %s: overloaded, and nothing ends',
    async (host, context) => {
      needsPrlimit(context);
      const simulator = await startSimulator();
      const port = new URL(simulator.url).port;
      const gateway = await startGateway(['--upstream', `http://${host}:${port}/v1`]);
      const ask = keptClient(gateway.url);
      const askAdmin = keptClient(gateway.adminUrl);
      expect((await ask('/health/ready')).status).toBe(200);
      expect((await askAdmin('/metrics')).status).toBe(200);
      const running = await postChat(gateway.url, 'sim:tokens=150,tps=50,ttft=0');
      limit(gateway, 3);
      const body = chatBody('sim:tokens=10,tps=0,ttft=0');
      const refused = await ask('/v1/chat/completions', body);
      expect(refused).toMatchObject({ status: 503, retryAfter: '1' });
      expect(JSON.parse(refused.text)).toMatchObject({ error: { code: 'overloaded' } });
      const { text } = await askAdmin('/history');
      await eventually(
        async () => (await askAdmin('/history')).text.length > text.length,
        'the console to go on',
      );
      const rss = /^process_memory_usage_bytes (\d+)/m.exec((await askAdmin('/metrics')).text)?.[1];
      expect(Number(rss)).toBeGreaterThan(0);
      expect((await ask('/health/ready')).status).toBe(200);
      expect(payloads(await running.text()).at(-1)).toBe('[DONE]');
      const about = await askAdmin('/about');
      expect(about.status).toBe(200);
      limit(gateway, undefined);
      expect((await ask('/v1/chat/completions', body)).text).toContain('[DONE]');
      expect(await metric(gateway.adminUrl, 'spillway_defects_total')).toBe(0);
      expect(gateway.process.exitCode).toBe(null);
    },
  );

  test('metrics that nobody has asked for before are there', async (context) => {
    needsPrlimit(context);
    const gateway = await startGateway();
    const askAdmin = keptClient(gateway.adminUrl);
    const loaded = async (): Promise<boolean> => {
      const { text } = await askAdmin('/history');
      return (JSON.parse(text) as unknown[]).length > 0;
    };
    await eventually(loaded, 'a second to have passed since the start');
    limit(gateway, 3);
    const { status, text } = await askAdmin('/metrics');
    expect(status).toBe(200);
    expect(text).toMatch(/^process_memory_usage_bytes [1-9]/m);
    expect(text).toMatch(/^spillway_defects_total 0$/m);
  });
});
