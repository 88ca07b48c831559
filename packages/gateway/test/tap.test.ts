import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AuditReader } from '@spillway/server/audit/audit-reader';
import { verifyAudit } from '@spillway/server/audit/verify-audit';
import { parseRecord, type TapRecord } from '@spillway/server/tap/tap-record';
import { describe, expect, onTestFinished, test } from 'vitest';
import { createFetch, type SpillwayFetch } from '../../client/src/index.ts';
import { startGateway, startSimulator } from './support/processes.ts';
import { anthropicSdk, openaiSdk } from './support/sdks.ts';

/** A folder that is gone with the test. */
function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tap-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The records of a log, by the model that was asked for: each client of a test asks for another. */
function recordsByModel(path: string): Map<string, TapRecord[]> {
  const log = new AuditReader(path);
  const found = new Map<string, TapRecord[]>();
  for (const { model, name } of log.streams()) {
    const records = [...log.recordsOf(name)].map(({ value = new Uint8Array() }) => parseRecord(value));
    found.set(model ?? '', records);
  }
  log.close();
  return found;
}

/** What was said in events or a body of any format. */
function said(records: readonly TapRecord[] = []): string {
  const data = records.map((record) => (record.kind === 'chunks' ? (record.data ?? '') : '')).join('');
  return [...data.matchAll(/"(?:content|text)":\s*("(?:[^"\\]|\\.)*")/g)]
    .map(([, text = '""']) => JSON.parse(text) as string)
    .join('');
}

/** A client that reads until its gateway is gone. `text`: what it has got so far. */
interface Client {
  readonly model: string;
  readonly text: () => string;
  readonly done: Promise<unknown>;
}

type Reading = (model: string, got: (text: string) => void) => Promise<void>;

function start(model: string, read: Reading): Client {
  let text = '';
  const done = read(model, (more) => (text += more)).catch(() => undefined);
  return { model, text: () => text, done };
}

function readers(url: string, fetch: SpillwayFetch): Reading[] {
  const at = { url, apiKey: 'none' };
  const chat =
    (openai: ReturnType<typeof openaiSdk>): Reading =>
    async (model, got) => {
      const stream = await openai.chat.completions.create({ model, stream: true, messages: [] });
      for await (const event of stream) got(event.choices[0]?.delta.content ?? '');
    };
  return [
    chat(openaiSdk(at)),
    chat(openaiSdk(at)),
    chat(openaiSdk(at).withOptions({ fetch })),
    chat(openaiSdk(at).withOptions({ fetch })),
    async (model, got) => {
      const stream = anthropicSdk(at).messages.stream({ model, max_tokens: 10_000, messages: [] });
      stream.on('text', (text) => got(text));
      await stream.finalMessage();
    },
    async (model, got) => {
      const reply = await openaiSdk(at).chat.completions.create({ model, messages: [] });
      got(reply.choices[0]?.message.content ?? '');
    },
  ];
}

const kills = Number(process.env['AUDIT_KILLS'] ?? 20);

describe('a tap of the gateway', () => {
  test(`promise 12: kill -9 at any moment (${kills} times): what a client got is a prefix of the log`, async () => {
    const simulator = await startSimulator();
    const { url } = simulator;
    const upstream = `${url}/v1 api=anthropic,url=${url}`;
    let compared = 0;
    let characters = 0;
    for (let kill = 0; kill < kills; kill += 1) {
      const path = join(folder(), 'audit.db');
      const tap = `name=audit,to=sqlite:${path},gate=true`;
      const gateway = await startGateway(['--upstream', upstream, '--tap', tap]);
      const fetch = createFetch({ url: gateway.url });
      const clients = readers(gateway.url, fetch).map((read, index) =>
        start(`sim:tokens=${2000 + index},tps=${index % 2 === 0 ? 400 : 0},ttft=${index * 20}`, read),
      );
      await sleep(50 + ((kill * 7919) % 700));
      gateway.process.kill('SIGKILL');
      await gateway.exited;
      // It would wait for a gateway that comes back.
      await fetch.close();
      await Promise.all(clients.map(({ done }) => done));
      expect(verifyAudit(path)).toMatchObject({ problems: [] });
      const log = recordsByModel(path);
      for (const { model, text } of clients) {
        const kept = said(log.get(model));
        expect(kept.startsWith(text()), `${model}: ${text().length} characters, ${kept.length} kept`).toBe(
          true,
        );
        characters += text().length;
        if (text() !== '') compared += 1;
      }
    }
    // Most had got something.
    expect(compared).toBeGreaterThan(kills);
    expect(characters).toBeGreaterThan(kills * 1000);
  }, 600_000);
});
