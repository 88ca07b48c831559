import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, test } from 'vitest';
import { checkTaps } from '../src/cli/check/taps.ts';
import type { Finding } from '../src/cli/check/finding.ts';
import { loadSettings } from '../src/config/load.ts';
import { startGateway } from './support/processes.ts';
import { temporaryFolder } from './support/prometheus.ts';
import { postChat } from './support/requests.ts';

/** What is found of one tap. */
function check(tap: string): Promise<readonly Finding[]> {
  return checkTaps(loadSettings({ flags: { tap }, env: {}, file: undefined }));
}

test('a tap to a new place is fine, with the space that is free, and nothing is created', async () => {
  const folder = temporaryFolder();
  const free = expect.stringMatching(/^It is new\. \d+[KMG]iB of its disk are free/) as string;
  expect(await check(`name=audit,to=sqlite:${folder}/audit.db,spill=${folder}/spill`)).toMatchObject([
    { check: 'tap audit', message: free },
    { check: 'tap audit (spill)', message: free },
  ]);
  expect(await check(`to=file:${folder}/lines.jsonl`)).toMatchObject([{ check: 'tap tap', message: free }]);
  expect(await check('to=stdout:')).toMatchObject([{ status: 'ok' }]);
  expect(readdirSync(folder)).toEqual([]);
});

test('a tap goes on in its own file, while it runs, too', async () => {
  const folder = temporaryFolder();
  const taps = [`name=audit,to=sqlite:${folder}/audit.db,gate=true`, `name=lines,to=file:${folder}/l.jsonl`];
  const gateway = await startGateway(taps.flatMap((tap) => ['--tap', tap]));
  await (await postChat(gateway.url, 'sim:tokens=5,tps=0,ttft=0')).text();
  const before = readdirSync(folder).toSorted();
  for (const tap of taps) {
    expect(await check(tap), tap).toMatchObject([
      { message: expect.stringMatching(/^It goes on in a file of \d+(?:[KMG]iB)?\. /) as string },
    ]);
  }
  expect(readdirSync(folder).toSorted()).toEqual(before);
});

test('a file that is something else, a folder that is not there, and no rights fail', async () => {
  const folder = temporaryFolder();
  const other = join(folder, 'other.db');
  new DatabaseSync(other).exec('CREATE TABLE a(b)');
  const text = join(folder, 'notes.txt');
  writeFileSync(text, 'a line without an end');
  const failsWith = async (tap: string, words: string): Promise<void> => {
    const [finding] = await check(tap);
    expect(finding?.status, tap).toBe('fail');
    expect(finding?.message, tap).toContain(words);
  };
  await failsWith(`to=sqlite:${other}`, 'expected an audit log or no file');
  await failsWith(`to=sqlite:${text}`, 'expected an audit log or no file');
  await failsWith(`to=file:${other}`, 'expected lines of records or no file');
  await failsWith(`to=file:${text}`, 'expected lines of records or no file');
  await failsWith(`to=file:${folder}`, 'expected a file, got something else');
  await failsWith(`to=file:${folder}/none/lines.jsonl`, `The folder ${folder}/none is not there`);
  await failsWith(`to=file:${text}/lines.jsonl`, 'expected a folder, got something else');
  expect(readFileSync(text, 'utf8')).toBe('a line without an end');
  // An empty file is one that was just made.
  writeFileSync(join(folder, 'empty'), '');
  for (const scheme of ['file', 'sqlite'])
    expect((await check(`to=${scheme}:${folder}/empty`))[0]?.status).not.toBe('fail');
});

test('no rights fail', async (context) => {
  if (process.getuid?.() === 0) context.skip('root may write everywhere');
  const folder = join(temporaryFolder(), 'closed');
  mkdirSync(folder);
  chmodSync(folder, 0o500);
  expect(await check(`to=file:${folder}/a`)).toMatchObject([{ status: 'fail' }]);
});
