import type { ServerResponse } from 'node:http';
import { Ollama } from 'ollama';
import { describe, expect, test } from 'vitest';
import { eventually, startGateway } from './support/processes.ts';
import { metric } from './support/requests.ts';
import { type ReadRequest, startStrictProvider } from './support/strict-provider.ts';

/** Ollama's own SDK, direct and through the gateway, in front of a server that writes its lines of JSON. */

const head = { model: 'llama', created_at: '2026-11-27T10:00:00.123456789Z' };
const totals = { total_duration: 12_345_678_901, load_duration: 1, prompt_eval_count: 26, eval_count: 298 };
const words = ['Où ', 'l’eau ', 'trouve ', 'sa ', 'voie, ', '水', '\u{1F30A}', '"\n\\'];
const call = { function: { name: 'get_level', arguments: { basin: 'upper', depths: [1, 2.5] } } };

const chatLines = [
  ...words.map((thinking) => ({
    ...head,
    message: { role: 'assistant', content: '', thinking },
    done: false,
  })),
  ...words.map((content) => ({ ...head, message: { role: 'assistant', content }, done: false })),
  { ...head, message: { role: 'assistant', content: '', tool_calls: [call] }, done: false },
  { ...head, message: { role: 'assistant', content: '' }, done_reason: 'stop', done: true, ...totals },
];
const generateLines = [
  ...words.map((response) => ({ ...head, response, done: false })),
  { ...head, response: '', done_reason: 'stop', context: [1, 2, 3], done: true, ...totals },
];

interface OllamaServer {
  readonly url: string;
  readonly hasLeft: () => boolean;
  /** Cuts the latest stream of the model `cut`. */
  readonly cut: () => void;
}

/** A server that answers as the model's name says. */
async function startOllama(): Promise<OllamaServer> {
  let hasLeft = false;
  let cut = (): void => undefined;
  const answer = ({ fields, path }: ReadRequest, response: ServerResponse): void => {
    const { model, stream } = fields;
    const lines = path === '/api/chat' ? chatLines : generateLines;
    if (model === 'none') {
      response.writeHead(404, { 'content-type': 'application/json; charset=utf-8' });
      response.end('{"error":"model \'none\' not found"}');
      return;
    }
    if (stream !== true) {
      response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' });
      response.end(JSON.stringify(lines.at(-1)));
      return;
    }
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    if (model === 'broken') {
      response.end(
        `${JSON.stringify(lines[0])}\n{"error":"an error was encountered while running the model"}\n`,
      );
      return;
    }
    if (model === 'cut') {
      response.write(`${JSON.stringify(lines[0])}\n`);
      cut = () => void response.destroy();
      return;
    }
    if (model === 'endless') {
      response.on('close', () => (hasLeft = true));
      response.write(`${JSON.stringify(lines[0])}\n`);
      return;
    }
    // Cut inside of lines and characters.
    const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    for (let at = 0; at < bytes.length; at += 7) response.write(bytes.subarray(at, at + 7));
    response.end();
  };
  const { url } = await startStrictProvider(answer);
  return { url, hasLeft: () => hasLeft, cut: () => cut() };
}

async function all(
  lines: Promise<AsyncIterable<unknown>>,
  onLine = (): void => undefined,
): Promise<unknown[]> {
  const found: unknown[] = [];
  try {
    for await (const line of await lines) {
      found.push(line);
      onLine();
    }
  } catch (error) {
    const { message, name, status_code: status } = error as Error & { status_code?: number };
    found.push({ message, name, status });
  }
  return found;
}

/** All that its users get of a model. */
async function outcome(host: string, model: string): Promise<unknown> {
  const ollama = new Ollama({ host });
  const messages = [{ role: 'user', content: 'Hello' }];
  const refused = (error: unknown): unknown => ({ ...(error as object), message: (error as Error).message });
  return {
    chat: await all(ollama.chat({ model, messages, stream: true })),
    generated: await all(ollama.generate({ model, prompt: 'Hello', stream: true })),
    whole: await ollama.chat({ model, messages }).catch(refused),
  };
}

describe('1.1 Ollama’s own SDK', () => {
  test('gets the same as direct: thinking, text, tools, counts; refusals; an error in the stream', async () => {
    const ollama = await startOllama();
    const gateway = await startGateway(['--upstream', `name=local,api=ollama,url=${ollama.url}`]);
    for (const model of ['llama', 'none', 'broken']) {
      const direct = await outcome(ollama.url, model);
      expect(await outcome(gateway.url, model)).toEqual(direct);
      expect(await outcome(gateway.url, `local/${model}`)).toEqual(direct);
    }
    const { chat, generated } = (await outcome(gateway.url, 'llama')) as Record<string, unknown[]>;
    expect(chat).toEqual(chatLines);
    expect(generated).toEqual(generateLines);
  });

  test('throws when the stream is cut', async () => {
    const ollama = await startOllama();
    const gateway = await startGateway(['--upstream', `api=ollama,url=${ollama.url}`]);
    const direct = await all(
      new Ollama({ host: ollama.url }).chat({ model: 'cut', stream: true }),
      ollama.cut,
    );
    const through = await all(
      new Ollama({ host: gateway.url }).chat({ model: 'cut', stream: true }),
      ollama.cut,
    );
    expect(through).toEqual(direct);
    expect(through).toEqual([chatLines[0], { message: 'terminated', name: 'TypeError', status: undefined }]);
  });

  test('promise 6: that aborts stops the model', async () => {
    const ollama = await startOllama();
    const gateway = await startGateway(['--upstream', `api=ollama,url=${ollama.url}`]);
    const lines = await new Ollama({ host: gateway.url }).chat({ model: 'endless', stream: true });
    const reading = (async (): Promise<void> => {
      for await (const _line of lines) lines.abort();
    })();
    await expect(reading).rejects.toThrow('aborted');
    await eventually(ollama.hasLeft, 'the upstream to be closed');
    expect(await metric(gateway.adminUrl, 'spillway_streams_ended_total{state="cancelled"}')).toBe(1);
  });
});
