import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { killPid } from '../packages/core/test/support/kill-pid.ts';
import { eventually, printed, spawnProgram } from '../packages/gateway/test/support/spawn.ts';
import type { Installed } from './packed-streams.ts';

const root = join(import.meta.dirname, '..');

/**
 * Runs what `ops/Containerfile` says with the packages that are installed here, without a container: its command as
 * the first process of a process namespace, its health check, and the signal with which it is stopped. What the file
 * builds with is compared with what the packages are packed and run with.
 */
export async function checkContainer({ folder, oldestNode }: Installed): Promise<void> {
  const file = readFileSync(join(root, 'ops/Containerfile'), 'utf8').replaceAll('\\\n', ' ');
  const { dependencies, scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    readonly dependencies: { readonly node: string };
    readonly scripts: Readonly<Record<string, string>>;
  };
  const [major] = dependencies.node.split('.');
  for (const [, image] of file.matchAll(/^FROM (\S+)/gm)) {
    expectSame('the image', image, `docker.io/library/node:${major}-slim`);
  }
  for (const [, script = ''] of file.matchAll(/npm run (\S+)/g)) expectSame(script, script in scripts, true);
  const packed = [...file.matchAll(/--workspace packages\/(\S+)/g)].map(([, name]) => name);
  expectSame('the packages', packed.join(), 'core,server,voice,redis,gateway');

  // With the Node and the folder that are here, on ports that are free.
  const here = (words: readonly string[]): string[] =>
    words.map((word) =>
      word === 'node' ? oldestNode : word.replace(/^\/app\//, `${folder}/`).replace('8080', String(port)),
    );
  let port = 0;
  const program = [...wordsOf(file, 'ENTRYPOINT'), ...wordsOf(file, 'CMD')];
  const isRoot = process.platform === 'linux' && process.getuid?.() === 0;
  const first = isRoot ? ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'] : [];
  const env = Object.fromEntries(
    [...file.matchAll(/^ENV (\w+)=(\S+)/gm)].map(([, name = '', value = '']) => [name, value]),
  );
  const keyless = spawnProgram(here(program), { env });
  expectSame('without keys, beyond loopback', (await keyless.exited) === 0, false);
  const gateway = spawnProgram([...first, ...here(program), '--port', '0', '--admin-port', '0'], {
    env: { ...env, SPILLWAY_API_KEYS: 'key', OPENAI_API_KEY: 'none' },
  });
  try {
    port = Number(/:(\d+)$/.exec(await printed(gateway, /Spillway on (\S+)/))?.[1]);
    const check = (): Promise<number | null> => spawnProgram(here(wordsOf(file, 'HEALTHCHECK'))).exited;
    expectSame('the health check', await check(), 0);
    const { pid } = gateway.process;
    const children = isRoot ? readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8') : String(pid);
    killPid(children, signalOf(file));
    expectSame('its exit', await gateway.exited, 0);
    expectSame('that it stopped in order', /Stopped after/.test(gateway.stdout()), true);
    expectSame('the health check of none', await check(), 1);
  } finally {
    gateway.process.kill('SIGKILL');
    await eventually(
      () => gateway.process.exitCode !== null || gateway.process.signalCode !== null,
      'it to end',
    );
  }
  console.log(
    `packed: the container's command${isRoot ? ', as the first process,' : ''} is healthy, and stops`,
  );
}

/** The words of an instruction in its exec form. */
function wordsOf(file: string, instruction: string): string[] {
  const [, words] = new RegExp(`^${instruction} [^\\[\\n]*(\\[.*\\])$`, 'm').exec(file) ?? [];
  if (words === undefined) throw new Error(`ops/Containerfile: expected ${instruction} with a list of words`);
  return JSON.parse(words) as string[];
}

function signalOf(file: string): NodeJS.Signals {
  const [, signal] = /^STOPSIGNAL (SIG\w+)$/m.exec(file) ?? [];
  return signal as NodeJS.Signals;
}

function expectSame(what: string, got: unknown, expected: unknown): void {
  if (got !== expected) {
    throw new Error(`ops/Containerfile: ${what}: expected ${String(expected)}, got ${String(got)}`);
  }
}
