import { write } from 'node:fs';
import type { RecordSink } from '@spillway/core';
import { type AuditLog, openAuditLog } from '@spillway/server/audit/audit-log';
import { openFileSink } from '@spillway/server/tap/sinks/file-sink';
import { openStdoutSink } from '@spillway/server/tap/sinks/stdout-sink';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { TapSettings } from '../config/tap.ts';

/** The sink of a tap, and its audit log if it is one. */
export interface TapSink {
  readonly sink: RecordSink;
  readonly audit?: AuditLog;
}

/** Opens what the `to` of a tap names. @throws {SpillwayError} if it cannot be opened. */
export async function openSink(tap: TapSettings, clock: ServerClock): Promise<TapSink> {
  const { maxFileAgeMs, maxFileBytes, maxFiles, retainBytes, retainMs, to } = tap;
  const at = to.indexOf(':');
  const path = to.slice(at + 1);
  switch (to.slice(0, at)) {
    case 'sqlite': {
      const audit = await openAuditLog(path, {
        clock,
        retain: { maxAgeMs: retainMs, maxBytes: retainBytes },
      });
      return { sink: audit, audit };
    }
    case 'file':
      return {
        sink: await openFileSink(path, {
          clock,
          ...(maxFileAgeMs !== undefined && { maxAgeMs: maxFileAgeMs }),
          ...(maxFileBytes !== undefined && { maxFileBytes }),
          ...(maxFiles !== undefined && { maxFiles }),
        }),
      };
    default:
      return { sink: openStdoutSink((bytes, done) => write(1, bytes, done), { clock }) };
  }
}
