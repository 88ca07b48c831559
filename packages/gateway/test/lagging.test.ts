import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';
import { tokenText } from '../src/simulate/tokens.ts';
import { eventually, startBoth, startGateway, startSimulator } from './support/processes.ts';
import { metric, openai, payloads, postChat, rawChat, simulatorStats } from './support/requests.ts';
import { openSlowNetwork, type SlowNetwork } from './support/slow-network.ts';

const textOf = (tokens: number): string =>
  Array.from({ length: tokens }, (_, index) => tokenText(index, 0)).join('');

describe('promise 9: a reader that lags gets fewer, larger deltas and the same text', () => {
  test('one that does not read for a while', async () => {
    const { gateway, simulator } = await startBoth(['--log-level', 'silent']);
    const tokens = 60_000;
    const { closed, received, socket } = await rawChat(gateway.url, `sim:tps=0,ttft=0,tokens=${tokens}`, {
      reads: false,
    });
    // 15 MB as the model writes it: more than the kernels between take.
    await eventually(async () => {
      const waitingBytes = await metric(gateway.adminUrl, 'spillway_waiting_bytes');
      return waitingBytes > 20_000 || (await simulatorStats(simulator.url)).at(-1)?.tokens === tokens;
    }, 'chunks to wait for it, or the model to be done');
    socket.resume();
    await eventually(() => received().includes('[DONE]'), 'everything to arrive');
    socket.end();
    await closed();
    const body = Buffer.from(received(), 'latin1').toString('utf8');
    const events = payloads(body).slice(0, -1);
    const text = events.map((event) => contentOf(event)).join('');
    expect(text).toBe(textOf(tokens));
    expect(events.length).toBeLessThan(tokens);
    expect((await simulatorStats(simulator.url)).at(-1)?.tokens).toBe(tokens);
  });

  test('one with the official SDK, at its own pace', async () => {
    const { gateway } = await startBoth(['--log-level', 'silent']);
    const tokens = 30_000;
    const stream = await openai(gateway.url).chat.completions.create({
      model: `sim:tps=0,ttft=0,tokens=${tokens}`,
      messages: [{ role: 'user', content: 'Hello' }],
      stream: true,
    });
    let text = '';
    let chunks = 0;
    for await (const chunk of stream) {
      if (chunks % 500 === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      text += chunk.choices[0]?.delta.content ?? '';
      chunks += 1;
    }
    expect(text).toBe(textOf(tokens));
  });

  test('one that keeps up gets the bytes of the provider', async () => {
    const simulator = await startSimulator();
    const gateway = await startGateway(['--upstream', `${simulator.url}/v1`]);
    const model = 'sim:tps=200,ttft=0,tokens=100';
    const read = async (url: string): Promise<string> =>
      (await (await postChat(url, model)).text()).replaceAll(
        /"id":"[^"]*","object":"[^"]*","created":\d+/g,
        '',
      );
    expect(await read(gateway.url)).toBe(await read(simulator.url));
  });
});

function contentOf(event: string): string {
  const { choices } = JSON.parse(event) as { choices: { delta: { content?: string } }[] };
  return choices[0]?.delta.content ?? '';
}

test('a reader behind a link that is slower than the model gets merged events, and all of the text', async (context) => {
  let network: SlowNetwork;
  try {
    network = openSlowNetwork(50_000);
  } catch {
    context.skip('needs Linux, root and iproute2: a network namespace cannot be made');
    return;
  }
  onTestFinished(() => network.close());
  const simulator = await startSimulator();
  const gateway = await startGateway(
    ['--host', network.address, '--log-level', 'silent', '--upstream', `${simulator.url}/v1`],
    { env: { SPILLWAY_API_KEYS: 'key' } },
  );
  // 27 kB a second for a link of 6.
  const tokens = 600;
  const client = fileURLToPath(new URL('support/slow-client.ts', import.meta.url));
  const model = `sim:tps=100,ttft=0,tokens=${tokens}`;
  const [command, ...args] = [...network.inside, process.execPath, client, gateway.url, model];
  const { stdout } = await promisify(execFile)(command, args, { maxBuffer: 16 * 1024 * 1024 });
  const { arrivals, bytes } = JSON.parse(stdout) as {
    arrivals: readonly { readonly characters: number }[];
    bytes: number;
  };
  expect(arrivals.at(-1)?.characters).toBe(textOf(tokens).length);
  expect(bytes).toBeLessThan(tokens * 250 * 0.5);
});
