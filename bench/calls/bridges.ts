import { fileURLToPath } from 'node:url';
import { spawnNode, spawnSpillway } from '../../packages/gateway/test/support/spawn.ts';
import { freePort } from '../../packages/core/test/support/free-port.ts';
import { connectable, listening, type Program } from '../programs.ts';

const host = '127.0.0.1';
/** The token with which the carrier's double signs what it asks the gateway's webhook. */
export const authToken = 'bench';

/** Something that stands between a carrier and a model. The gateway is a webhook (`http:`), the others are sockets (`ws:`). */
export interface Bridge {
  readonly name: string;
  start(modelUrl: string, prefix: readonly string[]): Promise<Program>;
}

export const bridges: readonly Bridge[] = [
  bridge('fifty lines', '../peers/naive-bridge.ts'),
  bridge('@openai/agents-extensions', '../peers/agents-bridge.ts'),
  bridge('@spillway/voice', 'library-bridge.ts'),
  { name: 'Spillway gateway', start: startGateway },
];

function bridge(name: string, path: string): Bridge {
  const program = fileURLToPath(new URL(path, import.meta.url));
  return {
    name,
    start: async (modelUrl, prefix) =>
      await listening(spawnNode(program, [modelUrl], { prefix, env: { NODE_ENV: 'production' } })),
  };
}

/** A carrier has to know where a gateway is before it starts: the URL is signed. */
async function startGateway(modelUrl: string, prefix: readonly string[]): Promise<Program> {
  const url = `http://${host}:${await freePort(host)}`;
  const model = new URL(modelUrl);
  const args = ['--port', new URL(url).port, '--admin-port', '0', '--log-level', 'silent'];
  const provider = `name=sim,url=http://${model.host}/v1`;
  const voice = `model=sim/gpt-realtime-2,publicUrl=${url},maxCalls=10000`;
  const env = { NODE_ENV: 'production', TWILIO_AUTH_TOKEN: authToken };
  const command = spawnSpillway(['serve', ...args, '--upstream', provider, '--voice', voice], {
    prefix,
    env,
  });
  const program = await connectable({ command, url });
  return { ...program, url: `${url}/voice/twilio` };
}
