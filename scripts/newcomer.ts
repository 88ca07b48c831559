/**
 * The README's way, as it says it, in a system that has nothing but Node, npm and curl: a clone, its two commands, its
 * request, SIGTERM to npm. Nothing of this machine is there that a newcomer would not have.
 *
 *     npm run newcomer             with the Node of this repository
 *     npm run newcomer -- 20 22    with others
 *
 * Needs Linux, root and mmdebstrap. Without them it says so; with NEWCOMER_REQUIRED that is a failure.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const repository = join(import.meta.dirname, '..');
const readme = readFileSync(join(repository, 'README.md'), 'utf8');
const { dependencies } = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as {
  readonly dependencies: { readonly node: string };
};
/** The npm that comes with each Node: 10 until 22, and 11 after it. */
const npmOf = (node: string): string => (Number(node.split('.')[0]) <= 22 ? 'npm@10' : 'npm@11');
const home = '/home/newcomer';

const commands = readmeCommands();
const missing = missingHere();
if (missing === undefined) {
  const asked = process.argv.slice(2);
  const folder = mkdtempSync(join(tmpdir(), 'spillway-newcomer-'));
  try {
    const system = makeSystem(join(folder, 'system'));
    for (const node of asked.length === 0 ? [dependencies.node] : asked) goThrough(folder, system, node);
  } finally {
    // All mounts were in namespaces, and went with these.
    execFileSync('rm', ['-rf', '--one-file-system', folder]);
  }
} else {
  console.log(`newcomer: skipped, it needs ${missing}`);
  if (process.env['NEWCOMER_REQUIRED'] !== undefined) process.exitCode = 1;
}

function missingHere(): string | undefined {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'Linux and root';
  const has = (command: string): boolean => spawnSync(command, ['--version']).error === undefined;
  const missed = ['mmdebstrap', 'unshare', 'git', 'ip'].filter((command) => !has(command));
  return missed.length === 0 ? undefined : missed.join(', ');
}

/** Debian without anything that is not needed to start programs, and curl. Its mirror is the default one. */
function makeSystem(root: string): string {
  const [, suite = 'stable'] = /^VERSION_CODENAME=(\S+)/m.exec(readFileSync('/etc/os-release', 'utf8')) ?? [];
  // Every Node needs libstdc++6; libatomic1 is what the README says that Node 26 needs.
  const packages = '--include=ca-certificates,curl,libatomic1,libstdc++6';
  run('mmdebstrap', ['--quiet', '--variant=essential', packages, suite, root]);
  cpSync('/etc/resolv.conf', join(root, 'etc/resolv.conf'));
  return root;
}

function goThrough(folder: string, root: string, node: string): void {
  const programs = join(folder, `node-${node}`);
  mkdirSync(programs);
  run('npm', ['install', '--silent', '--no-save', '--prefix', programs, `node@${node}`, npmOf(node)]);
  putNode(join(programs, 'node_modules'), root);
  run('rm', ['-rf', '--one-file-system', join(root, home)]);
  mkdirSync(join(root, home), { recursive: true });
  run('git', ['clone', '--quiet', '--no-hardlinks', repository, join(root, home, 'spillway')]);
  run('chown', ['-R', '1000:1000', join(root, home)]);

  const startedMs = performance.now();
  inside(root, commands.install, ['--mount', '--pid'], networkHere(root));
  const installedMs = performance.now();
  // In a network of its own its ports are free, whatever this machine does.
  const said = inside(root, answer(commands), ['--mount', '--pid', '--net'], {});
  const changed = run('git', [
    '-c',
    'safe.directory=*',
    '-C',
    join(root, home, 'spillway'),
    'status',
    '--porcelain',
  ]);
  if (changed !== '') throw new Error(`newcomer: the repository was changed:\n${changed}`);
  if (!said.includes('data: [DONE]')) throw new Error(`newcomer: expected an answer, got:\n${said}`);
  const [, listeningMs = '?'] = /^listening after (\d+) ms$/m.exec(said) ?? [];
  const megabytes = run('du', ['-sm', '--exclude=.git', join(root, home, 'spillway')]).split('\t')[0];
  const version = run(join(root, 'usr/local/bin/node'), ['--version']).trim();
  console.log(
    `newcomer: Node ${version} and ${npmOf(node)}: installed in ${((installedMs - startedMs) / 1000).toFixed(1)} s, ` +
      `listening ${listeningMs} ms later, ${megabytes} MB; answered, and stopped with npm`,
  );
}

/** Puts a Node and its npm where an installation would. */
function putNode(modules: string, root: string): void {
  const [bin, library] = [join(root, 'usr/local/bin'), join(root, 'usr/local/lib/node_modules')];
  run('rm', ['-rf', '--one-file-system', library, ...['node', 'npm', 'npx'].map((name) => join(bin, name))]);
  mkdirSync(library, { recursive: true });
  cpSync(join(modules, 'node/bin/node'), join(bin, 'node'));
  chmodSync(join(bin, 'node'), 0o755);
  cpSync(join(modules, 'npm'), join(library, 'npm'), { recursive: true });
  for (const name of ['npm', 'npx'])
    symlinkSync(`../lib/node_modules/npm/bin/${name}-cli.js`, join(bin, name));
}

interface Commands {
  readonly install: string;
  readonly start: string;
  readonly request: string;
}

/** The README's commands. */
function readmeCommands(): Commands {
  const [, install, start] = /^## Start\n\n```sh\n(npm install) && (npm start)\n```$/m.exec(readme) ?? [];
  const [, request] = /^```sh\n(curl -N http:\/\/127\.0\.0\.1:8080\/[^`]*)```$/m.exec(readme) ?? [];
  if (install === undefined || start === undefined || request === undefined) {
    throw new Error(
      'README.md: expected "npm install && npm start" and a request with curl below "## Start"',
    );
  }
  return { install, start, request };
}

/** A script that starts it, asks it, stops it, and looks whether it is gone. */
function answer({ request, start }: Commands): string {
  return `
    began=$(date +%s%3N)
    ${start} &
    npm=$!
    until curl -s -o /dev/null http://127.0.0.1:8080/health/ready; do kill -0 $npm || exit 1; sleep 0.1; done
    echo "listening after $(($(date +%s%3N) - began)) ms"
    ${request}
    kill -TERM $npm
    wait $npm || { echo "npm ended with $?"; exit 1; }
    if curl -s -o /dev/null http://127.0.0.1:8080/health/live; then echo "it still answers"; exit 1; fi`;
}

/** How this machine reaches the registry. It is the machine's, so the repository does not say it. */
function networkHere(root: string): Record<string, string> {
  const env: Record<string, string> = {
    npm_config_registry: run('npm', ['config', 'get', 'registry']).trim(),
  };
  for (const name of ['http_proxy', 'https_proxy', 'no_proxy']) {
    const value = process.env[name] ?? process.env[name.toUpperCase()];
    if (value !== undefined) env[name] = value;
  }
  const authorities = process.env['NODE_EXTRA_CA_CERTS'];
  if (authorities !== undefined && existsSync(authorities)) {
    cpSync(authorities, join(root, 'etc/authorities.pem'));
    env['NODE_EXTRA_CA_CERTS'] = '/etc/authorities.pem';
  }
  return env;
}

/** Runs a script in the system as a user without rights, in namespaces that end with it. */
function inside(
  root: string,
  script: string,
  namespaces: readonly string[],
  env: Readonly<Record<string, string>>,
): string {
  const words = Object.entries({ HOME: home, PATH: '/usr/local/bin:/usr/bin:/bin', ...env });
  const chroot = [
    'chroot',
    '--userspec=1000:1000',
    root,
    'env',
    '-i',
    ...words.map(([name, value]) => `${name}=${value}`),
  ];
  const program = [...chroot, 'sh', '-c', `cd ${home}/spillway && ${script}`];
  const up = namespaces.includes('--net') ? ['sh', '-c', 'ip link set lo up && exec "$@"', 'sh'] : [];
  const unshared = [...namespaces, '--fork', '--kill-child', `--mount-proc=${join(root, 'proc')}`];
  return run('unshare', [...unshared, ...up, ...program]);
}

function run(command: string, args: readonly string[]): string {
  const { status, stderr, stdout, error } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 16_777_216,
  });
  if (status === 0) return stdout;
  throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? status}\n${stdout}\n${stderr}`);
}
