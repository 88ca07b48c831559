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

test('the example of a fallback runs as it is, but for the ports', async () => {
  const text = await readFile(join(here, '../../../docs/providers.md'), 'utf8');
  const [, settings = ''] = /^```yaml\n# spillway\.yaml\n(.*?)^```$/ms.exec(text) ?? [];
  const [, body = ''] = /-d '(.*?)'/.exec(text) ?? [];
  const simulators = [await startSimulator(), await startSimulator()];
  const [one = '', two = ''] = simulators.map(({ url }) => url);
  const folder = await mkdtemp(join(here, 'snippets-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  expect(settings).toContain('http://127.0.0.1:9001');
  await writeFile(
    join(folder, 'spillway.yaml'),
    settings.replace('http://127.0.0.1:9001', one).replace('http://127.0.0.1:9002', two),
  );
  const gateway = await startGateway([], { cwd: folder, env: { ONE_KEY: 'any', TWO_KEY: 'any' } });
  const answer = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
  });
  expect(answer.status).toBe(200);
  const words = [...(await answer.text()).matchAll(/"content":"([^"]*)"/g)].map(([, word]) => word).join('');
  expect(words).toBe(replyText(5, 0));
  expect(gateway.stderr()).toContain('asking the next target');
});
