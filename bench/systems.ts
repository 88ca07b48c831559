import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { spawnNode } from '../packages/gateway/test/support/spawn.ts';
import { startHaproxy } from './peers/haproxy.ts';
import { startNginx } from './peers/nginx.ts';
import { hasPortkey, startPortkey } from './peers/portkey.ts';
import { connectable, listening, type Program, startGateway, startPipe } from './programs.ts';

/** Something that stands between a reader and a provider. */
export interface System {
  readonly name: string;
  /** What is in front of a token's text in the events that it sends. Default: as the provider has it. */
  readonly textKey?: string;
  /** Takes all that there is, whether it is read or not: it is given less of it. */
  readonly takesAll?: boolean;
  /** Holds so much for an open stream that it is given fewer. */
  readonly isHeavy?: boolean;
  /** Headers that it wants to have with every request. */
  headers?(upstreamUrl: string): Readonly<Record<string, string>>;
  /** Why it cannot take part; `undefined` if it can. */
  missing?(): string | undefined;
  /** Starts it in front of an upstream. */
  start(upstreamUrl: string, options: StartOptions): Promise<Program>;
}

interface StartOptions {
  /** A command that runs it, such as one that pins it to a core. */
  readonly prefix: readonly string[];
  /** Where it listens. Default: 127.0.0.1. */
  readonly host?: string;
}

/** What everything is compared with. */
export const yardstick = 'bare Node pipe';
export const spillway = 'Spillway';

const env = { NODE_ENV: 'production' };
const local = '127.0.0.1';

export const systems: readonly System[] = [
  {
    name: yardstick,
    start: async (upstream, { host, prefix }) => await startPipe(upstream, { prefix, env }, host),
  },
  {
    name: spillway,
    // Beyond loopback it wants a key, which the readers send.
    start: async (upstream, { host = local, prefix }) =>
      await startGateway(upstream, ['--host', host, '--max-streams', '100000'], {
        prefix,
        env: { ...env, ...(host === local ? {} : { SPILLWAY_API_KEYS: 'key' }) },
      }),
  },
  {
    name: 'nginx, not buffering',
    missing: () => withoutProgram('nginx'),
    start: async (upstream, { host = local, prefix }) =>
      await connectable(await startNginx(upstream, prefix, 'off', host)),
  },
  {
    name: 'nginx, buffering',
    takesAll: true,
    missing: () => withoutProgram('nginx'),
    start: async (upstream, { host = local, prefix }) =>
      await connectable(await startNginx(upstream, prefix, 'on', host)),
  },
  {
    name: 'HAProxy',
    missing: () => withoutProgram('haproxy'),
    start: async (upstream, { host = local, prefix }) =>
      await connectable(await startHaproxy(upstream, prefix, host)),
  },
  { name: 'fetch, waits for drain', start: startPeer('fetch', 'drain') },
  { name: 'fetch, does not wait', takesAll: true, start: startPeer('fetch', 'never') },
  { name: 'openai SDK', takesAll: true, isHeavy: true, start: startPeer('openai-sdk') },
  { name: 'AI SDK', takesAll: true, isHeavy: true, textKey: '"delta":"', start: startPeer('ai-sdk') },
  {
    name: 'Portkey',
    takesAll: true,
    isHeavy: true,
    missing: () => (hasPortkey() ? undefined : 'npm install --prefix bench/peers/portkey'),
    headers: (upstream) => ({
      'x-portkey-provider': 'openai',
      'x-portkey-custom-host': `${upstream}/v1`,
    }),
    start: async (_upstream, { host = local, prefix }) => await connectable(await startPortkey(prefix, host)),
  },
];

function startPeer(name: string, ...args: readonly string[]): System['start'] {
  const program = fileURLToPath(new URL(`peers/${name}.ts`, import.meta.url));
  return async (upstream, { host = local, prefix }) =>
    await listening(spawnNode(program, [upstream, host, ...args], { env, prefix }));
}

function withoutProgram(name: string): string | undefined {
  try {
    execFileSync(name, ['-v'], { stdio: 'pipe' });
    return undefined;
  } catch {
    return `there is no ${name}`;
  }
}
