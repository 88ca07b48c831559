import { existsSync, mkdirSync, readdirSync, readlinkSync, renameSync, rmdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { RecordSink } from '@spillway/core';
import { type SinkEngine, sinkRules } from '@spillway/core/testing';
import { test } from 'vitest';
import { expectOddRefused } from '../../core/test/support/odd-records.ts';
import { openAuditLog } from '../src/audit/audit-log.ts';
import { AuditReader } from '../src/audit/audit-reader.ts';
import { logPath } from './support/audit.ts';

/**
 * An audit log as an engine. It fails when its file has another name and a folder stands in its place, and is silent while
 * another process holds it.
 */
function auditEngine(): SinkEngine {
  const path = logPath();
  const open = new Set<RecordSink>();
  let holder: { close(): void } | undefined;
  return {
    async open() {
      const sink = await openAuditLog(path);
      open.add(sink);
      return sink;
    },
    records() {
      if (!existsSync(path)) return [];
      const reader = new AuditReader(path);
      try {
        return [...reader.records()].map(({ seq, stream, value = new Uint8Array() }) => ({
          seq,
          stream,
          value,
        }));
      } finally {
        reader.close();
      }
    },
    fail() {
      renameSync(path, `${path}.moved`);
      mkdirSync(path);
    },
    hang() {
      const held = new DatabaseSync(path);
      held.exec('BEGIN IMMEDIATE');
      holder = held;
    },
    heal() {
      holder?.close();
      holder = undefined;
      if (!existsSync(`${path}.moved`)) return;
      rmdirSync(path);
      renameSync(`${path}.moved`, path);
    },
    openCount: () =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(`/proc/self/fd/${fd}`).startsWith(dirname(path));
        } catch {
          return false;
        }
      }).length,
  };
}

for (const { number, name, check } of sinkRules(() => auditEngine())) {
  test(`promise 13: the audit log, sink rule ${number}: ${name}`, check);
}

test('the audit log takes no record with an id that comes back as something else', async () => {
  await expectOddRefused(auditEngine());
});
