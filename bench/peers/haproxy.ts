import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, spawnProgram } from '../../packages/gateway/test/support/spawn.ts';
import { freePort } from '../../packages/core/test/support/free-port.ts';
import { scratchFolder } from './scratch-folder.ts';

/** HAProxy with one thread, and without a delay before it hands on what came. */
export async function startHaproxy(
  upstreamUrl: string,
  prefix: readonly string[],
  host: string,
): Promise<{ readonly command: Command; readonly url: string }> {
  const file = join(scratchFolder(), 'haproxy.cfg');
  const port = await freePort(host);
  const lines = [
    'global',
    '  nbthread 1',
    '  maxconn 9900',
    'defaults',
    '  mode http',
    '  option http-no-delay',
    '  timeout connect 10s',
    '  timeout client 1h',
    '  timeout server 1h',
    'frontend readers',
    `  bind ${host}:${port} backlog 4096`,
    '  default_backend provider',
    'backend provider',
    `  server one ${new URL(upstreamUrl).host}`,
    '',
  ];
  writeFileSync(file, lines.join('\n'));
  return { command: spawnProgram([...prefix, 'haproxy', '-db', '-f', file]), url: `http://${host}:${port}` };
}
