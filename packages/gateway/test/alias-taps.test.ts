import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { eventually, startGateway } from './support/processes.ts';
import { postChat } from './support/requests.ts';
import { openScriptedProvider, refuses } from './support/scripted-provider.ts';

test('a tap for one provider has what that one answers in place of another, and says which it was', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-'));
  const first = await openScriptedProvider('first');
  const second = await openScriptedProvider('second');
  onTestFinished(() => {
    first.close();
    second.close();
    rmSync(folder, { recursive: true });
  });
  first.scripts.set('m', refuses(503));
  const file = join(folder, 'kept.jsonl');
  const upstream = `name=first,url=${first.url}/v1,apiKeyEnv=K name=second,url=${second.url}/v1,apiKeyEnv=K`;
  const model = 'name=fast,targets=first/m,fallback=second/m';
  const tap = `name=kept,to=file:${file},providers=second`;
  const args = ['--upstream', upstream, '--model', model, '--tap', tap];
  const gateway = await startGateway(args, { env: { K: 'k' } });
  expect(await (await postChat(gateway.url, 'fast')).text()).toContain('second');
  await (await postChat(gateway.url, 'first/m')).text();
  const records = await eventually(() => {
    const read = readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { readonly kind: string; readonly provider?: string });
    return read.some(({ kind }) => kind === 'end') && read;
  }, 'the records of the stream');
  expect(records.filter(({ kind }) => kind === 'begin')).toMatchObject([{ provider: 'first' }]);
  expect(records.filter(({ kind }) => kind === 'answer')).toMatchObject([{ provider: 'second' }]);
});
