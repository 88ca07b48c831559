import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test, type TestContext } from 'vitest';
import { replyText } from '../src/simulate/tokens.ts';
import { eventually, type RunningGateway, startGateway, startSimulator } from './support/processes.ts';
import { openSlowNetwork, type SlowNetwork } from './support/slow-network.ts';

/** What a client behind the link printed. */
interface Line {
  readonly atMs: number;
  readonly event?: string;
  readonly characters?: number;
  readonly bytes?: number;
  readonly text?: string;
}

function openNetwork(context: TestContext, bitsPerSecond: number): SlowNetwork {
  try {
    const network = openSlowNetwork(bitsPerSecond);
    onTestFinished(() => network.close());
    return network;
  } catch {
    return context.skip('needs Linux, root and iproute2: a network namespace cannot be made');
  }
}

async function startBehind({ address }: SlowNetwork, args: readonly string[] = []): Promise<RunningGateway> {
  const simulator = await startSimulator();
  return await startGateway(['--host', address, '--upstream', `${simulator.url}/v1`, ...args], {
    env: { SPILLWAY_API_KEYS: 'key' },
  });
}

/** Streams in the namespace, with the client's fetch. */
function stream(
  { inside }: SlowNetwork,
  gateway: RunningGateway,
  model: string,
): { readonly lines: () => Line[]; readonly done: Promise<unknown> } {
  const program = fileURLToPath(new URL('support/session-client.ts', import.meta.url));
  const [command, ...args] = inside;
  const child = spawn(command, [
    ...args,
    process.execPath,
    '--conditions=spillway-source',
    program,
    gateway.url,
    model,
  ]);
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.pipe(process.stderr);
  const lines = (): Line[] =>
    output
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line);
  return { lines, done: once(child, 'exit') };
}

describe('the client’s fetch over a bad link', () => {
  test('of 50 kbit/s: merged, and all of the text', async (context) => {
    const network = openNetwork(context, 50_000);
    const gateway = await startBehind(network);
    const { done, lines } = stream(network, gateway, 'sim:tps=100,ttft=0,tokens=500');
    await done;
    expect(lines().at(-1)?.text).toBe(replyText(500, 0));
    const bytes = lines().reduce((sum, line) => sum + (line.bytes ?? 0), 0);
    expect(bytes).toBeLessThan(500 * 250 * 0.5);
  });

  test('promise 4: that says nothing for 10 s', async (context) => {
    const network = openNetwork(context, 1_000_000);
    const gateway = await startBehind(network, ['--keep-alive-ms', '2000']);
    const { done, lines } = stream(network, gateway, 'sim:tps=50,ttft=0,tokens=700');
    await eventually(() => lines().some(({ characters = 0 }) => characters > 200), 'some text');
    network.cut(true);
    await new Promise((resolve) => setTimeout(resolve, 10_000));
    network.cut(false);
    await done;
    expect(lines().at(-1)?.text).toBe(replyText(700, 0));
  });
});
