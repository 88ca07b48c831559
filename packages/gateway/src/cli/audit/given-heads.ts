import { readFileSync } from 'node:fs';
import type { AuditHead } from '@spillway/server/audit/audit-chain';
import { exitCodes } from '../exit-codes.ts';
import { fail } from './audit-source.ts';

const written = /\b(\d{1,15}):(\d{1,15}):([\da-f]{64})\b/;

/** Reads a head of the command line. */
export function readHead(text: string): AuditHead {
  const head = headIn(text);
  if (head === undefined)
    fail(
      exitCodes.usage,
      `--head: expected <writer>:<count>:<64 hexadecimal digits>, got ${JSON.stringify(text)}`,
    );
  return head;
}

/** Reads the heads in a file: a line has one in that form, or is JSON with `writer`, `count` and `hash`, as the log's are. */
export function readHeads(path: string): AuditHead[] {
  let lines: string[];
  try {
    lines = readFileSync(path, 'utf8').split('\n');
  } catch (error) {
    return fail(exitCodes.noInput, `--heads: ${error instanceof Error ? error.message : String(error)}`);
  }
  const heads = new Map<string, AuditHead>();
  for (const line of lines) {
    const head = headIn(line) ?? headOf(line);
    if (head !== undefined) heads.set(`${head.writer}:${head.count}:${head.hash}`, head);
  }
  if (heads.size === 0) fail(exitCodes.noInput, `--heads: there is no head in ${path}`);
  return [...heads.values()];
}

function headIn(text: string): AuditHead | undefined {
  const [, writer, count, hash] = written.exec(text) ?? [];
  return hash === undefined ? undefined : { writer: Number(writer), count: Number(count), hash };
}

function headOf(line: string): AuditHead | undefined {
  try {
    const { count, hash, writer } = JSON.parse(line) as Partial<Record<keyof AuditHead, unknown>>;
    return headIn(`${String(writer)}:${String(count)}:${String(hash)}`);
  } catch {
    return undefined;
  }
}
