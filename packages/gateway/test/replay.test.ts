import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { run } from './support/processes.ts';
import { printed } from './support/spawn.ts';

test('the simulator writes a recording as the request’s format has it on the wire', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'recorded'));
  writeFileSync(join(folder, 'recorded/stream.jsonl'), '{"type":"one","n":1}\n{"type":"two"}\n');
  const simulator = run(['simulate', '--port', '0', '--recordings', folder]);
  const url = await printed(simulator, /Simulated provider on (\S+)\/v1/);
  const model = 'sim:replay=recorded/stream,tps=0,ttft=0';
  const replay = async (path: string): Promise<string> => {
    const response = await fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, stream: true }),
    });
    return await response.text();
  };
  const unnamed = 'data: {"type":"one","n":1}\n\ndata: {"type":"two"}\n\n';
  const named = 'event: one\ndata: {"type":"one","n":1}\n\nevent: two\ndata: {"type":"two"}\n\n';
  expect(await replay('/v1/chat/completions')).toBe(`${unnamed}data: [DONE]\n\n`);
  expect(await replay('/v1/completions')).toBe(`${unnamed}data: [DONE]\n\n`);
  expect(await replay('/v1/responses')).toBe(named);
  expect(await replay('/v1/messages')).toBe(named);
  expect(await replay(`/v1beta/models/${model}:streamGenerateContent?alt=sse`)).toBe(unnamed);
});
