import type { RecordSink } from '@spillway/core';
import { type AuditLog, openAuditLog } from '@spillway/server/audit/audit-log';
import type { TapLog } from '@spillway/server/tap/record-tap';
import { openFileSink } from '@spillway/server/tap/sinks/file-sink';
import { openSpillSink, type SpillSink } from '@spillway/server/tap/sinks/spill-sink';
import { openStdoutSink } from '@spillway/server/tap/sinks/stdout-sink';
import type { ServerClock } from '@spillway/server/time/server-clock';
import type { TapSettings } from '../config/tap.ts';
import { openOutput } from '../process/output.ts';

/** The sink of a tap, and what it is made of. */
export interface TapSink {
  readonly sink: RecordSink;
  /** `undefined`: the tap writes to something else. */
  readonly audit?: AuditLog;
  /** `undefined`: the tap has no spill. */
  readonly spill?: SpillSink;
}

/** Opens what the `to` of a tap names, and its spill. @throws {SpillwayError} if one of them cannot be opened. */
export async function openSink(tap: TapSettings, clock: ServerClock, log: TapLog): Promise<TapSink> {
  const opened = await openEngine(tap, clock, log);
  const { deadlineMs, maxSpillBytes, name, spill: path } = tap;
  if (path === undefined) return opened;
  try {
    const spill = await openSpillSink(opened.sink, {
      path,
      maxBytes: maxSpillBytes,
      // An engine that hangs is left before the tap gives up the write.
      engineTimeoutMs: Math.min(2000, deadlineMs / 2),
      clock,
      onDamage: (damage) =>
        log.error({ tap: name, ...damage }, 'a part of the spill of a tap cannot be read'),
    });
    return { ...opened, sink: spill, spill };
  } catch (error) {
    await opened.sink.close();
    throw error;
  }
}

async function openEngine(tap: TapSettings, clock: ServerClock, log: TapLog): Promise<TapSink> {
  const { maxFileAgeMs, maxFileBytes, maxFiles, name, retainBytes, retainMs, to } = tap;
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
          onLoss: (loss) =>
            log.error({ tap: name, ...loss }, 'somebody has cut or removed a file while a tap wrote to it'),
          ...(maxFileAgeMs !== undefined && { maxAgeMs: maxFileAgeMs }),
          ...(maxFileBytes !== undefined && { maxFileBytes }),
          ...(maxFiles !== undefined && { maxFiles }),
        }),
      };
    default:
      return { sink: openStdoutSink(openOutput(1), { clock }) };
  }
}
