import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, spawnProgram } from '../../packages/gateway/test/support/spawn.ts';
import { freePort } from '../../packages/core/test/support/free-port.ts';
import { scratchFolder } from './scratch-folder.ts';

/** nginx as its documentation has it for event streams, in one process, which ends when it is killed. */
export async function startNginx(
  upstreamUrl: string,
  prefix: readonly string[],
  buffering: 'off' | 'on',
  host: string,
): Promise<{ readonly command: Command; readonly url: string }> {
  const folder = scratchFolder();
  const port = await freePort(host);
  const paths = ['client_body', 'fastcgi', 'proxy', 'scgi', 'uwsgi'].map(
    (name) => `${name}_temp_path ${folder}/${name};`,
  );
  const lines = [
    `pid ${folder}/pid; error_log stderr crit; daemon off; master_process off;`,
    `events { worker_connections ${connections}; }`,
    `http { access_log off; ${paths.join(' ')}`,
    `upstream provider { server ${new URL(upstreamUrl).host}; keepalive 1000; }`,
    `server { listen ${host}:${port} backlog=4096; location / {`,
    'proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection "";',
    `proxy_buffering ${buffering}; proxy_read_timeout 1h; send_timeout 1h; } } }`,
  ];
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, lines.join('\n'));
  return {
    command: spawnProgram([...prefix, 'nginx', '-p', folder, '-c', file, '-e', 'stderr']),
    url: `http://${host}:${port}`,
  };
}

/** Two for a stream, and many to spare: with less than a sixteenth of them free, it closes what has just connected. */
const connections = 40_000;
