import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import * as coalesce from '../../src/format/coalesce.ts';
import * as openaiChat from '../../src/format/openai-chat.ts';
import * as sse from '../../src/format/sse.ts';
import * as core from '../../src/index.ts';
import * as testing from '../../src/testing/store-rules.ts';

const coreFolder = fileURLToPath(new URL('../..', import.meta.url));
const root = fileURLToPath(new URL('../../../..', import.meta.url));
const tsc = join(root, 'node_modules/typescript/bin/tsc');

/** What a snippet need not import. */
const exported: Readonly<Record<string, object>> = {
  '@spillway/core': core,
  '@spillway/core/format/coalesce': coalesce,
  '@spillway/core/format/openai-chat': openaiChat,
  '@spillway/core/format/sse': sse,
  '@spillway/core/testing': testing,
};

/** What snippets take from the program around them. */
const surroundings = `
  type EventRun = import('@spillway/core/format/sse').EventRun;
  interface Delta { readonly kind: string; readonly text: string }
  declare const channel: import('@spillway/core').Channel<any>;
  declare const chunk: Uint8Array;
  declare const chunks: AsyncIterable<string>;
  declare const client: unknown;
  declare const connectionCredit: import('@spillway/core').Credit;
  declare const createWriteStream: typeof import('node:fs').createWriteStream;
  declare const deltas: ReadableStream<string>;
  declare const inbox: import('@spillway/core').Reader<Uint8Array>;
  declare const gauge: { set(value: number): void };
  declare const merge: (first: string, second: string) => string | undefined;
  declare const model: AsyncIterable<string>;
  declare const offset: number;
  declare const openMyStore: () => import('@spillway/core').Store<string>;
  declare const openRedisStore: (client: unknown, name: string) => import('@spillway/core').Store<string>;
  declare const process: import('node:process').Process;
  declare const randomUUID: () => string;
  declare const reader: import('@spillway/core').Reader<string>;
  declare const render: (chunk: Uint8Array | string) => Promise<void>;
  declare const replenisher: import('@spillway/core').Replenisher;
  declare const response: Response;
  declare const send: (message: object) => void;
  declare const sink: { write(text: string): Promise<void> };
  declare const socket: {
    emit(event: 'grant', amount: import('@spillway/core').CreditAmount): void;
    on(event: 'grant', listener: (amount: import('@spillway/core').CreditAmount) => void): void;
  };
  declare const store: import('@spillway/core').Store<string>;
  declare const test: (name: string, check: () => Promise<void>) => void;
  declare const weigh: (text: string) => number;
  declare const words: Iterable<string>;
  declare const write: (record: string) => Promise<void>;
`;

/** The snippets of a file, in a page or in comments, each as a module. */
function modulesIn(text: string): string[] {
  return [...text.matchAll(/^( *\*? ?)```ts\n(.*?)^\1```$/gms)].map(([, margin = '', block = '']) => {
    const lines = block.split('\n').map((line) => line.slice(margin.length));
    const imports = lines.filter((line) => line.startsWith('import '));
    const rest = lines.filter((line) => !line.startsWith('import '));
    return `${imports.join('\n')}\nexport async function snippet() {\n${rest.join('\n')}\n}\n`;
  });
}

async function allModules(): Promise<Map<string, string>> {
  const paths = await readdir(join(coreFolder, 'src'), { recursive: true });
  const files = [
    'README.md',
    ...paths.filter((path) => path.endsWith('.ts')).map((path) => join('src', path)),
  ];
  const modules = new Map<string, string>();
  for (const file of files) {
    for (const [index, module] of modulesIn(await readFile(join(coreFolder, file), 'utf8')).entries()) {
      modules.set(`${file.replaceAll(/\W/g, '-')}-${index + 1}.ts`, module);
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
    allowImportingTsExtensions: true,
    noEmit: true,
    noImplicitReturns: false,
    noUnusedLocals: false,
    paths: {
      '@spillway/core': [join(coreFolder, 'src/index.ts')],
      '@spillway/core/testing': [join(coreFolder, 'src/testing/store-rules.ts')],
      '@spillway/core/*': [join(coreFolder, 'src/*.ts')],
    },
  },
  include: ['*.ts'],
};

/** What the compiler says of modules. */
async function complaints(modules: ReadonlyMap<string, string>): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'snippets-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const names = Object.entries(exported).flatMap(([from, all]) =>
    Object.keys(all).map((name) => `declare const ${name}: typeof import('${from}').${name};`),
  );
  await writeFile(join(folder, 'surroundings.d.ts'), surroundings + names.join('\n'));
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

test('every snippet of the README and of a description compiles', async () => {
  const modules = await allModules();
  expect(modules.size).toBeGreaterThan(20);
  expect(await complaints(modules)).toEqual([]);
});

test('what does not compile is noticed: an end that is none of a channel', async () => {
  const text = [
    '/**',
    ' * ```ts',
    " * const end: NonNullable<typeof channel.end> = { state: 'detached' };",
    ' * const offset = channel.end?.offset;',
    ' * ```',
    ' */',
    '',
  ].join('\n');
  const [module = ''] = modulesIn(text);
  const found = (await complaints(new Map([['wrong.ts', module]]))).join('\n');
  expect(found).toMatch(/^wrong\.ts\(3,\d+\): error TS/m);
  expect(found).toMatch(/^wrong\.ts\(4,\d+\): error TS/m);
});
