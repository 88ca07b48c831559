import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Command, spawnProgram } from '../../packages/gateway/test/support/spawn.ts';
import { freePort } from '../../packages/core/test/support/free-port.ts';

const program = fileURLToPath(
  new URL('portkey/node_modules/@portkey-ai/gateway/build/start-server.js', import.meta.url),
);

/** It is no dependency of this repository: `npm install --prefix bench/peers/portkey` makes it join in. */
export function hasPortkey(): boolean {
  return existsSync(program);
}

export async function startPortkey(
  prefix: readonly string[],
  host: string,
): Promise<{ readonly command: Command; readonly url: string }> {
  const port = await freePort(host);
  // It listens on every address.
  const command = [...prefix, process.execPath, program, `--port=${port}`, '--headless'];
  return {
    command: spawnProgram(command, { env: { NODE_ENV: 'production' } }),
    url: `http://${host}:${port}`,
  };
}
