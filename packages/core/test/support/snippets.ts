import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const sources = (path: string): string => join(root, 'packages', path);

/** A snippet as a module, whose own imports stand in front. */
export interface SnippetModule {
  readonly kind: 'ts' | 'tsx';
  readonly code: string;
}

/** The snippets of a file, in a page or in comments, each as a module. */
export function modulesIn(text: string): SnippetModule[] {
  return [...text.matchAll(/^( *\*? ?)```(tsx?)\n(.*?)^\1```$/gms)].map(
    ([, margin = '', kind = '', block = '']) => {
      const lines = block.split('\n').map((line) => line.slice(margin.length));
      const imports = lines.filter((line) => line.startsWith('import '));
      const rest = lines.filter((line) => !line.startsWith('import '));
      const code = `${imports.join('\n')}\nexport async function snippet() {\n${rest.join('\n')}\n}\n`;
      return { kind: kind === 'tsx' ? 'tsx' : 'ts', code };
    },
  );
}

/** All snippets of some files of a folder, by a name that says where each stands. */
export async function modulesOf(folder: string, files: readonly string[]): Promise<Map<string, string>> {
  const modules = new Map<string, string>();
  for (const file of files) {
    for (const [index, { code, kind }] of modulesIn(await readFile(join(folder, file), 'utf8')).entries()) {
      modules.set(`${file.replaceAll(/\W/g, '-')}-${index + 1}.${kind}`, code);
    }
  }
  return modules;
}

const settings = {
  extends: join(root, 'tsconfig.base.json'),
  compilerOptions: {
    lib: ['es2024', 'esnext', 'DOM', 'DOM.AsyncIterable'],
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
    jsx: 'react-jsx',
    allowImportingTsExtensions: true,
    noEmit: true,
    noImplicitReturns: false,
    noUnusedLocals: false,
    // Whoever copies a snippet may write `process.env.NAME`.
    noPropertyAccessFromIndexSignature: false,
    paths: {
      '@spillway/client': [sources('client/src/index.ts')],
      '@spillway/client/react': [sources('client/src/react.ts')],
      '@spillway/kafka': [sources('kafka/src/index.ts')],
      '@spillway/nats': [sources('nats/src/index.ts')],
      '@spillway/postgres': [sources('postgres/src/index.ts')],
      '@spillway/aws': [sources('aws/src/index.ts')],
      '@spillway/redis': [sources('redis/src/index.ts')],
      '@spillway/voice': [sources('voice/src/index.ts')],
      '@spillway/voice/simulate/carrier': [sources('voice/src/simulate/carrier/index.ts')],
      '@spillway/voice/simulate/model': [sources('voice/src/simulate/model/index.ts')],
      '@spillway/voice/simulate/speech': [sources('voice/src/simulate/speech.ts')],
      '@spillway/core/audio': [sources('core/src/audio/index.ts')],
      '@spillway/core': [sources('core/src/index.ts')],
      '@spillway/core/engine': [sources('core/src/engine/index.ts')],
      '@spillway/core/session': [sources('core/src/session/frames.ts')],
      '@spillway/core/testing': [sources('core/src/testing/index.ts')],
      '@spillway/core/testing/virtual-clock': [sources('core/src/testing/virtual-clock.ts')],
      '@spillway/core/*': [sources('core/src/*.ts')],
    },
  },
  include: ['*.ts', '*.tsx'],
};

/** What the compiler says of modules, and of the declarations that they take from the program around them. */
export async function complaintsOf(
  modules: ReadonlyMap<string, string>,
  surroundings: string,
): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'snippets-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  // Not a `.d.ts`, in which nothing would be checked: what a package does not export would be anything.
  const globals = surroundings.replaceAll(/^ *declare /gm, '');
  await writeFile(join(folder, 'surroundings.ts'), `export {};\ndeclare global {\n${globals}\n}\n`);
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }');
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(settings));
  for (const [name, module] of modules) await writeFile(join(folder, name), module);
  const output = await new Promise<string>((resolve) => {
    execFile(process.execPath, [tsc, '-p', folder, '--pretty', 'false'], { cwd: folder }, (_error, stdout) =>
      resolve(stdout),
    );
  });
  return output.split('\n').filter((line) => line !== '');
}
