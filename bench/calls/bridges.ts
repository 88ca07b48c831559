import { fileURLToPath } from 'node:url';
import { spawnNode } from '../../packages/gateway/test/support/spawn.ts';
import { listening, type Program } from '../programs.ts';

/** Something that stands between a carrier and a model. */
export interface Bridge {
  readonly name: string;
  start(modelUrl: string, prefix: readonly string[]): Promise<Program>;
}

export const bridges: readonly Bridge[] = [
  bridge('fifty lines', '../peers/naive-bridge.ts'),
  bridge('@openai/agents-extensions', '../peers/agents-bridge.ts'),
  bridge('@spillway/voice', 'library-bridge.ts'),
];

function bridge(name: string, path: string): Bridge {
  const program = fileURLToPath(new URL(path, import.meta.url));
  return {
    name,
    start: async (modelUrl, prefix) =>
      await listening(spawnNode(program, [modelUrl], { prefix, env: { NODE_ENV: 'production' } })),
  };
}
