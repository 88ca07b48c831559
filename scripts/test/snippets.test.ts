import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { complaintsOf, modulesIn, modulesOf } from '../../packages/core/test/support/snippets.ts';

const root = join(import.meta.dirname, '../..');

/** What a snippet need not import, each as its package exports it. */
const exported = {
  '@ai-sdk/anthropic': ['createAnthropic'],
  '@ai-sdk/google': ['createGoogle'],
  '@ai-sdk/openai': ['createOpenAI'],
  '@ai-sdk/openai-compatible': ['createOpenAICompatible'],
  '@google/genai': ['GoogleGenAI'],
  '@spillway/client': ['ClientError', 'createFetch', 'openClient'],
  '@spillway/client/react': ['useStream'],
  ai: ['streamText'],
};

/** What snippets take from the program around them. */
const surroundings = `
  declare const Anthropic: typeof import('@anthropic-ai/sdk').default;
  declare const OpenAI: typeof import('openai').default;
  declare const body: string;
  declare const client: import('@spillway/client').Client;
  declare const key: string;
  declare const messages: { role: 'user'; content: string }[];
  declare const model: string;
  declare const offerToRetry: (offset: number | undefined) => void;
  declare const play: (bytes: Uint8Array) => Promise<void>;
  declare const reader: import('@spillway/client').StreamReader;
  declare const response: Response;
  declare const show: (chunk: unknown) => void;
  declare const showFailure: (status: number, state: string | undefined) => void;
  declare const showGap: (bytes: number) => void;
  declare const showSpinner: (reason: string) => void;
  declare const tokens: () => AsyncIterable<string>;
  declare const url: string;
  ${Object.entries(exported)
    .flatMap(([from, names]) =>
      names.map((name) => `declare const ${name}: typeof import('${from}').${name};`),
    )
    .join('\n')}
`;

async function allModules(): Promise<Map<string, string>> {
  const source = 'packages/client/src';
  const paths = await readdir(join(root, source), { recursive: true });
  const files = paths.filter((path) => path.endsWith('.ts')).map((path) => join(source, path));
  return modulesOf(root, ['README.md', 'packages/client/README.md', ...files]);
}

test('every TypeScript snippet of the README, of the client’s and of its descriptions compiles', async () => {
  const modules = await allModules();
  expect([...modules.keys()].filter((name) => name.startsWith('README')).length).toBeGreaterThanOrEqual(2);
  expect([...modules.keys()].filter((name) => name.includes('client-README')).length).toBeGreaterThanOrEqual(
    5,
  );
  expect(await complaintsOf(modules, surroundings)).toEqual([]);
}, 60_000);

test('what does not compile is noticed: types that nobody says, an address that may be null, an export that is none', async () => {
  const page = [
    '```tsx',
    "useStream({ toText: (event) => event.choices[0]?.delta.content ?? '' });",
    '```',
    '```ts',
    "client.read(response.headers.get('content-location'));",
    '```',
    '',
  ].join('\n');
  const modules = new Map(modulesIn(page).map(({ code, kind }, index) => [`wrong-${index}.${kind}`, code]));
  const unknown = "declare const nothing: typeof import('ai').nothing;";
  const found = (await complaintsOf(modules, surroundings + unknown)).join('\n');
  expect(found).toMatch(/^wrong-0\.tsx\(3,\d+\): error TS/m);
  expect(found).toMatch(/^wrong-1\.ts\(3,\d+\): error TS/m);
  expect(found).toMatch(/^surroundings\.ts\(\d+,\d+\): error TS.*'nothing'/m);
}, 60_000);
