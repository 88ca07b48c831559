import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SinkRecord } from '@spillway/core';
import { VirtualClock } from '@spillway/core/testing/virtual-clock';
import { onTestFinished } from 'vitest';
import { type AuditLog, type AuditLogOptions, openAuditLog } from '../../src/audit/audit-log.ts';
import { AuditReader } from '../../src/audit/audit-reader.ts';
import { AuditWriter } from '../../src/audit/audit-writer.ts';
import type { TapRecord } from '../../src/tap/tap-record.ts';
import { nodeClock } from '../../src/time/node-clock.ts';
import type { ServerClock } from '../../src/time/server-clock.ts';

/** A signal that is never aborted. */
export const never = new AbortController().signal;

/** The path of a log that is not there yet, in a folder of its own. */
export function logPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'spillway-audit-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'audit.db');
}

/** Opens a log, and closes it when the test has finished. */
export async function openLog(path: string, options?: AuditLogOptions): Promise<AuditLog> {
  const log = await openAuditLog(path, options);
  onTestFinished(() => log.close());
  return log;
}

/** A writer in this thread, which closes when the test has finished. */
export function openWriter(path: string, node = 'test', clock: ServerClock = nodeClock): AuditWriter {
  const writer = new AuditWriter(path, node, clock);
  onTestFinished(() => void writer.close());
  return writer;
}

/** A clock that stands still at a date, with secrets that are some. */
export class DatedClock extends VirtualClock {
  constructor(startDateMs = 0) {
    super({ startDateMs });
  }

  override randomBytes(count: number): Uint8Array<ArrayBuffer> {
    return nodeClock.randomBytes(count);
  }
}

/** What a test keeps: a value of its own, or a record. */
export function recordOf(stream: string, seq: number, value: string | Uint8Array): SinkRecord {
  return { stream, seq, value: typeof value === 'string' ? Buffer.from(value) : value };
}

interface Told {
  readonly tenant?: string;
  readonly caller?: string;
  readonly model?: string;
  readonly atMs?: number;
  /** Default: `reported`. */
  readonly usageSource?: 'estimated';
  /** What the model said, a record each. */
  readonly texts?: readonly string[];
  /** Whether it has its last record. Default: yes. */
  readonly hasEnded?: boolean;
}

/** The records of a whole stream, as a tap writes them. */
export function streamRecords(stream: string, told: Told = {}): SinkRecord[] {
  const {
    atMs = 1_790_000_000_000,
    caller = 'ann',
    hasEnded = true,
    model = 'openai/gpt',
    tenant = 'clinic',
    texts = ['Hello'],
    usageSource = 'reported',
  } = told;
  const bodies: Record<string, unknown>[] = [
    {
      kind: 'begin',
      requestId: `request-of-${stream}`,
      provider: 'openai',
      api: 'openai',
      model,
      tenant,
      caller,
      address: '127.0.0.1',
      agent: 'test',
    },
    { kind: 'answer', status: 200, headers: {}, format: 'openai-chat' },
    ...texts.map((text, index) => ({
      kind: 'chunks',
      from: index,
      to: index + 1,
      events: 1,
      data: eventOf(text),
    })),
  ];
  if (hasEnded)
    bodies.push({
      kind: 'end',
      state: 'completed',
      offset: texts.length,
      events: texts.length,
      bytes: 100,
      durationMs: 5,
      usage: { inputTokens: 7, outputTokens: texts.length, source: usageSource },
    });
  return bodies.map((body, seq) => {
    const record = { v: 1, stream, seq, at: atMs + seq, ...body } as unknown as TapRecord;
    return recordOf(stream, seq, JSON.stringify(record));
  });
}

/** An event of OpenAI's chat format. */
function eventOf(text: string): string {
  return `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', choices: [{ index: 0, delta: { content: text }, finish_reason: null }] })}\n\n`;
}

/** What a log has of each stream, as texts, in order; by an own reader of the file. */
export function keptIn(path: string): Record<string, string[]> {
  const reader = new AuditReader(path);
  try {
    const kept: Record<string, string[]> = {};
    for (const { stream, value } of reader.records())
      (kept[stream] ??= []).push(value === undefined ? '(erased)' : Buffer.from(value).toString());
    return kept;
  } finally {
    reader.close();
  }
}
