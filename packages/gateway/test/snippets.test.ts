import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { replyText } from '../src/simulate/tokens.ts';
import { startGateway, startSimulator } from './support/processes.ts';
import { spawnNode } from './support/spawn.ts';
import { startStrictProvider } from './support/strict-provider.ts';

const here = fileURLToPath(new URL('.', import.meta.url));
const page = join(here, '../../../docs/compatibility.md');

test('the snippets of frameworks run as they are, but for the port', async () => {
  const text = await readFile(page, 'utf8');
  const snippets = [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, snippet = '']) => snippet);
  expect(snippets).toHaveLength(3);
  const simulator = await startSimulator();
  const ollama = await startStrictProvider((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.end(`{"message":{"role":"assistant","content":"${replyText(100, 0)}"},"done":true}\n`);
  });
  const upstreams = `name=simulated,url=${simulator.url}/v1 name=local,api=ollama,url=${ollama.url}`;
  const gateway = await startGateway(['--upstream', upstreams]);
  // What they import is found from here.
  const folder = await mkdtemp(join(here, 'snippets-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  for (const [index, snippet] of snippets.entries()) {
    const file = join(folder, `${index}.ts`);
    expect(snippet).toContain('http://127.0.0.1:8080');
    await writeFile(file, snippet.replaceAll('http://127.0.0.1:8080', gateway.url));
    const command = spawnNode(file, []);
    expect(await command.exited, command.stderr()).toBe(0);
    expect(command.stdout()).toBe(replyText(100, 0));
  }
});
