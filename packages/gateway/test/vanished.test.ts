import { execFileSync, spawn } from 'node:child_process';
import { expect, onTestFinished, test } from 'vitest';
import { eventually, startGateway } from './support/processes.ts';
import { chatBody } from './support/requests.ts';

function ip(...args: readonly string[]): void {
  execFileSync('ip', args, { stdio: 'ignore' });
}

/** Makes a machine that can vanish: a network namespace behind a cable that can be pulled. Needs root. */
function openHost(): { name: string; gatewayAddress: string; pull: () => void } | undefined {
  const name = `sw${process.pid}`;
  const subnet = `10.199.${process.pid % 256}`;
  try {
    ip('netns', 'add', name);
    onTestFinished(() => ip('netns', 'del', name));
    ip('link', 'add', `${name}a`, 'type', 'veth', 'peer', 'name', `${name}b`, 'netns', name);
    ip('addr', 'add', `${subnet}.1/24`, 'dev', `${name}a`);
    ip('link', 'set', `${name}a`, 'up');
    ip('-n', name, 'addr', 'add', `${subnet}.2/24`, 'dev', `${name}b`);
    ip('-n', name, 'link', 'set', `${name}b`, 'up');
  } catch {
    return undefined;
  }
  return {
    name,
    gatewayAddress: `${subnet}.1`,
    pull: () => ip('-n', name, 'link', 'set', `${name}b`, 'down'),
  };
}

test('promise 11: a client whose machine has vanished is ended, although its model is silent', async (context) => {
  const host = openHost();
  if (host === undefined) {
    context.skip('needs Linux, root and iproute2: a network namespace cannot be made');
    return;
  }
  const gateway = await startGateway(
    ['--host', host.gatewayAddress, '--simulated', '--stall-timeout-ms', '2000', '--keep-alive-ms', '250'],
    { env: { SPILLWAY_API_KEYS: 'key' } },
  );
  const program = `
    const response = await fetch(${JSON.stringify(gateway.url)} + '/v1/chat/completions', {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: 'Bearer key' },
      body: ${JSON.stringify(chatBody('sim:stall=2,tps=0,ttft=0'))},
    });
    for await (const chunk of response.body) process.stdout.write(chunk);`;
  const client = spawn('ip', [
    'netns',
    'exec',
    host.name,
    process.execPath,
    '--input-type=module',
    '-e',
    program,
  ]);
  onTestFinished(() => void client.kill('SIGKILL'));
  let received = '';
  client.stdout.on('data', (bytes: Buffer) => (received += bytes.toString()));
  await eventually(() => received.includes(': ping'), 'the client to be kept alive');
  // A reader that is alive and has nothing to take is not stalled, however long that lasts.
  await eventually(() => received.split(': ping').length > 12, 'more than the timeout to pass');
  expect(gateway.stderr()).not.toContain('reader_stalled');
  host.pull();
  await eventually(() => gateway.stderr().includes('reader_stalled'), 'the client to be ended');
});
